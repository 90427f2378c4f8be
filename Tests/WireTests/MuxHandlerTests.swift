import FastableCore
import FastableWire
import NIOPosix
import Synchronization
import TestSupport
import Testing

/// What becomes of the streams that are being served when their link ends.
@Suite(.endsInTime) struct MuxHandlerTests {
    private static func pair(
        _ settings: MuxSettings = MuxSettings()
    ) async throws -> (dialer: MuxConnection, listener: MuxConnection) {
        try await MuxConnection.socketPair(on: MultiThreadedEventLoopGroup.singleton, settings: settings)
    }

    @Test func oneThatIsStuckDoesNotHoldUpTheEnd() async throws {
        let (dialer, listener) = try await Self.pair()
        let released = AsyncStream.makeStream(of: Void.self)
        let wasCancelled = Mutex(false)
        let ended = Mutex(false)
        let peer = Task {
            try await listener.run { _ in
                // Not cancelled with the handler.
                await Task { for await _ in released.stream {} }.value
                wasCancelled.withLock { $0 = Task.isCancelled }
                ended.withLock { $0 = true }
            }
        }
        let running = Task { try await dialer.run(accept: { _ in }) }
        let stream = try await dialer.open(text("x"))
        try await eventually("it is served") { listener.handlerCount == 1 }
        let start = ContinuousClock.now
        dialer.sever()
        await expectFailure(.unavailable) { try await peer.value }
        await expectFailure(.unavailable) { try await running.value }
        #expect(ContinuousClock.now - start >= .seconds(Limits.linkHandlersEndSeconds))
        #expect(listener.handlerCount == 1 && dialer.handlerCount == 0)
        #expect(!ended.withLock { $0 })
        released.continuation.finish()
        try await eventually("it ends after all") { ended.withLock { $0 } && listener.handlerCount == 0 }
        #expect(wasCancelled.withLock { $0 })
        withExtendedLifetime(stream) {}
    }

    /// Also when the task that runs the link is cancelled itself.
    @Test(arguments: [false, true]) func thoseThatCleanUpAreAwaited(isCancelled: Bool) async throws {
        // Not as long as the test may take: whoever waits without a reason is stopped by its time limit.
        var settings = MuxSettings()
        settings.handlersEnd = .seconds(3600)
        let (dialer, listener) = try await Self.pair(settings)
        let cleaned = Mutex(0)
        let peer = Task {
            try await listener.run { stream in
                _ = try? await stream.next()
                // Cleaning up takes a while that no cancellation cuts short.
                await Task { try? await Task.sleep(for: .milliseconds(300)) }.value
                cleaned.withLock { $0 += 1 }
            }
        }
        let running = Task { try? await dialer.run(accept: { _ in }) }
        var streams: [MuxStream] = []
        for _ in 0..<20 { streams.append(try await dialer.open(text("x"))) }
        try await eventually("all are served") { listener.handlerCount == streams.count }
        if isCancelled {
            peer.cancel()
            try await peer.value
        } else {
            dialer.sever()
            await expectFailure(.unavailable) { try await peer.value }
        }
        #expect(cleaned.withLock { $0 } == streams.count)
        await running.value
    }
}
