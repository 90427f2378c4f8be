package import FastableCore
package import NIOCore

// Calls of this end's program.

extension MuxStateMachine {
    package enum SendResult {
        /// The link answers for the content: `send` returns.
        case committed
        /// The content waits for credit or for the network; the ticket tells when it has gone.
        case waiting
        /// No ticket was given and the content would have to wait. Nothing was taken.
        case wouldWait
        case failed(FastableError)
    }

    package enum Taken {
        case event(MuxStream.Event)
        case finished
        case failed(FastableError)
        /// Nothing yet: `wakeReader` will say when to ask again.
        case empty
    }

    /// Opens a stream of this end. The peer hears of it with the next frames.
    package mutating func open(_ opening: ByteBuffer) -> Result<UInt32, FastableError> {
        if let ended { return .failure(ended.error) }
        guard opening.readableBytes <= settings.messageBytes else { return .failure(tooLarge(opening)) }
        guard ownCount < settings.streamsPerOpener else {
            return .failure(
                FastableError(
                    .limit, "Too many requests are open on this link. Wait until some are finished.",
                    details: ["limit": .integer(Int64(settings.streamsPerOpener))], retryAfterSeconds: 1))
        }
        guard let id = nextStream else {
            return .failure(.linkDown("all stream ids of this link are used; it must be dialled again"))
        }
        let (following, overflow) = id.addingReportingOverflow(2)
        nextStream = overflow ? nil : following
        ownCount += 1
        var stream = MuxStreamState(id: id, isAnnounced: false, windowBytes: settings.windowBytes)
        // New streams enter the ring at its end, so openings leave in the order of their ids.
        stream.enqueue(.open(opening), ticket: nil)
        streams[id] = stream
        schedule(id)
        return .success(id)
    }

    /// Sends a message or data. With a ticket it may wait; without, it is taken only if it need not wait.
    package mutating func send(_ content: MuxContent, on id: UInt32, ticket: UInt64?) -> SendResult {
        if case .message(let bytes) = content, bytes.readableBytes > settings.messageBytes {
            return .failed(tooLarge(bytes))
        }
        let size = content.byteCount
        let hasRoom = committedBytes == 0 || committedBytes + size <= settings.sendBufferBytes
        let result = withStream(id) { $0.send(content, ticket: ticket, hasRoom: hasRoom) }
        if case .committed = result { committedBytes += size }
        schedule(id)
        return result ?? .failed(ended?.error ?? Self.notOpen)
    }

    /// Sends `end` behind everything that waits. A second call does nothing.
    package mutating func finish(_ id: UInt32) -> FastableError? {
        guard let stream = streams[id] else { return ended?.error ?? Self.notOpen }
        guard stream.localEnd == .open else { return nil }
        if let failure = stream.failure { return failure }
        _ = withStream(id) { stream in
            stream.localEnd = .queued
            stream.enqueue(.end, ticket: nil)
        }
        schedule(id)
        return nil
    }

    /// Ends both directions: what waits is dropped, the peer is told why.
    package mutating func reset(_ id: UInt32, _ error: FastableError) -> [MuxAction] {
        end(stream: id, error, dropsReceived: true)
    }

    mutating func end(stream id: UInt32, _ error: FastableError, dropsReceived: Bool) -> [MuxAction] {
        guard let stream = streams[id], stream.failure == nil, !stream.isReleased else { return [] }
        let isComplete = stream.localEnd == .sent && stream.remoteEnd
        let tickets = dropPending(id)
        _ = withStream(id) { stream in
            stream.failure = error
            if dropsReceived { stream.inbound.removeAll() }
            if stream.isAnnounced, !isComplete { stream.enqueue(.reset(MuxErrorText.encode(error)), ticket: nil) }
        }
        schedule(id)
        return tickets.map { .failSender(ticket: $0, error) } + [.wakeReader(stream: id)]
    }

    /// A waiting sender gives up.
    package mutating func cancelSend(on id: UInt32, ticket: UInt64) {
        _ = withStream(id) { $0.cancel(ticket: ticket) }
        schedule(id)
    }

    /// Reads the next event and gives its credit back.
    package mutating func take(_ id: UInt32) -> Taken {
        let windowBytes = settings.windowBytes
        let taken = withStream(id) { stream -> (Taken, Int?) in
            guard let event = stream.inbound.popFirst() else {
                if stream.endTaken { return (.finished, nil) }
                return (stream.failure.map { .failed($0) } ?? .empty, nil)
            }
            if case .end = event { stream.endTaken = true }
            return (.event(event), stream.consume(event.byteCount, windowBytes: windowBytes))
        }
        guard let (result, grant) = taken else { return .failed(ended?.error ?? Self.notOpen) }
        if let grant {
            // At most one grant per half window that the peer has sent: this queue cannot be flooded.
            control.append(Frame(type: .window, stream: id, payload: ByteBuffer(integer: UInt32(clamping: grant))))
        }
        return result
    }

    /// The program dropped its handle. An unfinished stream is reset; a finished one first sends what it owes.
    package mutating func release(_ id: UInt32) {
        guard let stream = streams[id], !stream.isReleased else { return }
        if stream.localEnd == .open, stream.failure == nil { _ = dropPending(id) }
        let mustTell = stream.failure == nil && stream.isAnnounced && (stream.localEnd == .open || !stream.remoteEnd)
        let mustTellAfterOpening = stream.failure == nil && !stream.isAnnounced && stream.localEnd != .open
        let isDone = withStream(id) { stream in
            stream.isReleased = true
            stream.inbound.removeAll()
            if mustTell || mustTellAfterOpening {
                stream.enqueue(.reset(ByteBuffer()), ticket: nil)
            }
            return stream.pending.isEmpty
        }
        if isDone == true || ended != nil { remove(id) } else { schedule(id) }
    }

    private mutating func dropPending(_ id: UInt32) -> [UInt64] {
        guard let dropped = withStream(id, { $0.dropPending() }) else { return [] }
        committedBytes -= dropped.committedBytes
        return dropped.tickets
    }

    private func tooLarge(_ bytes: ByteBuffer) -> FastableError {
        FastableError(
            .tooLarge, "The message has \(bytes.readableBytes) bytes; at most \(settings.messageBytes) are possible.",
            details: ["limit": .integer(Int64(settings.messageBytes))])
    }

    static var notOpen: FastableError { FastableError(.gone, "The stream is closed.") }
}
