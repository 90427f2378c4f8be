import AsyncHTTPClient
import FastableCore
import Foundation
import NIOCore
import NIOFoundationCompat
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
    private let disk: SmallDisk?
    /// For the controller, beside those that every installation has.
    private let options: [String]

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
    static func with(
        nodes: Int = 1, disk: SmallDisk.Size? = nil, options: [String] = [],
        _ body: (Installation) async throws -> Void
    ) async throws {
        let installation = try Installation(disk, options)
        do {
            try await installation.startController()
            for index in 0..<nodes { try await installation.joinNode(index) }
            for index in 0..<nodes { try await installation.startNode(index) }
            try installation.addImage()
            try await body(installation)
        } catch {
            installation.printLogs()
            await installation.takeDown(nodes: nodes)
            try? FileManager.default.removeItem(at: installation.directory)
            throw error
        }
        await installation.takeDown(nodes: nodes)
        try installation.expectNothingLeft()
    }

    private init(_ diskSize: SmallDisk.Size?, _ options: [String]) throws {
        self.options = options
        (apiPort, nodePort) = (try ReservedPort(), try ReservedPort())
        name = "t" + String(UInt32.random(in: 0...UInt32.max), radix: 16)
        let directory = URL(fileURLWithPath: "/var/lib/fastable/\(name)")
        self.directory = directory
        programs = URL(fileURLWithPath: ProcessInfo.processInfo.environment["FASTABLE_BIN_DIR"] ?? "/nonexistent")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        try Rootfs.make(at: directory.appending(path: "rootfs"))
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
            ] + options, log: directory.appending(path: "controller.log"))
        try await eventually("the controller listens") { FileManager.default.fileExists(atPath: endpoints.path) }
        try await eventually("the API answers") { (try? await self.tool("status", [:])) != nil }
    }

    func joinNode(_ index: Int) async throws {
        let token = try await tool("nodes_join_token", [:])
        let file = directory.appending(path: "join-\(index)")
        try Data((token["token"]?.string ?? "").utf8).write(to: file)
        try run(
            "fastable-node", ["join", "--token-file", file.path, "--node-name", nodeName(index)] + nodeOptions(index))
    }

    func startNode(_ index: Int, expectReady: Bool = true) async throws {
        let linksBefore = links(of: index)
        try processes.start(
            "node-\(index)", programs.appending(path: "fastable-node"), nodeOptions(index),
            log: directory.appending(path: "node-\(index).log"))
        guard expectReady else { return }
        // The controller may still take the link of a daemon that was killed for a live one.
        try await eventually("node \(index) is linked") { self.links(of: index) > linksBefore }
        try await eventually("node \(index) is ready") { await self.nodeState(index) == "ready" }
    }

    /// How often the node's daemons have linked to the controller so far.
    private func links(of index: Int) -> Int {
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
    func stopController() { processes.stop("controller") }

    /// Memory of the daemons' own, without the files that they have mapped.
    func privateKilobytes() throws -> (node: Int, controller: Int) {
        (try processes.privateKilobytes("node-0"), try processes.privateKilobytes("controller"))
    }

    func nodeOptions(_ index: Int) -> [String] {
        let place = index == 0 ? disk?.directory ?? directory : directory
        return [
            "--instance", nodeName(index), "--state-dir", place.appending(path: "node-\(index)").path, "--run-dir",
            runDirectory(index),
        ]
    }

    /// The files with one of these names in the control groups of all containers, whatever the host's version of them.
    func controlGroupFiles(_ names: [String]) -> [String] {
        let trees = ["/sys/fs/cgroup"] + ["pids", "memory", "cpu"].map { "/sys/fs/cgroup/\($0)" }
        return trees.flatMap { tree -> [String] in
            let group = "\(tree)/fastable-\(nodeName(0))"
            let containers = (try? FileManager.default.contentsOfDirectory(atPath: group)) ?? []
            return containers.flatMap { container in names.map { "\(group)/\(container)/\($0)" } }
        }
    }

    private func addImage() throws {
        try cli(["image", "add", "vibn-dev", "inplace:\(directory.appending(path: "rootfs").path)"])
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
        let data = Data(buffer: try await response.body.collect(upTo: 256 * 1024 * 1024))
        return (Int(response.status.code), response.headers, data)
    }

    /// A request whose answer is read as it comes.
    func open(
        _ method: HTTPMethod, _ path: String, headers more: HTTPHeaders = [:], body: HTTPClientRequest.Body? = nil,
        timeoutSeconds: Int = 120
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
        return try await HTTPClient.shared.execute(request, timeout: .seconds(120))
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
        let response = try await HTTPClient.shared.execute(request, timeout: .seconds(120))
        for try await chunk in response.body { onLine(String(buffer: chunk)) }
    }

    private func headers() throws -> HTTPHeaders {
        let token = try String(contentsOfFile: controllerState + "/admin.token", encoding: .utf8)
        return [
            "authorization": "Bearer \(token.trimmingCharacters(in: .whitespacesAndNewlines))",
            "content-type": "application/json",
        ]
    }

    func exec(_ project: String, _ command: String, timeoutSeconds: Int = 60) async throws -> JSONValue {
        try await tool(
            "shell.exec",
            ["project": .string(project), "cmd": .string(command), "timeoutSec": .integer(Int64(timeoutSeconds))])
    }

    @discardableResult
    func cli(_ arguments: [String], expectStatus: Int32 = 0) throws -> String {
        try run(
            "fastable", arguments, expectStatus: expectStatus,
            environment: [
                "FASTABLE_API_URL": try apiURL(), "FASTABLE_TOKEN_FILE": controllerState + "/admin.token",
            ])
    }

    @discardableResult
    func run(
        _ program: String, _ arguments: [String], expectStatus: Int32 = 0, environment: [String: String] = [:]
    ) throws -> String {
        let process = Process()
        process.executableURL = programs.appending(path: program)
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        let output = Pipe()
        process.standardOutput = output
        process.standardError = output
        try process.run()
        let text = String(decoding: try output.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
        process.waitUntilExit()
        try #require(process.terminationStatus == expectStatus, "\(program) \(arguments): \(text)")
        return text
    }

    // MARK: the end

    private func takeDown(nodes: Int) async {
        for index in 0..<nodes { processes.stop("node-\(index)") }
        for index in 0..<nodes { _ = try? run("fastable-node", ["teardown", "--data"] + nodeOptions(index)) }
        processes.stop("controller")
        disk?.remove()
    }

    private func printLogs() {
        for file in (try? FileManager.default.contentsOfDirectory(at: directory, includingPropertiesForKeys: nil)) ?? []
        where file.pathExtension == "log" {
            let lines = (try? String(contentsOf: file, encoding: .utf8))?.split(separator: "\n").suffix(15) ?? []
            print("--- \(file.lastPathComponent)\n" + lines.joined(separator: "\n"))
        }
    }

    private func expectNothingLeft() throws {
        let mounts = try String(contentsOfFile: "/proc/self/mounts", encoding: .utf8)
        #expect(!mounts.contains("/run/fastable/\(name)-"), "a mount was left behind")
        try FileManager.default.removeItem(at: directory)
    }
}
