import FastableCore
package import NIOCore

/// What a sender hands to a stream.
package enum MuxContent: Sendable {
    case open(ByteBuffer)
    case message(ByteBuffer)
    case data(channel: UInt8, ByteBuffer)
    case end
    case reset(ByteBuffer)

    /// Bytes that need credit.
    var byteCount: Int {
        switch self {
        case .message(let bytes), .data(_, let bytes): bytes.readableBytes
        case .open, .end, .reset: 0
        }
    }
}

/// One stream as one end sees it: what waits to be sent, what waits to be read, and the credit of both directions.
struct MuxStreamState {
    enum LocalEnd { case open, queued, sent }

    struct Pending {
        var content: MuxContent
        /// The waiting sender, or `nil` when its `send` has returned and the link answers for the bytes.
        let ticket: UInt64?
    }

    /// One frame's worth of pending content.
    struct Piece {
        let frame: Frame
        let committedBytes: Int
        /// The sender whose content is now sent to the last byte.
        let finishedTicket: UInt64?
    }

    let id: UInt32

    // Sending.
    var pending = CircularBuffer<Pending>(initialCapacity: 2)
    var pendingBytes = 0
    var waitingSenders = 0
    var sendCredit: Int
    /// Whether the stream stands in the link's ring of streams that can send.
    var isInRing = false
    /// Whether the peer knows the stream.
    var isAnnounced: Bool
    var localEnd = LocalEnd.open

    // Receiving.
    var inbound = CircularBuffer<MuxStream.Event>(initialCapacity: 2)
    /// Bytes that the peer may still send.
    var receiveWindow: Int
    /// Bytes that were read and are not yet given back as credit.
    var consumedBytes = 0
    var remoteEnd = false
    var endTaken = false

    /// Set by a reset of either end, or when the link ends.
    var failure: FastableError?
    /// The program holds no handle any more: nothing will be read, and the entry goes when everything is sent.
    var isReleased = false

    init(id: UInt32, isAnnounced: Bool, windowBytes: Int) {
        self.id = id
        self.isAnnounced = isAnnounced
        self.sendCredit = windowBytes
        self.receiveWindow = windowBytes
    }
}

// MARK: sending

extension MuxStreamState {
    /// Whether the first pending content can go now, as far as credit is concerned.
    var canSend: Bool {
        switch pending.first?.content {
        case .none: false
        case .open, .end, .reset: true
        case .message(let bytes): sendCredit >= bytes.readableBytes
        case .data: sendCredit > 0
        }
    }

    mutating func enqueue(_ content: MuxContent, ticket: UInt64?) {
        pending.append(Pending(content: content, ticket: ticket))
        pendingBytes += content.byteCount
        if ticket != nil { waitingSenders += 1 }
    }

    /// Takes content from the program, when it need not wait or has a ticket to wait with.
    mutating func send(_ content: MuxContent, ticket: UInt64?, hasRoom: Bool) -> MuxStateMachine.SendResult {
        if let failure { return .failed(failure) }
        guard localEnd == .open else {
            return .failed(FastableError(.conflict, "The stream was already finished; nothing more can be sent on it."))
        }
        if hasRoom, waitingSenders == 0, pendingBytes + content.byteCount <= sendCredit {
            enqueue(content, ticket: nil)
            return .committed
        }
        guard let ticket else { return .wouldWait }
        enqueue(content, ticket: ticket)
        return .waiting
    }

    /// The next frame, when there is content and credit for it.
    mutating func nextPiece(chunkBytes: Int) -> Piece? {
        guard canSend, let first = pending.first else { return nil }
        switch first.content {
        case .open(let bytes):
            isAnnounced = true
            return finishFirst(Frame(type: .open, stream: id, payload: bytes))
        case .message(let bytes):
            return finishFirst(Frame(type: .message, stream: id, payload: bytes))
        case .end:
            localEnd = .sent
            return finishFirst(Frame(type: .end, stream: id))
        case .reset(let bytes):
            return finishFirst(Frame(type: .reset, stream: id, payload: bytes))
        case .data(let channel, var bytes):
            guard let piece = bytes.readSlice(length: min(chunkBytes, sendCredit, bytes.readableBytes)) else {
                return nil
            }
            let frame = Frame(type: .data, channel: channel, stream: id, payload: piece)
            guard bytes.readableBytes > 0 else { return finishFirst(frame) }
            pending[pending.startIndex].content = .data(channel: channel, bytes)
            charge(piece.readableBytes)
            return Piece(
                frame: frame, committedBytes: first.ticket == nil ? piece.readableBytes : 0, finishedTicket: nil)
        }
    }

