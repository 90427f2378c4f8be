import FastableCore
import Foundation
import NIOCore
import NIOPosix
import Synchronization
import Testing

/// A registry of a test's own: Debian's `docker-registry` on a free port of loopback, without TLS, behind a gate that can hold back what
/// it sends.
package final class TestRegistry: Sendable {
    /// What a test that needs one has to be told; `nil` when there is all of it.
    package static let missing: String? = {
        let programs = ["docker-registry", "skopeo", "umoci"].filter {
            !FileManager.default.isExecutableFile(atPath: "/usr/bin/" + $0)
        }
        return programs.isEmpty ? nil : "needs apt-get install \(programs.joined(separator: " "))"
    }()

    private let directory: TemporaryDirectory
    private let port: ReservedPort
    private let gate: Gate
    private let process: Process

    /// `host:port`, as references name it.
    package var address: String { "127.0.0.1:\(gate.port)" }

    package static func with(_ body: (TestRegistry) async throws -> Void) async throws {
        let registry = try await TestRegistry()
        do {
            try await eventually("the registry answers") { registry.isUp }
            try await body(registry)
        } catch {
            await registry.end()
            throw error
        }
        await registry.end()
    }

    private init() async throws {
        directory = try TemporaryDirectory()
        port = try ReservedPort()
        gate = try await Gate(to: port.number)
        process = Process()
        let configuration = """
            version: 0.1
            storage: {filesystem: {rootdirectory: \(directory.path)/data}}
            http: {addr: "127.0.0.1:\(port.number)"}
            """
        process.executableURL = URL(fileURLWithPath: "/usr/bin/docker-registry")
        process.arguments = ["serve", try directory.file("registry.yml", configuration)]
        let log = FileHandle(forWritingAtPath: try directory.file("log", ""))
        process.standardOutput = log
        process.standardError = log
        try process.run()
    }

    private func end() async {
        process.terminate()
        try? await blocking { [process] in process.waitUntilExit() }
        await gate.close()
    }

    private var log: String { (try? String(contentsOfFile: directory.path + "/log", encoding: .utf8)) ?? "" }
    private var isUp: Bool { log.contains("listening on") }

    /// Those that were answered, in order: `GET /v2/team/tiny/manifests/1`.
    package var requests: [String] {
        log.matches(of: /"((?:GET|HEAD|PUT) \S+) HTTP/).map { String($0.1) }
    }

    /// How often layers and configurations were sent.
    package var blobsSent: [String] { requests.filter { $0.hasPrefix("GET") && $0.contains("/blobs/") } }

    /// Gives a root file system a name in the registry: `team/tiny:1`.
    ///
    /// - Returns: the source by which a node has it.
    @discardableResult
    package func push(_ rootfs: String, as name: String) async throws -> String {
        let layout = directory.path + "/layout-\(UUID().uuidString)"
        try await run("umoci", "init", "--layout", layout)
        try await run("umoci", "new", "--image", layout + ":image")
        try await run("umoci", "insert", "--image", layout + ":image", rootfs, "/")
        try await run(
            "skopeo", "copy", "--quiet", "--dest-tls-verify=false", "oci:\(layout):image",
            "docker://127.0.0.1:\(port.number)/\(name)")
        return "docker://\(address)/\(name)"
    }

    private func run(_ program: String, _ arguments: String...) async throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/" + program)
        process.arguments = arguments
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        try await blocking { process.waitUntilExit() }
        guard process.terminationStatus == 0 else {
            throw FastableError(.internal, "\(program) \(arguments) failed")
        }
    }

    /// From now on each connection is sent so many bytes and no more, until `release`.
    package func hold(after bytes: Int) { gate.hold(after: bytes) }
    package func release() { gate.release() }
    /// Connections that wait for it.
    package var held: Int { gate.held }
}

/// Passes connections on to a port of this machine, and what comes back only as far as it is open.
private final class Gate: Sendable {
    fileprivate struct State {
        var limit: Int?
        var held: [@Sendable () -> Void] = []
    }

    private let channel: any Channel
    private let state: GateState

    var port: Int { channel.localAddress?.port ?? 0 }
    var held: Int { state.state.withLock { $0.held.count } }

    init(to port: Int) async throws {
        let state = GateState()
        self.state = state
        channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { client in
                ClientBootstrap(group: client.eventLoop).connect(host: "127.0.0.1", port: port).flatMap { server in
                    client.eventLoop.makeCompletedFuture {
                        try server.pipeline.syncOperations.addHandler(GateForwarder(to: client, state))
                        try client.pipeline.syncOperations.addHandler(GateForwarder(to: server, nil))
                    }
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
    }

    func hold(after bytes: Int) { state.state.withLock { $0.limit = bytes } }

    func release() {
        let held = state.state.withLock { state in
            defer { state = State() }
            return state.held
        }
        for go in held { go() }
    }

    func close() async { try? await channel.close() }
}

private final class GateState: Sendable {
    let state = Mutex(Gate.State())

    /// `go` is called when the gate opens, if it is closed for one that has got so many bytes.
    func holds(_ bytes: Int, _ go: @escaping @Sendable () -> Void) -> Bool {
        state.withLock { state in
            guard let limit = state.limit, bytes > limit else { return false }
            state.held.append(go)
            return true
        }
    }
}

private final class GateForwarder: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let other: any Channel
    private let gate: GateState?
    private var passed = 0

    init(to other: any Channel, _ gate: GateState?) {
        self.other = other
        self.gate = gate
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = unwrapInboundIn(data)
        passed += bytes.readableBytes
        other.writeAndFlush(bytes, promise: nil)
        let channel = context.channel
        let isHeld = gate?.holds(passed) { channel.setOption(.autoRead, value: true).whenSuccess { channel.read() } }
        if isHeld == true { channel.setOption(.autoRead, value: false).whenFailure { _ in } }
    }

    /// What has come goes on before the end does.
    func channelInactive(context: ChannelHandlerContext) {
        let other = other
        other.writeAndFlush(ByteBuffer()).whenComplete { _ in other.close(promise: nil) }
    }
}
