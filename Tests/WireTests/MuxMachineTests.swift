import FastableCore
import FastableWire
import NIOCore
import Testing

/// Two machines and a wire that delivers at once.
struct MachinePair {
    var dialer: MuxStateMachine
    var listener: MuxStateMachine
    var now = ContinuousClock.now
    /// What the last `deliver` wanted done at either end.
    var dialerActions: [MuxAction] = []
    var listenerActions: [MuxAction] = []

    init(_ settings: MuxSettings = .small) {
        dialer = MuxStateMachine(role: .dialer, settings: settings, now: now)
        listener = MuxStateMachine(role: .listener, settings: settings, now: now)
    }

    mutating func deliver() {
        dialerActions = []
        listenerActions = []
        while dialer.hasOutput || listener.hasOutput {
            while let output = dialer.nextFrame() { listenerActions += listener.receive(output.frame, now: now) }
            while let output = listener.nextFrame() { dialerActions += dialer.receive(output.frame, now: now) }
        }
    }

    /// A stream of the dialer that the listener knows.
    mutating func open() throws -> UInt32 {
        let id = try dialer.open(text("{}")).get()
        deliver()
        return id
    }
}

extension MuxSettings {
    static var small: MuxSettings {
        var settings = MuxSettings()
        settings.framePayloadBytes = 1024
        settings.messageBytes = 1024
        settings.chunkBytes = 256
        settings.windowBytes = 4096
        settings.streamsPerOpener = 8
        settings.sendBufferBytes = 2048
        settings.queuedEvents = 64
        settings.queuedControlFrames = 64
        settings.recentStreams = 32
        return settings
    }
}

extension MuxStateMachine {
    /// All frames that want to go now.
    mutating func frames() -> [Frame] {
        var frames: [Frame] = []
        while let output = nextFrame() { frames.append(output.frame) }
        return frames
    }

    mutating func events(_ id: UInt32) -> [MuxStream.Event] {
        var events: [MuxStream.Event] = []
        while case .event(let event) = take(id) { events.append(event) }
        return events
    }
}

@Suite struct MuxMachineTests {
    @Test func idsAreOddForTheDialerEvenForTheListenerAndRise() throws {
        var pair = MachinePair()
        #expect(try (0..<3).map { _ in try pair.dialer.open(text("{}")).get() } == [1, 3, 5])
        #expect(try (0..<3).map { _ in try pair.listener.open(text("{}")).get() } == [2, 4, 6])
        #expect(pair.dialer.frames().map(\.stream) == [1, 3, 5])
    }

    @Test func contentArrivesInOrderWithItsChannels() throws {
        var pair = MachinePair()
        let id = try pair.open()
        _ = pair.dialer.send(.message(text("one")), on: id, ticket: nil)
        _ = pair.dialer.send(.data(channel: 2, text("two")), on: id, ticket: nil)
        #expect(pair.dialer.finish(id) == nil)
        pair.deliver()
        #expect(pair.listener.events(id) == [.message(text("one")), .data(channel: 2, text("two")), .end])
        guard case .finished = pair.listener.take(id) else { return fail("not finished") }
    }

    @Test func theOtherDirectionStaysOpenAfterAnEnd() throws {
        var pair = MachinePair()
        let id = try pair.open()
        _ = pair.dialer.finish(id)
        pair.deliver()
        _ = pair.listener.send(.message(text("answer")), on: id, ticket: nil)
        _ = pair.listener.finish(id)
        pair.deliver()
        #expect(pair.dialer.events(id) == [.message(text("answer")), .end])
        guard case .failed(let error) = pair.dialer.send(.message(text("late")), on: id, ticket: nil) else {
            return fail("sent after finish")
        }
        #expect(error.code == .conflict)
    }

    @Test func aSenderNeverExceedsItsCreditAndGoesOnWhenTheReaderReads() throws {
        var pair = MachinePair()
        let id = try pair.open()
        guard case .waiting = pair.dialer.send(.data(channel: 0, pattern(10_000)), on: id, ticket: 7) else {
            return fail("did not wait")
        }
        pair.deliver()
        #expect(pair.listener.streamCount == 1)
        var received = ByteBuffer()
        var sizes: [Int] = []
        while received.readableBytes < 10_000 {
            let before = received.readableBytes
            for event in pair.listener.events(id) {
                if case .data(_, let bytes) = event { received.writeImmutableBuffer(bytes) }
            }
            sizes.append(received.readableBytes - before)
            try #require(received.readableBytes > before)
            pair.deliver()
        }
        #expect(received == pattern(10_000))
        #expect(sizes.first == 4096)
        #expect(sizes.allSatisfy { $0 <= 4096 })
    }

