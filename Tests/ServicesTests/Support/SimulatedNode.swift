import FastableCore
import FastableWire
import FoundationEssentials
import NIOCore
import Synchronization

/// A node that speaks the real link and only pretends to have containers. What it was asked is kept, in order.
final class SimulatedNode: Sendable {
    typealias Handler = @Sendable (MuxStream, Data) async throws -> Void
    typealias ExecScript = @Sendable (ExecStart, SimulatedExec) async throws -> Void

    private struct State {
        var handlers: [NodeMethod: Handler] = [:]
        var requests: [(method: NodeMethod, opening: Data)] = []
        var script: ExecScript = { _, exec in try await exec.finish(code: 0) }
    }

    let id: NodeID
    private let connection: MuxConnection
    private let state = Mutex(State())

    init(id: NodeID, connection: MuxConnection) {
        self.id = id
        self.connection = connection
        reply(.containerEnsure) { (spec: ContainerSpec) in Self.running(spec) }
        reply(.containerStatus) { (reference: ProjectReference) in
            Self.running(ContainerSpec(project: reference.project, workspace: WorkspaceID(), image: "vibn-dev"))
        }
        reply(.containerStop) { (wish: ContainerStop) in
            var status = Self.running(
                ContainerSpec(project: wish.project, workspace: WorkspaceID(), image: "vibn-dev"))
            (status.state, status.container, status.reason) = (.stopped, nil, wish.reason)
            return status
        }
        reply(.projectPrepare) { (_: ContainerSpec) in Empty() }
        reply(.projectDelete) { (_: ProjectReference) in Empty() }
        reply(.snapshotRead) { (_: FileCall<SnapshotRead>) in SnapshotHead(isEmpty: true) }
        reply(.execKill) { (kill: ExecKill) in
            ExecKillReceipt(
                everythingEnded: kill.signal == 9 || kill.graceMilliseconds != nil, wasForced: false, result: nil)
        }
        handle(.execStart) { [self] stream, opening in
            let start = try NodeRequest<ExecStart>(opening: opening).arguments
            let script = state.withLock { $0.script }
            try await script(start, SimulatedExec(start: start, stream: stream))
        }
    }

    /// Serves until the link is over.
    func run() async {
        try? await connection.run { stream in await self.serve(stream) }
    }

    func severLink() { connection.sever() }

    func onExec(_ script: @escaping ExecScript) { state.withLock { $0.script = script } }

    func handle(_ method: NodeMethod, _ handler: @escaping Handler) {
        state.withLock { $0.handlers[method] = handler }
    }

    /// A method with one answer.
    func reply<Arguments: Codable & Sendable, Value: Codable & Sendable>(
        _ method: NodeMethod, _ answer: @escaping @Sendable (Arguments) async throws -> Value
    ) {
        handle(method) { stream, opening in
            let arguments = try NodeRequest<Arguments>(opening: opening).arguments
            try await Self.send(NodeReply.success(try await answer(arguments)), on: stream)
        }
    }

    /// The arguments of all requests of one method so far.
    func requests<Arguments: Codable & Sendable>(
        _ method: NodeMethod, _ arguments: Arguments.Type = Arguments.self
    ) throws -> [Arguments] {
        try state.withLock { $0.requests }.filter { $0.method == method }
            .map { try NodeRequest<Arguments>(opening: $0.opening).arguments }
    }

    var methods: [NodeMethod] { state.withLock { $0.requests.map(\.method) } }

    private func serve(_ stream: MuxStream) async {
        let opening = Data(stream.opening.readableBytesView)
        do {
            let method = try NodeRequestHead(opening: opening).method
            let handler = state.withLock { state in
                state.requests.append((method, opening))
                return state.handlers[method]
            }
            guard let handler else { throw FastableError(.invalid, "‘\(method.rawValue)’ is not simulated.") }
            do {
                try await handler(stream, opening)
            } catch let error as FastableError where !Self.streams.contains(method) {
                try await Self.send(NodeReply<Empty>.failure(error), on: stream)
            }
        } catch {
            stream.reset(FastableError.unexpected(error, doing: "simulating"))
        }
    }

    /// Methods whose errors are resets, since they have no single answer.
    private static let streams: Set<NodeMethod> = [.execStart, .execAttach, .treePull]

    static func send(_ reply: NodeReply<some Codable & Sendable>, on stream: MuxStream) async throws {
        try await stream.send(message: ByteBuffer(bytes: try JSON.encode(reply)))
        try await stream.finish()
    }

    static func running(_ spec: ContainerSpec) -> ContainerStatus {
        ContainerStatus(
            project: spec.project, state: .running, container: ContainerID(), image: spec.image, startedAt: Date(),
            reason: "It runs.", limits: spec.limits, runningExecs: 0)
    }
}

/// The node's end of one command.
struct SimulatedExec: Sendable {
    let start: ExecStart
    let stream: MuxStream
    private let written = Written()

    private final class Written: Sendable {
        let bytes = Mutex<(stdout: UInt64, stderr: UInt64)>((0, 0))
    }

    init(start: ExecStart, stream: MuxStream) {
        self.start = start
        self.stream = stream
    }

    func started() async throws {
        try await send(.started(container: ContainerID(), stdoutOffset: 0, stderrOffset: 0, inputOffset: 0))
    }

    func write(_ text: String, channel: UInt8 = 1) async throws {
        try await write(ByteBuffer(string: text), channel: channel)
    }

    func write(_ bytes: ByteBuffer, channel: UInt8 = 1) async throws {
        let count = UInt64(bytes.readableBytes)
        written.bytes.withLock { if channel == 1 { $0.stdout += count } else { $0.stderr += count } }
        try await stream.send(data: bytes, channel: channel)
    }

    func finish(
        code: Int32? = 0, signal: String? = nil, timedOut: Bool = false, limitHit: LimitHit? = nil
    ) async throws {
        let bytes = written.bytes.withLock { $0 }
        try await send(
            .finished(
                ExecResult(
                    exec: start.exec, exitCode: code, signal: signal, timedOut: timedOut, startedAt: Date(),
                    durationMilliseconds: 1.5, stdoutBytes: bytes.stdout, stderrBytes: bytes.stderr,
                    limitHit: limitHit)))
        try await stream.finish()
    }

    func send(_ event: ExecEvent) async throws {
        try await stream.send(message: ByteBuffer(bytes: try JSON.encode(event)))
    }
}
