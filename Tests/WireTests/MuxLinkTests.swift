import FastableCore
import FastableWire
import NIOCore
import Testing

/// The link as a whole: its clock, its end, and what breaks its protocol.
@Suite struct MuxLinkTests {
    @Test func aSilentLinkIsPingedAndAnAnsweringOneLives() throws {
        var pair = MachinePair()
        for _ in 0..<20 {
            pair.now += .seconds(5)
            _ = pair.dialer.tick(now: pair.now)
            _ = pair.listener.tick(now: pair.now)
            pair.deliver()
        }
        #expect(pair.dialer.ended == nil && pair.listener.ended == nil)
        #expect(pair.dialer.lastHeard == pair.now)
    }

    @Test func aDeadPeerEndsTheLinkAfterTheSilence() throws {
        var pair = MachinePair()
        let id = try pair.open()
        let start = pair.now
        var pings = 0
        var next = start + .seconds(5)
        while pair.dialer.ended == nil {
            pair.now = next
            let result = pair.dialer.tick(now: pair.now)
            pings += pair.dialer.frames().filter { $0.type == .ping }.count
            #expect(result.next > pair.now || pair.dialer.ended != nil)
            next = result.next
        }
        #expect(pair.now == start + .seconds(15))
        #expect(pings == 2)
        guard case .failed(let error) = pair.dialer.take(id) else { return fail("the stream lives") }
        #expect(error.code == .unavailable)
    }

    @Test func aPauseOfThisProcessIsNotThePeersSilence() {
        var pair = MachinePair()
        pair.now += .seconds(5)
        _ = pair.dialer.tick(now: pair.now)
        pair.now += .seconds(3600)
        let (_, next) = pair.dialer.tick(now: pair.now)
        #expect(pair.dialer.ended == nil)
        #expect(next <= pair.now + .seconds(10))
        // But from now on it counts.
        pair.now += .seconds(5)
        _ = pair.dialer.tick(now: pair.now)
        pair.now += .seconds(5)
        _ = pair.dialer.tick(now: pair.now)
        #expect(pair.dialer.ended != nil)
    }

    @Test func bytesOfAnUnfinishedFrameCountAsHeard() {
        var pair = MachinePair()
        for _ in 0..<10 {
            pair.now += .seconds(5)
            pair.dialer.heard(now: pair.now)
            _ = pair.dialer.tick(now: pair.now)
        }
        #expect(pair.dialer.ended == nil)
        #expect(pair.dialer.frames().isEmpty)
    }

    @Test func closeTellsThePeerAndFailsEveryCall() throws {
        var pair = MachinePair()
        let id = try pair.open()
        _ = pair.listener.send(.data(channel: 1, pattern(9000)), on: id, ticket: 3)
        let actions = pair.dialer.close(reason: "Going home.")
        #expect(actions.contains { if case .close = $0 { true } else { false } })
        pair.deliver()
        guard case .broken(let error)? = pair.listener.ended else { return fail("not told") }
        #expect(error.context?.contains("Going home.") == true)
        #expect(pair.listenerActions.contains { if case .failSender(3, _) = $0 { true } else { false } })
        guard case .failure(let refusal) = pair.dialer.open(text("{}")) else { return fail("opened") }
        #expect(refusal.code == .unavailable)
        #expect(pair.dialer.close(reason: "again").isEmpty)
    }

    @Test func whatHadArrivedIsStillReadableAfterALoss() throws {
        var pair = MachinePair()
        let id = try pair.open()
        let other = try pair.open()
        _ = pair.listener.send(.message(text("answer")), on: id, ticket: nil)
        _ = pair.listener.finish(id)
        _ = pair.listener.send(.message(text("half")), on: other, ticket: nil)
        pair.deliver()
        _ = pair.dialer.linkLost("cable cut")
        #expect(pair.dialer.events(id) == [.message(text("answer")), .end])
        guard case .finished = pair.dialer.take(id) else { return fail("a whole answer was lost") }
        #expect(pair.dialer.events(other) == [.message(text("half"))])
        guard case .failed(let error) = pair.dialer.take(other) else { return fail("a cut looks like an end") }
        #expect(error.code == .unavailable)
    }

