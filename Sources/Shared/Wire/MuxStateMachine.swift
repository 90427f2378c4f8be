package import FastableCore
package import NIOCore

/// What the machine wants done besides sending frames.
package enum MuxAction: Sendable {
    /// The peer opened a stream.
    case accept(stream: UInt32, opening: ByteBuffer)
    /// Ask `take` again: the stream has an event, an end or an error for its reader.
    case wakeReader(stream: UInt32)
    /// A waiting `send` is over; this is its error.
    case failSender(ticket: UInt64, FastableError)
    /// The link is over. Send what `nextFrame` still gives (at most a `goaway`), then close the channel.
    case close
}

/// Many flow-controlled streams in one link, as a pure machine: frames, calls and the time go in, frames and actions come out.
///
/// - A stream is half-closed by `end` and ended both ways by `reset`. Credit counts payload bytes of `data` and `message`.
/// - Outgoing content waits in its stream and is taken out frame by frame, in turn, when the network has room (`nextFrame`).
///   So a small message never waits behind a large upload of another stream, and nothing piles up behind the network.
/// - Every peer is hostile: what breaks the protocol ends the link with `goaway`, and every queue has a bound.
package struct MuxStateMachine: Sendable {
    package typealias Instant = ContinuousClock.Instant

    package enum Ended: Sendable {
        /// By `close`.
        case locally(FastableError)
        /// By the peer, by silence or by the network.
        case broken(FastableError)
        /// By what the peer sent.
        case violated(FastableError)

        package var error: FastableError {
            switch self {
            case .locally(let error), .broken(let error), .violated(let error): error
            }
        }
    }

    package let role: MuxRole
    package let settings: MuxSettings
    package private(set) var ended: Ended?
    /// When the peer was heard last.
    package internal(set) var lastHeard: Instant

    var streams: [UInt32: MuxStreamState] = [:]
    /// Streams in the table by opener: this end's, the peer's.
    var ownCount = 0
    var peerCount = 0
    var nextStream: UInt32?
    var lastPeerStream: UInt32 = 0
    var recent: RecentStreams

    /// Answers and credit; they go before any stream's content.
    var control = CircularBuffer<Frame>(initialCapacity: 8)
    /// Streams that can send, each taking its turn for one frame.
    var ring = CircularBuffer<UInt32>(initialCapacity: 8)
    /// Bytes whose `send` has returned and that are not yet given out as frames.
    package internal(set) var committedBytes = 0

    var lastPing: Instant?
    var nextTick: Instant
    var pingCount: UInt64 = 0

    package init(role: MuxRole, settings: MuxSettings = MuxSettings(), now: Instant) {
        self.role = role
        self.settings = settings
        self.lastHeard = now
        self.nextTick = now + settings.pingInterval
        self.nextStream = role.firstStream
        self.recent = RecentStreams(capacity: settings.recentStreams)
    }

    /// Streams in the table; it empties when the program drops its handles.
    package var streamCount: Int { streams.count }
}

// MARK: frames from the peer

extension MuxStateMachine {
    package mutating func receive(_ frame: Frame, now: Instant) -> [MuxAction] {
        guard ended == nil else { return [] }
        lastHeard = now
        guard frame.flags == 0 else { return violation("unknown flags \(frame.flags)") }
        guard frame.payload.readableBytes <= settings.framePayloadBytes else { return violation("oversize frame") }
        guard frame.channel == 0 || frame.type == .data else { return violation("a channel on a control frame") }
        switch frame.type {
        case .ping, .pong, .goaway:
            guard frame.stream == 0 else { return violation("a link frame on stream \(frame.stream)") }
            return receiveLinkFrame(frame)
        case .open: return receiveOpen(frame)
        case .data:
            return receiveContent(frame, .data(channel: frame.channel, frame.payload))
        case .message:
            guard frame.payload.readableBytes > 0 else { return violation("an empty message") }
            return receiveContent(frame, .message(frame.payload))
        case .window: return receiveWindow(frame)
        case .end: return receiveEnd(frame)
        case .reset: return receiveReset(frame)
        default: return violation("unknown frame type \(frame.type.rawValue)")
        }
    }