    private mutating func finishFirst(_ frame: Frame) -> Piece {
        let first = pending.removeFirst()
        let bytes = first.content.byteCount
        if first.ticket != nil { waitingSenders -= 1 }
        if bytes > 0 { charge(bytes) }
        // For data, what is left of the content is exactly this frame's payload.
        return Piece(frame: frame, committedBytes: first.ticket == nil ? bytes : 0, finishedTicket: first.ticket)
    }

    private mutating func charge(_ bytes: Int) {
        sendCredit -= bytes
        pendingBytes -= bytes
    }

    /// Forgets what was to be sent. Gives the committed bytes and the senders that wait.
    mutating func dropPending() -> (committedBytes: Int, tickets: [UInt64]) {
        var committed = 0
        var tickets: [UInt64] = []
        for item in pending {
            if let ticket = item.ticket { tickets.append(ticket) } else { committed += item.content.byteCount }
        }
        pending.removeAll()
        pendingBytes = 0
        waitingSenders = 0
        return (committed, tickets)
    }

    /// Takes back the content of a sender that was cancelled. What was already sent of it stays sent.
    mutating func cancel(ticket: UInt64) {
        guard let index = pending.firstIndex(where: { $0.ticket == ticket }) else { return }
        pendingBytes -= pending[index].content.byteCount
        waitingSenders -= 1
        pending.remove(at: index)
    }
}

// MARK: receiving

extension MuxStreamState {
    enum Receipt {
        case queued, ignored, violation(String)
        /// The program reads too slowly for pieces that are this small.
        case overflow
    }

    /// Data or a message from the peer.
    mutating func receive(_ event: MuxStream.Event, byteCount: Int, settings: MuxSettings) -> Receipt {
        // After a local reset the peer's last frames are still on their way.
        guard failure == nil, !isReleased else { return .ignored }
        guard !remoteEnd else { return .violation("content after the end of stream \(id)") }
        guard byteCount <= receiveWindow else { return .violation("more bytes than credit on stream \(id)") }
        receiveWindow -= byteCount
        guard byteCount > 0 else { return .ignored }
        if join(event) { return .ignored }
        guard inbound.count < settings.queuedEvents else { return .overflow }
        inbound.append(event.detached(below: Self.smallBytes))
        return .queued
    }

    mutating func receiveEnd() -> Receipt {
        guard failure == nil else { return .ignored }
        guard !remoteEnd else { return .violation("two ends of stream \(id)") }
        remoteEnd = true
        guard !isReleased else { return .ignored }
        inbound.append(.end)
        return .queued
    }

    /// Joins small data to the data that already waits, so that a slow reader of a chatty peer costs bytes, not events.
    private mutating func join(_ event: MuxStream.Event) -> Bool {
        guard case .data(let channel, let bytes) = event, bytes.readableBytes < Self.smallBytes,
            let last = inbound.popLast()
        else { return false }
        // Taken out of the queue and moved, so that appending does not copy what already waits.
        switch consume last {
        case .data(channel, var waiting) where waiting.readableBytes + bytes.readableBytes <= Self.smallBytes:
            waiting.writeImmutableBuffer(bytes)
            inbound.append(.data(channel: channel, waiting))
            return true
        case let other:
            inbound.append(other)
            return false
        }
    }

    /// Below this a payload is copied out of the network's buffer, which it would otherwise keep alive as a whole.
    private static var smallBytes: Int { 4096 }

    /// Credit to give back after `bytes` were read, in halves of the window so that it costs few frames.
    mutating func consume(_ bytes: Int, windowBytes: Int) -> Int? {
        consumedBytes += bytes
        guard consumedBytes * 2 >= windowBytes, !remoteEnd, failure == nil else { return nil }
        let grant = consumedBytes
        consumedBytes = 0
        receiveWindow += grant
        return grant
    }
}

extension MuxStream.Event {
    var byteCount: Int {
        switch self {
        case .message(let bytes), .data(_, let bytes): bytes.readableBytes
        case .end: 0
        }
    }

    /// The same event; a payload of fewer than `limit` bytes in memory of its own.
    func detached(below limit: Int) -> MuxStream.Event {
        switch self {
        case .message(let bytes) where bytes.readableBytes < limit: .message(ByteBuffer(bytes: bytes.readableBytesView))
        case .data(let channel, let bytes) where bytes.readableBytes < limit:
            .data(channel: channel, ByteBuffer(bytes: bytes.readableBytesView))
        case .message, .data, .end: self
        }
    }
}