    /// Each breaks the protocol in one way; the listener has stream 1 open and stream 3 ended.
    static let violations: [(String, Frame)] = [
        ("unknown type", Frame(type: FrameType(rawValue: 10), stream: 1)),
        ("type zero", Frame(type: FrameType(rawValue: 0), stream: 1)),
        ("flags", Frame(type: .data, flags: 1, stream: 1, payload: text("x"))),
        ("channel on a message", Frame(type: .message, channel: 1, stream: 1, payload: text("{}"))),
        ("oversize", Frame(type: .data, stream: 1, payload: pattern(1025))),
        ("stream zero", Frame(type: .open, stream: 0, payload: text("{}"))),
        ("wrong parity", Frame(type: .open, stream: 2, payload: text("{}"))),
        ("opened twice", Frame(type: .open, stream: 1, payload: text("{}"))),
        ("out of order", Frame(type: .open, stream: 3, payload: text("{}"))),
        ("data for nobody", Frame(type: .data, stream: 99, payload: text("x"))),
        ("window for nobody", Frame(type: .window, stream: 99, payload: ByteBuffer(integer: UInt32(1)))),
        ("reset for nobody", Frame(type: .reset, stream: 98, payload: text("{}"))),
        ("end for nobody", Frame(type: .end, stream: 99)),
        ("data after end", Frame(type: .data, stream: 3, payload: text("x"))),
        ("two ends", Frame(type: .end, stream: 3)),
        ("end with payload", Frame(type: .end, stream: 1, payload: text("x"))),
        ("empty message", Frame(type: .message, stream: 1)),
        ("short window", Frame(type: .window, stream: 1, payload: text("abc"))),
        ("zero window", Frame(type: .window, stream: 1, payload: ByteBuffer(integer: UInt32(0)))),
        ("window overflow", Frame(type: .window, stream: 1, payload: ByteBuffer(integer: UInt32(Int32.max)))),
        ("short ping", Frame(type: .ping, payload: text("abc"))),
        ("ping on a stream", Frame(type: .ping, stream: 1, payload: ByteBuffer(integer: UInt64(1)))),
        ("goaway on a stream", Frame(type: .goaway, stream: 1, payload: text("{}"))),
    ]

    @Test(arguments: violations.indices)
    func aViolationEndsTheLinkWithGoaway(index: Int) throws {
        let (name, frame) = Self.violations[index]
        var pair = MachinePair()
        _ = try pair.open()
        let ended = try pair.open()
        _ = pair.dialer.finish(ended)
        pair.deliver()
        let actions = pair.listener.receive(frame, now: pair.now)
        #expect(actions.contains { if case .close = $0 { true } else { false } }, "\(name)")
        guard case .violated? = pair.listener.ended else { return fail("\(name): no violation") }
        #expect(pair.listener.frames().map(\.type) == [.goaway], "\(name)")
        #expect(
            pair.listener.receive(Frame(type: .ping, payload: ByteBuffer(integer: UInt64(1))), now: pair.now).isEmpty)
        #expect(!pair.listener.hasOutput)
    }

    @Test func moreThanTheCreditIsAViolation() throws {
        var pair = MachinePair()
        let id = try pair.open()
        for _ in 0..<4 {
            _ = pair.listener.receive(Frame(type: .data, stream: id, payload: pattern(1024)), now: pair.now)
        }
        #expect(pair.listener.ended == nil)
        _ = pair.listener.receive(Frame(type: .data, stream: id, payload: pattern(1)), now: pair.now)
        #expect(pair.listener.ended != nil)
    }

    @Test func smallFramesBeyondWhatTheQueueHoldsEndTheirStreamOnly() throws {
        var pair = MachinePair()
        let id = try pair.open()
        // Channels that alternate cannot be joined.
        for index in 0..<1000 {
            _ = pair.listener.receive(
                Frame(type: .data, channel: UInt8(index % 2), stream: id, payload: pattern(1)), now: pair.now)
        }
        #expect(pair.listener.ended == nil)
        #expect(pair.listener.frames().map(\.type) == [.reset], "it is told once")
        #expect(pair.listener.events(id).count == MuxSettings.small.queuedEvents, "the queue does not grow")
    }

    @Test func aPeerThatPingsAndNeverReadsIsCutOff() {
        var pair = MachinePair()
        let ping = Frame(type: .ping, payload: ByteBuffer(integer: UInt64(1)))
        for _ in 0..<64 { _ = pair.listener.receive(ping, now: pair.now) }
        #expect(pair.listener.ended == nil)
        _ = pair.listener.receive(ping, now: pair.now)
        #expect(pair.listener.ended != nil)
        #expect(pair.listener.frames().count == 1)
    }

    @Test func limitsFitTogether() {
        let settings = MuxSettings()
        #expect(settings.windowBytes >= 2 * settings.messageBytes, "a message could wait for credit for ever")
        #expect(settings.messageBytes <= settings.framePayloadBytes)
        #expect(settings.chunkBytes <= settings.framePayloadBytes)
        #expect(settings.pingInterval * 2 < settings.silence, "a lost ping would end a link")
        #expect(settings.recentStreams >= 2 * settings.streamsPerOpener)
        // An answer to every stream of the peer, twice, does not look like a flood.
        #expect(settings.queuedControlFrames >= 4 * settings.streamsPerOpener)
    }
}