    private mutating func receiveLinkFrame(_ frame: Frame) -> [MuxAction] {
        if frame.type == .goaway {
            let reason = MuxErrorText.decode(frame.payload)
            return end(.broken(.linkDown("The other end closed the link: \(reason.message)")), goaway: nil)
        }
        guard frame.payload.readableBytes == 8 else { return violation("a ping of the wrong size") }
        return frame.type == .ping ? enqueueControl(Frame(type: .pong, payload: frame.payload)) : []
    }

    /// Bytes that break the protocol below the frames: a bad header, a fragmented message.
    package mutating func violation(_ what: String) -> [MuxAction] {
        guard ended == nil else { return [] }
        let error = FastableError(.invalid, "The other end broke the link's protocol: \(what).")
        return end(.violated(.linkDown("protocol violation by the other end: \(what)")), goaway: error)
    }
}

// MARK: the end of the link

extension MuxStateMachine {
    /// Closes the link: tells the peer why, fails every stream.
    package mutating func close(reason: String) -> [MuxAction] {
        end(.locally(.linkDown("closed here: \(reason)")), goaway: FastableError(.unavailable, reason))
    }

    /// The network is gone.
    package mutating func linkLost(_ context: String) -> [MuxAction] {
        end(.broken(.linkDown(context)), goaway: nil)
    }

    mutating func end(_ reason: Ended, goaway: FastableError?) -> [MuxAction] {
        guard ended == nil else { return [] }
        ended = reason
        control.removeAll()
        ring.removeAll()
        committedBytes = 0
        if let goaway { control.append(Frame(type: .goaway, payload: MuxErrorText.encode(goaway))) }
        var actions: [MuxAction] = []
        for id in streams.keys {
            let dropped = withStream(id) { stream in
                // What was received stays readable, so that a finished answer is not lost with the link.
                if stream.failure == nil { stream.failure = reason.error }
                return stream.dropPending().tickets
            }
            for ticket in dropped ?? [] { actions.append(.failSender(ticket: ticket, reason.error)) }
            // What nobody holds any more was only there for what it still had to send.
            if streams[id]?.isReleased == true { remove(id) } else { actions.append(.wakeReader(stream: id)) }
        }
        actions.append(.close)
        return actions
    }
}

// MARK: helpers

extension MuxStateMachine {
    /// Changes one stream in place; `nil` when it is not in the table.
    mutating func withStream<Result>(_ id: UInt32, _ body: (inout MuxStreamState) -> Result) -> Result? {
        guard let index = streams.index(forKey: id) else { return nil }
        return body(&streams.values[index])
    }

    mutating func enqueueControl(_ frame: Frame) -> [MuxAction] {
        guard control.count < settings.queuedControlFrames else {
            return violation("it asks for answers and does not read them")
        }
        control.append(frame)
        return []
    }

    mutating func remove(_ id: UInt32) {
        guard let stream = streams.removeValue(forKey: id) else { return }
        if role.owns(id) { ownCount -= 1 } else { peerCount -= 1 }
        if stream.isAnnounced { recent.insert(id) }
    }
}

/// The last closed streams, oldest forgotten first.
struct RecentStreams {
    private let capacity: Int
    private var order = CircularBuffer<UInt32>(initialCapacity: 8)
    private var members: Set<UInt32> = []

    init(capacity: Int) { self.capacity = capacity }

    func contains(_ id: UInt32) -> Bool { members.contains(id) }

    mutating func insert(_ id: UInt32) {
        guard members.insert(id).inserted else { return }
        order.append(id)
        if order.count > capacity, let oldest = order.popFirst() { members.remove(oldest) }
    }
}
