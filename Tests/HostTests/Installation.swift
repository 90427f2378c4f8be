import AsyncHTTPClient
import FastableCore
import Foundation
import NIOCore
import NIOFoundationEssentialsCompat
import NIOHTTP1
import TestSupport
import Testing

/// A controller and its nodes as real processes under a name, ports, subnets and directories of their own.
///
/// `withInstallation` takes everything down again, also when the test fails.
final class Installation: Sendable {
    let name: String
    let directory: URL
    let programs: URL
    private let processes = ProcessTable()
    /// The same ports after a restart: nodes and clients know them.
    private let apiPort: ReservedPort
    private let nodePort: ReservedPort
    let disk: SmallDisk?
    /// For the controller, beside those that every installation has.
    private let options: [String]
    /// The same for the nodes.
    private let moreNodeOptions: [String]
    /// What both daemons take for the time of day, when it is not the host's.
    let clock: SetClock?

    /// Host tests need root, the built programs and a busybox to make a root filesystem from.
    static let missing: String? = {
        if getuid() != 0 { return "needs root" }
        if ProcessInfo.processInfo.environment["FASTABLE_BIN_DIR"] == nil { return "FASTABLE_BIN_DIR is not set" }
        if !FileManager.default.fileExists(atPath: "/bin/busybox") { return "needs the package busybox-static" }
        return nil
    }()

    /// - Parameters:
    ///   - disk: gives the first node a file system of its own.
    ///   - options: for the controller.
    ///   - nodeOptions: for each node.
    ///   - setsClock: gives both daemons a clock that the test can set.
    static func with(
        nodes: Int = 1, disk: SmallDisk.Size? = nil, options: [String] = [], nodeOptions: [String] = [],
        setsClock: Bool = false, _ body: (Installation) async throws -> Void
    ) async throws {
        let installation = try Installation(disk, options, nodeOptions, setsClock)
        do {
            try await installation.startController()
            for index in 0..<nodes { try await installation.joinNode(index) }
            for index in 0..<nodes { try await installation.startNode(index) }
            try await installation.addImage()
            try await body(installation)
        } catch {
            installation.printLogs()
            await installation.takeDown(nodes: nodes)
            try? FileManager.default.removeItem(at: installation.directory)
            throw error
        }
        let links = HostFacts.links(ofInstance: installation.name)
        await installation.takeDown(nodes: nodes)
        try await installation.expectNothingLeft(links)
    }

    private init(
        _ diskSize: SmallDisk.Size?, _ options: [String], _ nodeOptions: [String], _ setsClock: Bool
    ) throws {
        self.options = options
        moreNodeOptions = nodeOptions
        (apiPort, nodePort) = (try ReservedPort(), try ReservedPort())
        name = "t" + String(UInt32.random(in: 0...UInt32.max), radix: 16)
        let directory = URL(fileURLWithPath: "/var/lib/fastable/\(name)")
        self.directory = directory
        programs = URL(fileURLWithPath: ProcessInfo.processInfo.environment["FASTABLE_BIN_DIR"] ?? "/nonexistent")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        try Rootfs.make(at: directory.appending(path: "rootfs"))
        clock = setsClock ? try SetClock(directory.appending(path: "clock")) : nil
        disk = try diskSize.map { try SmallDisk($0, at: directory.appending(path: "disk")) }
    }

    // MARK: the daemons

    var controllerState: String { directory.appending(path: "controller").path }
    func nodeName(_ index: Int) -> String { "\(name)-\(index)" }
    func runDirectory(_ index: Int) -> String { "/run/fastable/\(nodeName(index))" }

    func startController() async throws {
        let endpoints = directory.appending(path: "controller/endpoints.json")
        try? FileManager.default.removeItem(at: endpoints)
        try processes.start(
            "controller", programs.appending(path: "fastable-controller"),
            [
                "--instance", name, "--state-dir", controllerState, "--api-listen", "127.0.0.1:\(apiPort.number)",
                "--node-listen", "127.0.0.1:\(nodePort.number)",
            ] + options, clock: clock, log: directory.appending(path: "controller.log"))
        try await eventually("the controller listens") { FileManager.default.fileExists(atPath: endpoints.path) }
        try await eventually("the API answers") { (try? await self.tool("status", [:])) != nil }
    }

    func joinNode(_ index: Int) async throws {
        let token = try await tool("nodes_join_token", [:])
        let file = directory.appending(path: "join-\(index)")
        try Data((token["token"]?.string ?? "").utf8).write(to: file)
        try await run(
            "fastable-node", ["join", "--token-file", file.path, "--node-name", nodeName(index)] + nodeOptions(index))
    }