    @Test func aMessageWaitsForItsWholeCreditAndKeepsItsPlace() throws {
        var pair = MachinePair()
        let id = try pair.open()
        _ = pair.dialer.send(.data(channel: 0, pattern(4000)), on: id, ticket: 1)
        _ = pair.dialer.send(.message(pattern(1000)), on: id, ticket: 2)
        _ = pair.dialer.send(.data(channel: 0, text("x")), on: id, ticket: 3)
        #expect(pair.dialer.frames().map(\.payload.readableBytes).reduce(0, +) == 4000)
        pair.deliver()
        #expect(!pair.dialer.hasOutput)
    }

    /// A command may print single bytes to both of its outputs while its reader is away: other streams have no part in that.
    @Test func aReaderThatIsTooFarBehindLosesItsStreamOnly() throws {
        var pair = MachinePair()
        let slow = try pair.open()
        let other = try pair.open()
        for index in 0..<100 {
            _ = pair.dialer.send(.data(channel: UInt8(1 + index % 2), pattern(1, from: index)), on: slow, ticket: nil)
            pair.deliver()
        }
        #expect(pair.listener.ended == nil && pair.dialer.ended == nil)
        let received = pair.listener.events(slow)
        #expect(received.count == MuxSettings.small.queuedEvents, "what has come stays readable")
        #expect(
            received.first == .data(channel: 1, pattern(1)) && received.last == .data(channel: 2, pattern(1, from: 63)))
        guard case .failed(let error) = pair.listener.take(slow) else { return fail("the gap is not told") }
        #expect(error.code == .unavailable)
        guard case .failed = pair.dialer.send(.data(channel: 1, text("x")), on: slow, ticket: nil) else {
            return fail("the sender does not know")
        }
        _ = pair.dialer.send(.message(text("well")), on: other, ticket: nil)
        pair.deliver()
        #expect(pair.listener.events(other) == [.message(text("well"))])
    }

    @Test func streamsThatNobodyHoldsGoWithTheLink() throws {
        var pair = MachinePair()
        let id = try pair.open()
        pair.listener.release(id)
        _ = pair.listener.linkLost("the network is gone")
        #expect(pair.listener.streamCount == 0)
    }

    @Test func streamsTakeTurns() throws {
        var pair = MachinePair()
        let bulk = try pair.open()
        let small = try pair.open()
        _ = pair.dialer.send(.data(channel: 0, pattern(2048)), on: bulk, ticket: nil)
        _ = pair.dialer.send(.message(text("now")), on: small, ticket: 9)
        #expect(pair.dialer.frames().map(\.stream).prefix(2) == [bulk, small])
    }

    @Test func sendersWaitWhenTheLinkHoldsEnough() throws {
        var pair = MachinePair()
        let ids = try (0..<3).map { _ in try pair.open() }
        guard case .committed = pair.dialer.send(.data(channel: 0, pattern(2000)), on: ids[0], ticket: nil),
            case .wouldWait = pair.dialer.send(.data(channel: 0, pattern(2000)), on: ids[1], ticket: nil),
            case .waiting = pair.dialer.send(.data(channel: 0, pattern(2000)), on: ids[2], ticket: 5)
        else { return fail("wrong backpressure") }
        #expect(pair.dialer.committedBytes == 2000)
        var finished: [UInt64] = []
        while let output = pair.dialer.nextFrame() { if let ticket = output.finishedTicket { finished.append(ticket) } }
        #expect(finished == [5])
        #expect(pair.dialer.committedBytes == 0)
    }

    @Test func aCancelledSenderLeavesNothingBehind() throws {
        var pair = MachinePair()
        let id = try pair.open()
        _ = pair.dialer.send(.data(channel: 0, pattern(8000)), on: id, ticket: 1)
        _ = pair.dialer.send(.data(channel: 1, text("after")), on: id, ticket: 2)
        pair.deliver()
        pair.dialer.cancelSend(on: id, ticket: 1)
        #expect(pair.listener.events(id).map(\.size).reduce(0, +) == 4096)
        pair.deliver()
        #expect(pair.listener.events(id) == [.data(channel: 1, text("after"))])
    }

    @Test func resetEndsBothDirectionsAndCarriesTheError() throws {
        var pair = MachinePair()
        let id = try pair.open()
        _ = pair.dialer.send(.data(channel: 0, pattern(100)), on: id, ticket: nil)
        pair.deliver()
        let waiting = pair.listener.send(.data(channel: 1, pattern(9000)), on: id, ticket: 4)
        guard case .waiting = waiting else { return fail("did not wait") }
        let error = FastableError(.stale, "The file changed.", details: ["sha256": "abc"])
        _ = pair.dialer.reset(id, error)
        pair.deliver()
        guard case .failed(error) = pair.listener.take(id), case .failed(error) = pair.dialer.take(id),
            case .failed(error) = pair.listener.send(.message(text("x")), on: id, ticket: nil)
        else { return fail("the error did not arrive") }
        #expect(pair.listenerActions.contains { if case .failSender(4, error) = $0 { true } else { false } })
        pair.dialer.release(id)
        pair.listener.release(id)
        #expect(pair.dialer.streamCount == 0 && pair.listener.streamCount == 0)
    }

    @Test func aDroppedHandleResetsAnUnfinishedStreamAndKeepsAFinishedAnswer() throws {
        var pair = MachinePair()
        let asked = try pair.open()
        // The callee answers, ends and drops its handle without waiting for the caller's end.
        _ = pair.listener.send(.message(text("answer")), on: asked, ticket: nil)
        _ = pair.listener.finish(asked)
        pair.listener.release(asked)
        pair.deliver()
        #expect(pair.dialer.events(asked) == [.message(text("answer")), .end])
        #expect(pair.listener.streamCount == 0)

        let dropped = try pair.open()
        pair.listener.release(dropped)
        pair.deliver()
        guard case .failed(let error) = pair.dialer.take(dropped) else { return fail("no reset") }
        #expect(error.code == .cancelled)
    }

    @Test func aStreamDroppedBeforeItWasAnnouncedIsNeverSent() throws {
        var pair = MachinePair()
        let id = try pair.dialer.open(text("{}")).get()
        pair.dialer.release(id)
        #expect(pair.dialer.frames().isEmpty)
        let next = try pair.open()
        #expect(next > id)
        #expect(pair.listener.ended == nil)
    }

    @Test func lateFramesOfAClosedStreamAreIgnored() throws {
        var pair = MachinePair()
        let id = try pair.open()
        pair.listener.release(id)
        #expect(pair.listener.frames().map(\.type) == [.reset])
        #expect(pair.listener.streamCount == 0)
        for type in [FrameType.data, .message, .window, .end, .reset] {
            let payload = type == .end ? ByteBuffer() : ByteBuffer(integer: UInt32(7))
            #expect(pair.listener.receive(Frame(type: type, stream: id, payload: payload), now: pair.now).isEmpty)
        }
        #expect(pair.listener.ended == nil)
    }

    @Test func tooManyStreamsAreRefusedAtBothEnds() throws {
        var pair = MachinePair()
        let ids = try (0..<8).map { _ in try pair.open() }
        guard case .failure(let error) = pair.dialer.open(text("{}")) else { return fail("opened too many") }
        #expect(error.code == .limit)
        // A peer that does not keep the limit gets a reset; the link lives.
        _ = pair.listener.receive(Frame(type: .open, stream: 101, payload: text("{}")), now: pair.now)
        let refusals = pair.listener.frames()
        #expect(refusals.map(\.type) == [.reset] && refusals.map(\.stream) == [101])
        #expect(pair.listener.ended == nil)
        pair.listener.release(ids[0])
        _ = pair.listener.receive(Frame(type: .open, stream: 103, payload: text("{}")), now: pair.now)
        #expect(pair.listener.streamCount == 8)
    }

    @Test func anErrorThatIsTooLongIsCutAndStillArrives() throws {
        var pair = MachinePair(MuxSettings())
        let id = try pair.open()
        // One character of half a megabyte.
        let message = "e" + String(repeating: "\u{301}", count: 250_000)
        _ = pair.dialer.reset(id, FastableError(.stale, message))
        pair.deliver()
        guard case .failed(let error) = pair.listener.take(id) else { return fail("no reset") }
        #expect(error.code == .stale && error.message.utf8.count <= 4003)
    }

    @Test func chattyDataIsJoined() throws {
        var pair = MachinePair()
        let id = try pair.open()
        for index in 0..<1000 {
            _ = pair.listener.receive(
                Frame(type: .data, channel: 1, stream: id, payload: pattern(1, from: index)), now: pair.now)
        }
        #expect(pair.listener.ended == nil)
        #expect(pair.listener.events(id) == [.data(channel: 1, joined(1000))])
    }

    private func joined(_ count: Int) -> ByteBuffer {
        (0..<count).reduce(into: ByteBuffer()) { $0.writeImmutableBuffer(pattern(1, from: $1)) }
    }
}

extension MuxStream.Event {
    var size: Int {
        switch self {
        case .message(let bytes), .data(_, let bytes): bytes.readableBytes
        case .end: 0
        }
    }
}
