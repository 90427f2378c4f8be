import ControllerServices
import FastableCore
import FastableWire
import FoundationEssentials
import NIOCore
import NIOFoundationEssentialsCompat
import NIOPosix
import Synchronization

/// The node's end of an attachment: says and hears what the test wants.
struct TestCommand: Sendable {
    /// What the attachment was asked for.
    struct Attach: Sendable, Equatable {
        var start: OutputStart
        var input: ExecInputStart?
        var only: ExecStreamName?

        /// Where it begins; for whoever wants the end, at the beginning.
        var offsets: ExecOffsets {
            if case .at(let offsets) = start { return offsets }
            return ExecOffsets()
        }
    }

    let exec: ExecID
    let wanted: Attach
    let stream: MuxStream

    func start() async throws {
        let offsets = wanted.offsets
        try await tell(
            .started(
                container: ContainerID(), stdoutOffset: offsets.stdout, stderrOffset: offsets.stderr,
                inputOffset: offsets.input))
    }

    func print(_ bytes: ByteBuffer, channel: UInt8 = 1) async throws {
        try await stream.send(data: bytes, channel: channel)
    }

    func print(_ text: String, channel: UInt8 = 1) async throws {
        try await print(ByteBuffer(string: text), channel: channel)
    }

    func tell(_ event: ExecEvent) async throws {
        try await stream.send(message: ByteBuffer(data: try JSON.encode(event)))
    }

    func end(code: Int32? = 0, stdoutBytes: UInt64 = 0, stderrBytes: UInt64 = 0) async throws {
        try await tell(
            .finished(
                ExecResult(
                    exec: exec, exitCode: code, signal: code == nil ? "SIGKILL" : nil, timedOut: false,
                    startedAt: Date(timeIntervalSince1970: 0), durationMilliseconds: 1.5, stdoutBytes: stdoutBytes,
                    stderrBytes: stderrBytes)))
        try await stream.finish()
    }

    /// Reads until the follower has gone.
    func waitForReset() async {
        while (try? await stream.next()) != nil {}
        // The stream is over, or only the input has ended: sending tells which.
        while (try? await tell(.inputPassed(upTo: 0))) != nil { try? await Task.sleep(for: .milliseconds(20)) }
    }
}

/// Plays a node over real links: each attachment is a link of its own.
final class TestNode: Sendable {
    typealias Script = @Sendable (TestCommand) async throws -> Void

    private struct State {
        var script: Script = { command in
            try await command.start()
            try await command.end()
        }
        var links: [MuxConnection] = []
        var attachments: [TestCommand.Attach] = []
    }

    private let state = Mutex(State())

    /// What happens at the node's end of each attachment from now on.
    func onAttach(_ script: @escaping Script) { state.withLock { $0.script = script } }

    /// All that came, in their order.
    var attachments: [TestCommand.Attach] { state.withLock { $0.attachments } }

    func attach(_ exec: ExecID, _ wanted: TestCommand.Attach) async throws -> ExecAttachment {
        let (node, controller) = try await MuxConnection.socketPair(on: MultiThreadedEventLoopGroup.singleton)
        let script = state.withLock { state in
            state.links += [node, controller]
            state.attachments.append(wanted)
            return state.script
        }
        Task {
            try? await node.run { stream in
                do {
                    try await script(TestCommand(exec: exec, wanted: wanted, stream: stream))
                } catch {
                    stream.reset(FastableError.unexpected(error, doing: "playing the node"))
                }
            }
        }
        Task { try? await controller.run { _ in } }
        return try await ExecAttachment(exec: exec, stream: try await controller.open(ByteBuffer(string: "attach")))
    }

    /// The link of each attachment breaks.
    func sever() { for link in state.withLock({ $0.links }) { link.sever() } }

    func close() async {
        let links = state.withLock { state in
            defer { state.links = [] }
            return state.links
        }
        for link in links { link.close(reason: "The test is over.") }
        for link in links { await link.waitUntilClosed() }
    }
}