    func startNode(_ index: Int, expectReady: Bool = true) async throws {
        let linksBefore = links(of: index)
        try processes.start(
            "node-\(index)", programs.appending(path: "fastable-node"), nodeOptions(index),
            clock: clock, log: directory.appending(path: "node-\(index).log"))
        guard expectReady else { return }
        // The controller may still take the link of a daemon that was killed for a live one.
        try await eventually("node \(index) is linked") { self.links(of: index) > linksBefore }
        try await eventually("node \(index) is ready") { await self.nodeState(index) == "ready" }
    }

    /// How often the node's daemons have linked to the controller so far.
    func links(of index: Int) -> Int {
        let log = try? String(contentsOf: directory.appending(path: "node-\(index).log"), encoding: .utf8)
        return log?.components(separatedBy: "Linked to the controller.").count ?? 1
    }

    func nodeState(_ index: Int) async -> String? {
        let status = try? await tool("status", [:])
        return status?["nodes"]?.array?.first { $0["name"]?.string == nodeName(index) }?["state"]?.string
    }

    /// SIGKILL: the daemon gets no chance to do anything.
    func killNode(_ index: Int) { processes.kill("node-\(index)") }
    func killController() { processes.kill("controller") }
    func pauseNode(_ index: Int, seconds: Int) async throws {
        try await processes.pause("node-\(index)", seconds: seconds)
    }
    func pauseController(seconds: Int) async throws { try await processes.pause("controller", seconds: seconds) }
    /// SIGTERM, and waits for its end.
    func stopController() async { await processes.stop("controller") }
    func stopNode(_ index: Int) async { await processes.stop("node-\(index)") }

    /// Nothing gets from the controller's node listener to a node, nor back, while `body` runs: packets are dropped, without a word to
    /// either end.
    func withCutLink(_ body: () async throws -> Void) async throws {
        try await withCutPort(nodePort.number, body)
    }

    /// The same for the controller's API and those who use it.
    func withCutAPI(_ body: () async throws -> Void) async throws { try await withCutPort(apiPort.number, body) }

    private func withCutPort(_ port: Int, _ body: () async throws -> Void) async throws {
        let table = "fastable_cut_\(name)"
        let rules = ["input", "output"].map {
            "chain \($0) { type filter hook \($0) priority -200; tcp dport \(port) drop; tcp sport \(port) drop; }"
        }
        try HostFacts.run("nft", ["table inet \(table) { \(rules.joined(separator: "; ")); }"])
        // Also when the test fails.
        defer { _ = try? HostFacts.run("nft", ["delete table inet \(table)"]) }
        try await body()
    }

    func nodeProcess() throws -> Int32 { try processes.pid("node-0") }
    func controllerProcess() throws -> Int32 { try processes.pid("controller") }

    /// Memory of the daemons' own, without the files that they have mapped.
    func privateKilobytes() throws -> (node: Int, controller: Int) {
        (try processes.privateKilobytes("node-0"), try processes.privateKilobytes("controller"))
    }

    func nodeOptions(_ index: Int) -> [String] {
        [
            "--instance", nodeName(index), "--state-dir", place(of: index).appending(path: "node-\(index)").path,
            "--run-dir",
            runDirectory(index),
        ] + moreNodeOptions
    }

    /// Where a node's state lies.
    func place(of index: Int) -> URL { index == 0 ? disk?.directory ?? directory : directory }

    /// The number of a node's daemon.
    func daemon(_ index: Int) -> Int32? { processes.number("node-\(index)") }

    /// The files with one of these names in the control groups of a node's containers, whatever the host's version of them.
    func controlGroupFiles(_ names: [String], node: Int = 0) -> [String] {
        let places = ["pids", "memory", "cpu", "fastable.slice/fastable-\(nodeName(node))-containers.service"]
        let trees = ["/sys/fs/cgroup"] + places.map { "/sys/fs/cgroup/\($0)" }
        return trees.flatMap { tree -> [String] in
            let group = "\(tree)/fastable-\(nodeName(node))"
            let containers = (try? FileManager.default.contentsOfDirectory(atPath: group)) ?? []
            return containers.flatMap { container in names.map { "\(group)/\(container)/\($0)" } }
        }
    }

    private func addImage() async throws {
        try await cli(["image", "add", "vibn-dev", "inplace:\(directory.appending(path: "rootfs").path)"])
    }

    // MARK: the doors

    func apiURL() throws -> String {
        let endpoints = try Data(contentsOf: directory.appending(path: "controller/endpoints.json"))
        return try #require(JSON.decode(JSONValue.self, from: endpoints)["apiUrl"]?.string)
    }

    func request(
        _ method: HTTPMethod, _ path: String, body: Data? = nil, more: [(String, String)] = []
    ) async throws -> (status: Int, head: HTTPHeaders, body: Data) {
        let response = try await open(
            method, path, headers: HTTPHeaders(more), body: body.map { .bytes(ByteBuffer(data: $0)) })
        let data = Data(buffer: try await response.body.collect(upTo: 1024 * 1024 * 1024))
        return (Int(response.status.code), response.headers, data)
    }

