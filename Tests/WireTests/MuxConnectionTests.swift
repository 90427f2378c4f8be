import FastableCore
import FastableWire
import NIOCore
import NIOPosix
import Synchronization
import TestSupport
import Testing

/// Links over real sockets.
@Suite(.endsInTime) struct MuxConnectionTests {
    @Test func aThousandStreamsEchoAtOnce() async throws {
        try await withLink(listenerAccepts: echo) { dialer, _ in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for index in 0..<1000 {
                    group.addTask {
                        let stream = try await dialer.open(text("echo"))
                        try await stream.send(message: text("hello \(index)"))
                        #expect(try await stream.next() == .message(text("hello \(index)")))
                        try await stream.send(data: pattern(3000, from: index), channel: 0)
                        try await stream.finish()
                        #expect(try await readAll(stream) == pattern(3000, from: index))
                        #expect(try await stream.next() == nil)
                    }
                }
                try await group.waitForAll()
            }
            try await eventually("all streams are gone") { dialer.streamCount == 0 }
        }
    }

    @Test func bothEndsOpenStreams() async throws {
        try await withLink(dialerAccepts: echo, listenerAccepts: echo) { dialer, listener in
            let down = try await listener.open(text("down"))
            let up = try await dialer.open(text("up"))
            #expect(down.id == 2 && up.id == 1)
            try await down.send(message: text("a"))
            try await up.send(message: text("b"))
            #expect(try await down.next() == .message(text("a")))
            #expect(try await up.next() == .message(text("b")))
        }
    }

    @Test func largeDataArrivesWhole() async throws {
        let size = 20_000_000
        try await withLink(listenerAccepts: { stream in
            for start in Swift.stride(from: 0, to: size, by: 1_000_000) {
                try? await stream.send(data: pattern(1_000_000, from: start), channel: 1)
            }
            try? await stream.finish()
        }) { dialer, _ in
            let stream = try await dialer.open(text("download"))
            var offset = 0
            while case .data(let channel, let bytes)? = try await stream.next() {
                #expect(channel == 1)
                try #require(bytes == pattern(bytes.readableBytes, from: offset), "at \(offset)")
                offset += bytes.readableBytes
            }
            #expect(offset == size)
        }
    }

    @Test func aSlowReaderStopsItsOwnStreamAndNoOther() async throws {
        let size = 8 * Limits.streamWindowBytes
        let sent = Mutex(0)
        let listenerAccepts: @Sendable (MuxStream) async -> Void = { stream in
            guard stream.opening == text("bulk") else { return await echo(stream) }
            for start in Swift.stride(from: 0, to: size, by: 65_536) {
                try? await stream.send(data: pattern(65_536, from: start), channel: 1)
                sent.withLock { $0 += 65_536 }
            }
            try? await stream.finish()
        }
        try await withLink(listenerAccepts: listenerAccepts) { dialer, _ in
            let bulk = try await dialer.open(text("bulk"))
            try await eventually("the window is full") { sent.withLock { $0 } >= Limits.streamWindowBytes }
            let other = try await dialer.open(text("echo"))
            for index in 0..<200 {
                try await other.send(message: text("\(index)"))
                #expect(try await other.next() == .message(text("\(index)")))
            }
            // Nobody has read: what its sender got rid of is the window.
            #expect(sent.withLock { $0 } == Limits.streamWindowBytes)
            #expect(try await readAll(bulk) == pattern(size))
        }
    }

    @Test func messagesAndTheirLimits() async throws {
        try await withLink(listenerAccepts: echo) { dialer, _ in
            let stream = try await dialer.open(text("echo"))
            let largest = pattern(Limits.controlMessageBytes)
            for _ in 0..<20 {
                try await stream.send(message: largest)
                #expect(try await stream.next() == .message(largest))
            }
            await expectFailure(.tooLarge) { try await stream.send(message: pattern(Limits.controlMessageBytes + 1)) }
            await expectFailure(.invalid) { try await stream.send(message: ByteBuffer()) }
            try await stream.finish()
            await expectFailure(.conflict) { try await stream.send(message: text("late")) }
        }
    }

    @Test func aResetCarriesItsError() async throws {
        let error = FastableError(.stale, "The file changed.", details: ["sha256": "abc"], retryAfterSeconds: 3)
        try await withLink(listenerAccepts: { $0.reset(error) }) { dialer, _ in
            let stream = try await dialer.open(text("x"))
            let seen = await expectFailure(.stale) { _ = try await stream.next() }
            #expect(seen == error)
            await expectFailure(.stale) { try await stream.send(message: text("x")) }
        }
    }

    @Test func aStreamThatNobodyHoldsIsReset() async throws {
        try await withLink(listenerAccepts: { _ in }) { dialer, _ in
            let stream = try await dialer.open(text("x"))
            await expectFailure(.cancelled) { _ = try await stream.next() }
        }
    }

    @Test func anAnswerThatWasFinishedArrivesThoughItsHandleIsGone() async throws {
        let answer = pattern(600_000)
        try await withLink(listenerAccepts: { stream in
            try? await stream.send(data: answer, channel: 1)
            try? await stream.finish()
        }) { dialer, _ in
            for _ in 0..<20 {
                let stream = try await dialer.open(text("x"))
                #expect(try await readAll(stream) == answer)
            }
        }
    }

    @Test func onlyOneTaskReads() async throws {
        try await withLink(listenerAccepts: { _ = try? await $0.next() }) { dialer, _ in
            let stream = try await dialer.open(text("x"))
            let codes = Mutex<[FastableError.Code]>([])
            let read: @Sendable () async throws -> Void = {
                do { _ = try await stream.next() } catch let error as FastableError {
                    codes.withLock { $0.append(error.code) }
                }
            }
            let readers = [Task(operation: read), Task(operation: read)]
            // Whichever came second is refused; the other waits on.
            try await eventually("one is refused") { codes.withLock { $0 } == [.conflict] }
            stream.reset(FastableError(.stale, "over"))
            for reader in readers { try await reader.value }
            #expect(codes.withLock { $0 } == [.conflict, .stale])
        }
    }
}
