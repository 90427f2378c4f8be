import FastableCore
import NIOCore

// What goes out, one frame at a time, and the clock.

extension MuxStateMachine {
    package struct Output: Sendable {
        package let frame: Frame
        /// The waiting sender whose content has now gone out to the last byte.
        package let finishedTicket: UInt64?
    }

    /// Whether `nextFrame` has something. It may be wrong in one direction: `true` and then nothing.
    package var hasOutput: Bool { !control.isEmpty || !ring.isEmpty }

    /// The next frame for the network. Call it only when the network has room.
    package mutating func nextFrame() -> Output? {
        if let frame = control.popFirst() { return Output(frame: frame, finishedTicket: nil) }
        let chunkBytes = settings.chunkBytes
        while let id = ring.popFirst() {
            let turn = withStream(id) { stream -> (piece: MuxStreamState.Piece?, stays: Bool, isDone: Bool) in
                let piece = stream.nextPiece(chunkBytes: chunkBytes)
                stream.isInRing = stream.canSend
                return (piece, stream.isInRing, stream.isReleased && stream.pending.isEmpty)
            }
            guard let turn else { continue }
            if turn.stays { ring.append(id) }
            if turn.isDone { remove(id) }
            guard let piece = turn.piece else { continue }
            committedBytes -= piece.committedBytes
            return Output(frame: piece.frame, finishedTicket: piece.finishedTicket)
        }
        return nil
    }

    /// Something arrived that is not yet a whole frame: the peer lives.
    package mutating func heard(now: Instant) {
        lastHeard = max(lastHeard, now)
    }

    /// The clock: pings a silent link, ends a dead one. Gives the moment of the next call.
    package mutating func tick(now: Instant) -> (actions: [MuxAction], next: Instant) {
        guard ended == nil else { return ([], now + settings.silence) }
        // A process that was stopped for a while did not listen either: the peer's silence does not count for that time.
        if now - nextTick > settings.pingInterval { lastHeard = min(now, lastHeard + (now - nextTick)) }
        if now - lastHeard >= settings.silence {
            let lost = FastableError.linkDown("the other end was silent for \(settings.silence)")
            return (end(.broken(lost), goaway: FastableError(.timeout, "You were silent for too long.")), now)
        }
        var actions: [MuxAction] = []
        let quietSince = max(lastHeard, lastPing ?? lastHeard)
        if now - quietSince >= settings.pingInterval {
            pingCount &+= 1
            lastPing = now
            actions = enqueueControl(Frame(type: .ping, payload: ByteBuffer(integer: pingCount)))
        }
        let nextPing = max(lastHeard, lastPing ?? lastHeard) + settings.pingInterval
        nextTick = max(now, min(nextPing, lastHeard + settings.silence))
        return (actions, nextTick)
    }
}
