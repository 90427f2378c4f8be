import FastableCore
public import NIOCore
import NIOWebSocket
import Synchronization

/// One link: many flow-controlled streams over one channel. `LinkDialer` and `LinkListener` make them.
public final class MuxConnection: Sendable {
    private let core: MuxCore
    private let channel: any Channel
    private let handlersEnd: Duration
    private let handlers = Atomic(0)

    private init(core: MuxCore, channel: any Channel, handlersEnd: Duration) {
        self.core = core
        self.channel = channel
        self.handlersEnd = handlersEnd
    }

    /// Turns a channel that carries WebSocket frames into a link. Call it on the channel's event loop.
    ///
    /// TLS and the upgrade are behind the channel already; tests use plain sockets.
    package static func attach(
        to channel: any Channel, role: MuxRole, settings: MuxSettings = MuxSettings()
    ) throws -> MuxConnection {
        let core = MuxCore(role: role, settings: settings, loop: channel.eventLoop)
        let decoder = WebSocketFrameDecoder(maxFrameSize: settings.framePayloadBytes + FrameHeader.byteCount)
        try channel.pipeline.syncOperations.addHandlers([
            ByteToMessageHandler(decoder),
            MuxChannelHandler(core: core, role: role, payloadLimit: settings.framePayloadBytes),
        ])
        return MuxConnection(core: core, channel: channel, handlersEnd: settings.handlersEnd)
    }

    /// Runs until the link is over; `accept` is called in a task of its own for every stream that the peer opens.
    ///
    /// When the link ends, these tasks are cancelled and awaited, but not for ever (`MuxSettings.handlersEnd`): one that is
    /// stuck must not keep a node from dialling again. `handlerCount` tells what is left then; it ends by itself or never.
    /// Returns after `close` or when its task is cancelled (which closes the link); throws `unavailable` when the link was lost
    /// or the peer closed it.
    ///
    /// - Parameter onLoop: these tasks run on the channel's event loop, see `LoopExecutor`.
    public func run(onLoop: Bool = false, accept: @escaping @Sendable (MuxStream) async -> Void) async throws {
        try core.claimRun()
        let handlersEnded = channel.eventLoop.makePromise(of: Void.self)
        await withTaskCancellationHandler {
            // Not a child task: nobody could leave without it. It ends with the link, as far as the handlers let it.
            Task(executorPreference: onLoop ? LoopExecutor.on(channel.eventLoop) : nil) {
                await self.serve(accept)
                handlersEnded.succeed()
            }
            try? await channel.closeFuture.get()
        } onCancel: {
            core.close(reason: "The program is stopping.")
        }
        let patience = channel.eventLoop.scheduleTask(in: TimeAmount(handlersEnd)) { handlersEnded.succeed() }
        try? await handlersEnded.futureResult.get()
        patience.cancel()
        if let error = core.failure { throw error }
    }

    private func serve(_ accept: @escaping @Sendable (MuxStream) async -> Void) async {
        await withDiscardingTaskGroup { group in
            while let (id, opening) = await core.nextArrived() {
                let stream = MuxStream(id: id, opening: opening, core: core)
                handlers.add(1, ordering: .relaxed)
                group.addTask {
                    await accept(stream)
                    self.handlers.subtract(1, ordering: .relaxed)
                }
            }
            group.cancelAll()
        }
    }

    /// Streams of the peer that are being served.
    public var handlerCount: Int { handlers.load(ordering: .relaxed) }

    /// Opens a stream. It returns at once: the peer's refusal, if any, comes as the stream's error.
    ///
    /// Throws `unavailable` when the link is down, `limit` when too many streams are open, `too_large`.
    public nonisolated(nonsending) func open(_ opening: ByteBuffer) async throws -> MuxStream {
        try Task.checkCancellation()
        return MuxStream(id: try core.open(opening), opening: opening, core: core)
    }

    /// Ends the link and all its streams; the peer is told the reason. Returns at once.
    public func close(reason: String) {
        core.close(reason: reason)
    }

    /// When something last came from the peer; at first, when the link was made.
    public var lastHeard: ContinuousClock.Instant { core.change { state, _ in state.machine.lastHeard } }

    /// Whether streams can be opened. A link that is lost is noticed after `Limits.linkSilenceSeconds` at the latest.
    public var isOpen: Bool { core.change { state, _ in state.machine.ended == nil } }

    /// Streams of both ends for which the program still holds a handle.
    public var streamCount: Int { core.change { state, _ in state.machine.streamCount } }

    /// Completes when the channel is closed.
    package func waitUntilClosed() async {
        try? await channel.closeFuture.get()
    }

    /// Cuts the network without a goodbye, as a crash of the peer would.
    package func sever() {
        channel.close(mode: .all, promise: nil)
    }
}

extension MuxCore {
    /// Why the link ended, unless this end closed it.
    fileprivate var failure: FastableError? {
        change { state, _ in
            switch state.machine.ended {
            case .none, .locally: nil
            case .broken(let error), .violated(let error): error
            }
        }
    }

    fileprivate func claimRun() throws {
        let isFirst = change { state, _ in
            defer { state.isRunning = true }
            return !state.isRunning
        }
        if !isFirst { throw FastableError(.conflict, "The link is running already.") }
    }
}