    /// A request whose answer is read as it comes.
    func open(
        _ method: HTTPMethod, _ path: String, headers more: HTTPHeaders = [:], body: HTTPClientRequest.Body? = nil,
        timeoutSeconds: Int = 600
    ) async throws -> HTTPClientResponse {
        var request = HTTPClientRequest(url: try apiURL() + path)
        request.method = method
        request.headers = try headers()
        for (name, value) in more { request.headers.replaceOrAdd(name: name, value: value) }
        request.body = body
        return try await HTTPClient.shared.execute(request, timeout: .seconds(Int64(timeoutSeconds)))
    }

    /// An answer whose body comes as it is sent.
    func open(_ path: String) async throws -> HTTPClientResponse {
        var request = HTTPClientRequest(url: try apiURL() + path)
        request.headers = try headers()
        return try await HTTPClient.shared.execute(request, timeout: .minutes(10))
    }

    /// One operation by REST; an error status is thrown as the error it carries.
    @discardableResult
    func tool(_ name: String, _ input: JSONValue) async throws -> JSONValue {
        let answer = try await request(.POST, "/api/tools/\(name)", body: try JSON.encode(input))
        let value = try JSON.decode(JSONValue.self, from: answer.body)
        guard answer.status == 200 else {
            throw FastableError(
                FastableError.Code(rawValue: value["code"]?.string ?? "") ?? .internal,
                "\(answer.status): \(value["detail"]?.string ?? "")")
        }
        return value
    }

    /// A command whose events are told as server-sent events; each line as it comes.
    func follow(_ project: String, _ command: String, _ onLine: (String) -> Void) async throws {
        var request = HTTPClientRequest(url: try apiURL() + "/api/tools/shell.exec")
        request.method = .POST
        request.headers = try headers()
        request.headers.add(name: "accept", value: "text/event-stream")
        let input: JSONValue = ["project": .string(project), "cmd": .string(command)]
        request.body = .bytes(ByteBuffer(data: try JSON.encode(input)))
        let response = try await HTTPClient.shared.execute(request, timeout: .minutes(10))
        for try await chunk in response.body { onLine(String(buffer: chunk)) }
    }

    private func headers() throws -> HTTPHeaders {
        let token = try String(contentsOfFile: controllerState + "/admin.token", encoding: .utf8)
        return [
            "authorization": "Bearer \(token.trimmingCharacters(in: .whitespacesAndNewlines))",
            "content-type": "application/json",
        ]
    }

    func exec(_ project: String, _ command: String, timeoutSeconds: Int = 300) async throws -> JSONValue {
        try await tool(
            "shell.exec",
            ["project": .string(project), "cmd": .string(command), "timeoutSec": .integer(Int64(timeoutSeconds))])
    }

    @discardableResult
    func cli(_ arguments: [String], expectStatus: Int32 = 0) async throws -> String {
        try await run(
            "fastable", arguments, expectStatus: expectStatus,
            environment: [
                "FASTABLE_API_URL": try apiURL(), "FASTABLE_TOKEN_FILE": controllerState + "/admin.token",
            ])
    }

    @discardableResult
    func run(
        _ program: String, _ arguments: [String], expectStatus: Int32 = 0, environment: [String: String] = [:]
    ) async throws -> String {
        let (status, text) = try await blocking { [programs] in
            try Process.output(of: programs.appending(path: program), arguments, environment: environment)
        }
        try #require(status == expectStatus, "\(program) \(arguments): \(text)")
        return text
    }

    // MARK: the end

    private func takeDown(nodes: Int) async {
        for index in 0..<nodes { await processes.stop("node-\(index)") }
        for index in 0..<nodes { _ = try? await run("fastable-node", ["teardown", "--data"] + nodeOptions(index)) }
        await processes.stop("controller")
        disk?.remove()
    }

    private func printLogs() {
        for file in (try? FileManager.default.contentsOfDirectory(at: directory, includingPropertiesForKeys: nil)) ?? []
        where file.pathExtension == "log" {
            let lines = (try? String(contentsOf: file, encoding: .utf8))?.split(separator: "\n").suffix(15) ?? []
            print("--- \(file.lastPathComponent)\n" + lines.joined(separator: "\n"))
        }
    }

    private func expectNothingLeft(_ links: Set<String>) async throws {
        // The kernel takes down what belonged to a network namespace when it has time.
        var remains: [String] = []
        for _ in 0..<300 {
            remains = try HostFacts.remains(ofInstance: name, links: links)
            guard remains.contains(where: { $0.hasPrefix("link ") }) else { break }
            try await Task.sleep(for: .milliseconds(100))
        }
        #expect(remains == [], "something was left behind")
        try FileManager.default.removeItem(at: directory)
    }
}
