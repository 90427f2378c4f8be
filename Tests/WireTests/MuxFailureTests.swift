import FastableCore
import FastableWire
import NIOCore
import NIOPosix
import Synchronization
import TestSupport
import Testing

/// Links that break, calls that are cancelled.
@Suite(.endsInTime) struct MuxFailureTests {
    @Test func aLostLinkFailsEveryWaitingCall() async throws {
        let (dialer, listener) = try await MuxConnection.socketPair(on: MultiThreadedEventLoopGroup.singleton)
        let running = Task { try await dialer.run(accept: { _ in }) }
        let peer = Task { try await listener.run(accept: { _ in try? await Task.sleep(for: .seconds(3600)) }) }
        let reading = try await dialer.open(text("read"))
        let sending = try await dialer.open(text("send"))
        let read = Task { try await reading.next() }
        let send = Task { try await sending.send(data: pattern(3 * Limits.streamWindowBytes), channel: 0) }
        try await Task.sleep(for: .milliseconds(50))
        listener.sever()
        await expectFailure(.unavailable) { _ = try await read.value }
        await expectFailure(.unavailable) { try await send.value }
        await expectFailure(.unavailable) { try await running.value }
        await expectFailure(.unavailable) { try await peer.value }
        await expectFailure(.unavailable) { _ = try await dialer.open(text("late")) }
        await expectFailure(.unavailable) { _ = try await reading.next() }
        #expect(!dialer.isOpen)
    }

    @Test func closeEndsBothEndsAndCancelsTheirHandlers() async throws {
        let (dialer, listener) = try await MuxConnection.socketPair(on: MultiThreadedEventLoopGroup.singleton)
        let running = Task { try await dialer.run(accept: { _ in }) }
        let peer = Task { try await listener.run(accept: { _ in try? await Task.sleep(for: .seconds(3600)) }) }
        let stream = try await dialer.open(text("x"))
        try await eventually("the peer has the stream") { listener.streamCount == 1 }
        dialer.close(reason: "Upgrading.")
        try await running.value
        let error = await expectFailure(.unavailable) { try await peer.value }
        #expect(error?.context?.contains("Upgrading.") == true)
        await expectFailure(.unavailable) { _ = try await stream.next() }
    }

    @Test func aCancelledRunClosesTheLink() async throws {
        let (dialer, listener) = try await MuxConnection.socketPair(on: MultiThreadedEventLoopGroup.singleton)
        let refusals = Mutex(0)
        let run: @Sendable () async throws -> Void = {
            do { try await dialer.run(accept: { _ in }) } catch let error as FastableError where error.code == .conflict
            {
                refusals.withLock { $0 += 1 }
            }
        }
        let running = [Task(operation: run), Task(operation: run)]
        let peer = Task { try await listener.run(accept: { _ in }) }
        try await eventually("whichever came second is refused") { refusals.withLock { $0 } == 1 }
        #expect(dialer.isOpen)
        for task in running { task.cancel() }
        for task in running { try await task.value }
        #expect(refusals.withLock { $0 } == 1)
        await expectFailure(.unavailable) { try await peer.value }
    }

    @Test func aCancelledReadGivesUpAndLosesNothing() async throws {
        try await withLink(listenerAccepts: echo) { dialer, _ in
            let stream = try await dialer.open(text("x"))
            for index in 0..<50 {
                let read = Task { try await stream.next() }
                if index % 2 == 0 { try await Task.sleep(for: .milliseconds(1)) }
                read.cancel()
                await #expect(throws: CancellationError.self) { _ = try await read.value }
            }
            try await stream.send(message: text("still here"))
            #expect(try await stream.next() == .message(text("still here")))
        }
    }

    @Test func readsThatAreCancelledWhileBytesArriveLoseNothing() async throws {
        let count = 2000
        try await withLink(listenerAccepts: { stream in
            for index in 0..<count { try? await stream.send(message: text("\(index)")) }
            try? await stream.finish()
        }) { dialer, _ in
            let stream = try await dialer.open(text("x"))
            var seen = 0
            while seen < count {
                let read = Task { try await stream.next() }
                if seen % 3 == 0 { read.cancel() }
                do {
                    guard case .message(let bytes)? = try await read.value else { break }
                    #expect(bytes == text("\(seen)"))
                    seen += 1
                } catch is CancellationError {
                    continue
                }
            }
            #expect(seen == count)
        }
    }

    @Test func aCancelledSendGivesUp() async throws {
        try await withLink(listenerAccepts: { _ in try? await Task.sleep(for: .seconds(3600)) }) { dialer, _ in
            let stream = try await dialer.open(text("x"))
            let window = pattern(Limits.streamWindowBytes)
            try await stream.send(data: window, channel: 0)
            // The stream is alive, but its credit is used up.
            for _ in 0..<20 {
                let send = Task { try await stream.send(message: text("x")) }
                try await Task.sleep(for: .milliseconds(2))
                send.cancel()
                await #expect(throws: CancellationError.self) { try await send.value }
            }
            #expect(dialer.isOpen)
        }
    }

    @Test func theLimitOfStreamsIsToldToTheOpener() async throws {
        var settings = MuxSettings()
        settings.streamsPerOpener = 3
        try await withLink(settings: settings, listenerAccepts: echo) { dialer, _ in
            let held = try await [dialer.open(text("1")), dialer.open(text("2")), dialer.open(text("3"))]
            await expectFailure(.limit) { _ = try await dialer.open(text("4")) }
            #expect(held.count == 3)
        }
    }

    @Test func aSilentPeerIsDead() async throws {
        var settings = MuxSettings()
        settings.pingInterval = .milliseconds(800)
        settings.silence = .seconds(4)
        let start = ContinuousClock.now
        let raw = try await RawPeer.make(role: .dialer, settings: settings)
        let error = await expectFailure(.unavailable) { try await raw.connection.run(accept: { _ in }) }
        #expect(error?.context?.contains("silent") == true)
        #expect(ContinuousClock.now - start >= .seconds(4))
        let (frames, _) = try raw.readToEnd()
        #expect(frames.map(\.type).contains(.ping))
        #expect(frames.last?.type == .goaway)
    }
}
