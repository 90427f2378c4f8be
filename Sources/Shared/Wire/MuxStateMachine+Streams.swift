import FastableCore
import NIOCore

// Frames of the peer that belong to a stream.

extension MuxStateMachine {
    mutating func receiveOpen(_ frame: Frame) -> [MuxAction] {
        let id = frame.stream
        guard id != 0, !role.owns(id) else { return violation("stream \(id) is not the other end's to open") }
        guard id > lastPeerStream else { return violation("stream \(id) was opened out of order") }
        guard frame.payload.readableBytes <= settings.messageBytes else { return violation("an oversize opening") }
        lastPeerStream = id
        guard peerCount < settings.streamsPerOpener else {
            recent.insert(id)
            let error = FastableError(
                .limit, "Too many streams are open on this link. Wait until some are finished.",
                details: ["limit": .integer(Int64(settings.streamsPerOpener))], retryAfterSeconds: 1)
            return enqueueControl(Frame(type: .reset, stream: id, payload: MuxErrorText.encode(error)))
        }
        peerCount += 1
        streams[id] = MuxStreamState(id: id, isAnnounced: true, windowBytes: settings.windowBytes)
        return [.accept(stream: id, opening: frame.payload)]
    }

    mutating func receiveContent(_ frame: Frame, _ event: MuxStream.Event) -> [MuxAction] {
        let settings = settings
        let size = frame.payload.readableBytes
        let receipt = withStream(frame.stream) { $0.receive(event, byteCount: size, settings: settings) }
        return follow(receipt, frame)
    }

    mutating func receiveEnd(_ frame: Frame) -> [MuxAction] {
        guard frame.payload.readableBytes == 0 else { return violation("an end with a payload") }
        return follow(withStream(frame.stream) { $0.receiveEnd() }, frame)
    }

    private mutating func follow(_ receipt: MuxStreamState.Receipt?, _ frame: Frame) -> [MuxAction] {
        switch receipt {
        case .none: unknownStream(frame)
        case .queued: [.wakeReader(stream: frame.stream)]
        case .ignored: []
        case .violation(let what): violation(what)
        // An honest peer gets here too, with a command that prints single bytes: it costs nobody else the link.
        case .overflow: end(stream: frame.stream, Self.readerTooSlow, dropsReceived: false)
        }
    }

    private static var readerTooSlow: FastableError {
        FastableError(
            .unavailable, "Too many small pieces wait for their reader. Go on from the last byte that you have.",
            retryAfterSeconds: 1)
    }

    /// The stream is not in the table: its last frames may still have been on their way when it was closed.
    private mutating func unknownStream(_ frame: Frame) -> [MuxAction] {
        recent.contains(frame.stream)
            ? [] : violation("frame type \(frame.type.rawValue) for unknown stream \(frame.stream)")
    }

    mutating func receiveWindow(_ frame: Frame) -> [MuxAction] {
        guard frame.payload.readableBytes == 4,
            let credit = frame.payload.getInteger(at: frame.payload.readerIndex, as: UInt32.self), credit > 0
        else { return violation("malformed credit") }
        let fits = withStream(frame.stream) { stream in
            guard stream.sendCredit + Int(credit) <= Int(Int32.max) else { return false }
            stream.sendCredit += Int(credit)
            return true
        }
        switch fits {
        case .none: return unknownStream(frame)
        case .some(false): return violation("credit overflow on stream \(frame.stream)")
        case .some(true):
            schedule(frame.stream)
            return []
        }
    }

    mutating func receiveReset(_ frame: Frame) -> [MuxAction] {
        let error = MuxErrorText.decode(frame.payload)
        let dropped = withStream(frame.stream) { stream -> (committedBytes: Int, tickets: [UInt64]) in
            // After its end the peer's side is complete: a late reset only says that it reads no more.
            if !stream.remoteEnd { stream.inbound.removeAll() }
            if stream.failure == nil { stream.failure = error }
            return stream.dropPending()
        }
        guard let dropped else { return unknownStream(frame) }
        committedBytes -= dropped.committedBytes
        guard streams[frame.stream]?.isReleased == false else {
            remove(frame.stream)
            return []
        }
        return dropped.tickets.map { .failSender(ticket: $0, error) } + [.wakeReader(stream: frame.stream)]
    }

    /// Puts the stream into the ring when it has something to send and credit for it.
    mutating func schedule(_ id: UInt32) {
        let enters = withStream(id) { stream in
            guard !stream.isInRing, stream.canSend else { return false }
            stream.isInRing = true
            return true
        }
        if enters == true { ring.append(id) }
    }
}
