import CLinux

/// What the node is told. It follows from the state of the execs, so nothing piles up while the node is slow or away.
extension Init {
    /// Bytes of one data frame at most, and below which they are copied instead of sent from the ring.
    private static let chunk = 64 * 1024
    private static let copied = 4 * 1024
    /// Room for everything short that one exec may have to say at once.
    private static let shortRoom = 512

    /// Says what is to be said until the socket is full, and watches it accordingly.
    func talk() {
        while socket >= 0, greeted, !blocked, flush(), tell() { handleFrames() }
        guard socket >= 0 else { return }
        // While answers wait for room, new requests wait in the socket.
        var wanted = replies.hasRoom ? FASTABLE_EVENT_READ : 0
        if !outbox.isEmpty { wanted |= FASTABLE_EVENT_WRITE }
        guard wanted != watched else { return }
        watched = wanted
        if fastable_rewatch(files.epoll, socket, wanted, Source.connection.tag()) != 0 { disconnect() }
    }

    /// Empties the outbox; `false` when the socket does not take all of it.
    private func flush() -> Bool {
        let nothing = UnsafeRawBufferPointer(start: nil, count: 0)
        if !outbox.isEmpty { send(nothing, nothing) }
        return socket >= 0 && !blocked
    }

    private func send(_ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer) {
        guard outbox.send(to: socket, first, second) else { return disconnect() }
        blocked = !outbox.isEmpty
    }

    /// One round: the short answers, and a piece of every exec. `false` when there was nothing.
    private func tell() -> Bool {
        var told = false
        while outbox.room >= Self.shortRoom, let reply = replies.take() {
            tell(reply)
            told = true
        }
        let first = turn < execs.end ? turn : 0
        for step in 0..<execs.end {
            let slot = (first + step) % execs.end
            guard execs[slot].pointee.isUsed else { continue }
            if tell(slot) { told = true }
            turn = slot + 1
            guard socket >= 0, !blocked, outbox.room >= Self.chunk + Self.shortRoom else { break }
        }
        return told
    }

    private func tell(_ reply: Replies.Reply) {
        switch reply {
        case .pong(let value):
            outbox.frame(FASTABLE_FRAME_PONG, stream: 0, length: 8)
            outbox.put(value)
        case .refused(let stream, let reason):
            outbox.message(FASTABLE_MESSAGE_REFUSED, stream: stream, length: 1)
            outbox.put(reason)
        case .receipt(let stream, let number, let error):
            outbox.message(FASTABLE_MESSAGE_RECEIPT, stream: stream, length: 8)
            outbox.put(number)
            outbox.put(error)
        }
    }

    private func tell(_ slot: Int) -> Bool {
        let exec = execs[slot]
        var told = false
        if !exec.pointee.awaitsEmpty {
            while let receipt = exec.pointee.takeReceipt() {
                tell(.receipt(stream: exec.pointee.number, number: receipt, error: 0))
                told = true
            }
        }
        if let passed = exec.pointee.input.pointee.report() {
            outbox.frame(FASTABLE_FRAME_WINDOW, stream: exec.pointee.number, length: 8)
            outbox.put(passed)
            told = true
        }
        if tellBytes(slot, 1, exec.pointee.output) { told = true }
        guard socket >= 0, !blocked else { return told }
        if tellBytes(slot, 2, exec.pointee.error) { told = true }
        guard socket >= 0, !blocked else { return told }
        return tellEnd(slot) || told
    }

    private func tellBytes(_ slot: Int, _ channel: UInt8, _ stream: UnsafeMutablePointer<OutputStream>) -> Bool {
        let length = min(stream.pointee.unsent, Self.chunk, outbox.room - Self.shortRoom)
        guard length > 0 else { return false }
        let number = execs[slot].pointee.number
        outbox.frame(FASTABLE_FRAME_DATA, channel: channel, stream: number, length: length + 8)
        outbox.put(stream.pointee.sent)
        let (first, second) = stream.pointee.next(atMost: length)
        if length <= Self.copied {
            outbox.put(first)
            outbox.put(second)
        } else {
            send(first, second)
        }
        return true
    }

    /// Ends of streams and of the command. The end of a stream waits for that of the command: nobody needs it before,
    /// and most commands then cost one message.
    private func tellEnd(_ slot: Int) -> Bool {
        let exec = execs[slot]
        if exec.pointee.phase == .failed, !exec.pointee.reported {
            exec.pointee.reported = true
            outbox.message(FASTABLE_MESSAGE_FAILED, stream: exec.pointee.number, length: 5)
            outbox.put(exec.pointee.failedStage)
            outbox.put(UInt32(truncatingIfNeeded: exec.pointee.failedErrno))
            return true
        }
        guard exec.pointee.phase == .exited else { return false }
        var told = tellEnd(exec.pointee.number, 1, exec.pointee.output)
        if tellEnd(exec.pointee.number, 2, exec.pointee.error) { told = true }
        guard exec.pointee.exitIsDue else { return told }
        tellExit(exec.pointee)
        exec.pointee.reported = true
        exec.pointee.output.pointee.exitReported = true
        exec.pointee.error.pointee.exitReported = true
        resume(slot)
        return true
    }

    private func tellEnd(_ number: UInt32, _ channel: UInt8, _ stream: UnsafeMutablePointer<OutputStream>) -> Bool {
        guard stream.pointee.ended, stream.pointee.unsent == 0, !stream.pointee.endSent else { return false }
        stream.pointee.endSent = true
        outbox.frame(FASTABLE_FRAME_END, channel: channel, stream: number, length: 0)
        return true
    }

    private func tellExit(_ exec: Exec) {
        outbox.message(FASTABLE_MESSAGE_EXITED, stream: exec.number, length: 1 + 4 + 1 + 4 * 8)
        outbox.put(UInt8(exec.endedBySignal ? 1 : 0))
        outbox.put(UInt32(truncatingIfNeeded: exec.endValue))
        outbox.put(UInt8(exec.timedOut ? 1 : 0))
        outbox.put(exec.startedRealtime)
        outbox.put(exec.duration)
        outbox.put(exec.output.pointee.exitTotal)
        outbox.put(exec.error.pointee.exitTotal)
    }
}
