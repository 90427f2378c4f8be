import FastableCore
import FastableIdentity
import FastableWire
import Foundation
import NIOCore
import NIOFoundationEssentialsCompat
import NIOPosix
import NIOSSL
import NodeControl
import NodeSandbox
import Synchronization
import TestSupport
import Testing

/// A host that has joined: its identity on disk.
struct TestNode: Sendable {
    var id: NodeID
    var name: String
    var directory: String

    static let facts = NodeFacts(
        programVersion: "1", hostName: "host", kernel: "6.1", cgroup: .v2, runtime: "runc 1.1.5", cpus: 4,
        memoryBytes: 1 << 33, diskBytes: 1 << 40, diskFreeBytes: 1 << 39, images: ["vibn-dev"])

    func identity() throws -> NodeIdentity {
        guard let identity = try NodeIdentity.load(directory: directory) else {
            throw FastableError(.notFound, "\(name) has no identity.")
        }
        return identity
    }

    /// The same identity in another directory, as a cloned host has it.
    func copied(to directory: String) throws -> TestNode {
        try FileManager.default.copyItem(atPath: self.directory, toPath: directory)
        return TestNode(id: id, name: name, directory: directory)
    }

    /// Runs the node's own link service while `body` runs.
    func linked(
        log: LogRecorder = LogRecorder(), work: FakeWork? = nil, transitions: TransitionJournal = TransitionJournal(),
        reporter: NodeReporter = NodeReporter { NodeReport(facts: Self.facts, containers: []) },
        welcomed: @escaping @Sendable (KillSwitchSet) async -> Void = { _ in },
        _ body: () async throws -> Void
    ) async throws {
        let work = work ?? FakeWork(name)
        let service = NodeLinkService(
            identityDirectory: directory, reporter: reporter, transitions: transitions, logger: log.logger,
            welcomed: welcomed
        ) { stream in await work.serve(stream) }
        let running = Task { try await service.run() }
        let result: Result<Void, any Error>
        do { result = .success(try await body()) } catch { result = .failure(error) }
        running.cancel()
        try await running.value
        try result.get()
    }
}

/// What a node without containers answers. `shell.exec` prints the node's name; the program `wait` never ends.
final class FakeWork: Sendable {
    /// Answers a call in place of this; `false` when it does not.
    typealias Special = @Sendable (NodeMethod, NodeCall, MuxStream) async throws -> Bool

    private let name: String
    private let special: Special
    private let asked = Mutex<[NodeMethod]>([])

    init(_ name: String, special: @escaping Special = { _, _, _ in false }) {
        self.name = name
        self.special = special
    }

    var methods: [NodeMethod] { asked.withLock { $0 } }

    func serve(_ stream: MuxStream) async {
        do {
            let opening = Data(buffer: stream.opening)
            let head = try NodeRequestHead(opening: opening)
            let method = head.method
            asked.withLock { $0.append(method) }
            let call = NodeCall(stream: stream, opening: opening, requestID: head.requestID)
            if try await special(method, call, stream) { return }
            switch method {
            case .execStart:
                try await exec(try NodeRequest<ExecStart>(opening: opening).arguments, stream)
            case .fsRead: while try await stream.next() != nil {}
            case .fsList: try await send(stream, ["ok": ["nonsense": true]])
            default: try await send(stream, ["ok": [:]])
            }
        } catch {
            stream.reset(FastableError.unexpected(error, doing: "pretending"))
        }
    }

    private func exec(_ start: ExecStart, _ stream: MuxStream) async throws {
        try await tell(stream, .started(container: ContainerID(), stdoutOffset: 0, stderrOffset: 0, inputOffset: 0))
        if start.command.arguments == ["wait"] { while try await stream.next() != nil {} }
        try await stream.send(data: ByteBuffer(string: name), channel: 1)
        try await tell(
            stream,
            .finished(
                ExecResult(
                    exec: start.exec, exitCode: 0, signal: nil, timedOut: false, startedAt: Date(),
                    durationMilliseconds: 1, stdoutBytes: UInt64(name.utf8.count), stderrBytes: 0)))
        try await stream.finish()
    }

    private func tell(_ stream: MuxStream, _ event: ExecEvent) async throws {
        try await stream.send(message: ByteBuffer(data: try JSON.encode(event)))
    }

    private func send(_ stream: MuxStream, _ answer: JSONValue) async throws {
        try await stream.send(message: ByteBuffer(data: try JSON.encode(answer)))
        try await stream.finish()
    }
}

/// A link that a test dials by itself, to say what no real node says.
struct RawLink: Sendable {
    let connection: MuxConnection

    static func context(_ identity: NodeIdentity) throws -> NIOSSLContext {
        try NIOSSLContext(configuration: try TLSProfiles.nodeDialer(identity))
    }

    /// Dials, and serves what the controller asks until `body` returns; then the link is closed.
    static func with(
        _ controller: TestController, context: NIOSSLContext, work: FakeWork = FakeWork("raw"),
        _ body: (RawLink) async throws -> Void
    ) async throws {
        let connection = try await LinkDialer.connect(
            host: "127.0.0.1", port: controller.nodePort, serverName: nil, sslContext: context,
            eventLoopGroup: MultiThreadedEventLoopGroup.singleton)
        let running = Task { try? await connection.run { stream in await work.serve(stream) } }
        let result: Result<Void, any Error>
        do { result = .success(try await body(RawLink(connection: connection))) } catch { result = .failure(error) }
        connection.close(reason: "The test is over.")
        await running.value
        try result.get()
    }

    /// Sends any opening message and gives the first answer.
    func ask(_ opening: ByteBuffer) async throws -> JSONValue {
        let stream = try await connection.open(opening)
        // The answer may be faster, and with it the end of the controller's interest in more.
        try? await stream.finish()
        while let event = try await stream.next() {
            if case .message(let payload) = event { return try JSON.decode(from: Data(buffer: payload)) }
        }
        throw FastableError(.internal, "The controller ended the stream without an answer.")
    }

    func call(_ method: NodeMethod, _ arguments: some Codable & Sendable) async throws -> JSONValue {
        let request = NodeRequest(method: method, requestID: RequestID(), arguments: arguments)
        return try await ask(ByteBuffer(data: try request.opening()))
    }

    /// Says hello; throws the controller's refusal.
    func hello(generation: UInt64, _ change: (inout NodeHello) -> Void = { _ in }) async throws {
        var hello = NodeHello(generation: generation, facts: TestNode.facts)
        change(&hello)
        let answer = try await call(.hello, hello)
        if let error = answer["error"] { throw try JSON.decode(FastableError.self, from: JSON.encode(error)) }
    }

    func waitUntilClosed() async throws {
        try await eventually("the link is closed") { !connection.isOpen }
    }
}
