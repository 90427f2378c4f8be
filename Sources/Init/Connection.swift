import CLinux

/// The node's connection: the newest one counts, and what it asks for.
extension Init {
    func acceptConnection() {
        let accepted = fastable_accept(Self.listener)
        guard accepted >= 0 else { return }
        disconnect()
        socket = accepted
        watched = FASTABLE_EVENT_READ
        if fastable_watch(files.epoll, socket, watched, Source.connection.tag()) != 0 { disconnect() }
    }

    func disconnect() {
        if socket >= 0 { _ = fastable_close(socket) }
        if passed >= 0 { _ = fastable_close(passed) }
        socket = -1
        passed = -1
        greeted = false
        blocked = false
        inbox.clear()
        outbox.clear()
        replies.clear()
    }

    func handleConnection(_ events: UInt32) {
        if events & FASTABLE_EVENT_WRITE != 0 { blocked = false }
        if events & FASTABLE_EVENT_READ != 0 {
            receive()
        } else if events & FASTABLE_EVENT_HANGUP != 0 {
            disconnect()
        }
    }

    private func receive() {
        guard socket >= 0 else { return }
        var received: CInt = -1
        let count = inbox.receive(from: socket, passed: &received)
        if received >= 0 {
            if passed >= 0 || greeted { _ = fastable_close(received) } else { passed = received }
        }
        guard count > 0 || count == Int(FASTABLE_AGAIN) else { return disconnect() }
        handleFrames()
    }

    /// Handles whole frames as long as their answers have room.
    func handleFrames() {
        while socket >= 0, replies.hasRoom {
            switch inbox.next() {
            case .incomplete: return
            case .broken: return disconnect()
            case .frame(let header, let payload):
                // Strings are terminated in place, and that of the last one lies in the next frame.
                let behind = payload.load(fromByteOffset: header.length, as: UInt8.self)
                let understood = handle(header, PayloadReader(payload, header.length))
                guard understood else { return disconnect() }
                payload.storeBytes(of: behind, toByteOffset: header.length, as: UInt8.self)
                inbox.drop(header)
            }
        }
    }

    private func handle(_ header: FrameHeader, _ payload: PayloadReader) -> Bool {
        var payload = payload
        guard greeted else {
            return header.type == FASTABLE_FRAME_MESSAGE && payload.byte() == FASTABLE_MESSAGE_HELLO && greet(&payload)
        }
        switch header.type {
        case FASTABLE_FRAME_OPEN:
            return start(header.stream, payload)
        case FASTABLE_FRAME_MESSAGE:
            return handleMessage(header.stream, &payload)
        case FASTABLE_FRAME_WINDOW:
            guard let offset = payload.integer64() else { return false }
            stored(header.stream, header.channel, offset)
        case FASTABLE_FRAME_DATA:
            return header.channel == 0 && input(header.stream, &payload)
        case FASTABLE_FRAME_END:
            guard header.channel == 0, let offset = payload.integer64() else { return false }
            return finishInput(header.stream, at: offset)
        case FASTABLE_FRAME_PING:
            guard let value = payload.integer64() else { return false }
            replies.add(.pong(value))
        default:
            return false
        }
        return true
    }

    private func handleMessage(_ stream: UInt32, _ payload: inout PayloadReader) -> Bool {
        switch payload.byte() {
        case FASTABLE_MESSAGE_KILL:
            guard let receipt = payload.integer32(), let signal = payload.integer32() else { return false }
            kill(stream, receipt: receipt, signal: signal)
        case FASTABLE_MESSAGE_RELEASE:
            release(stream)
        case FASTABLE_MESSAGE_RESIZE:
            guard let size = payload.integer32() else { return false }
            resize(stream, rows: UInt16(truncatingIfNeeded: size >> 16), columns: UInt16(truncatingIfNeeded: size))
        case FASTABLE_MESSAGE_NOTE:
            guard let note = payload.integer32() else { return false }
            if let slot = execs.slot(number: stream) { execs[slot].pointee.note = note }
        default:
            return false
        }
        return true
    }

    /// The node has stored the bytes of a stream up to here: their room is free again.
    private func stored(_ number: UInt32, _ channel: UInt8, _ offset: UInt64) {
        guard let slot = execs.slot(number: number), channel == 1 || channel == 2 else { return }
        let exec = execs[slot]
        (channel == 1 ? exec.pointee.output : exec.pointee.error).pointee.store(upTo: offset)
        resume(slot)
    }

    /// The first message: takes the cgroup directory and tells everything that init holds.
    private func greet(_ payload: inout PayloadReader) -> Bool {
        guard payload.integer32() == FASTABLE_INIT_VERSION else { return false }
        let checked = passed < 0 ? -9 : fastable_cgroup_check(passed)
        if checked == 0 {
            if cgroup >= 0 { _ = fastable_close(cgroup) }
            cgroup = passed
            passed = -1
            sweep()
        }
        greeted = true
        outbox.message(FASTABLE_MESSAGE_WELCOME, stream: 0, length: 12)
        outbox.put(FASTABLE_INIT_VERSION)
        outbox.put(UInt32(max(0, 0 &- checked)))
        outbox.put(UInt32(truncatingIfNeeded: execs.count))
        for slot in 0..<execs.end where execs[slot].pointee.isUsed {
            execs[slot].pointee.rewind()
            tellHeld(slot)
        }
        return true
    }

    private func tellHeld(_ slot: Int) {
        let exec = execs[slot].pointee
        let token = execs.token(of: slot)
        let phase =
            switch exec.phase {
            case .free, .failed: FASTABLE_PHASE_FAILED
            case .running: FASTABLE_PHASE_RUNNING
            case .exited: FASTABLE_PHASE_EXITED
            }
        outbox.message(FASTABLE_MESSAGE_HELD, stream: exec.number, length: 1 + 4 * 8 + 1 + 4 + 4 + token.count)
        outbox.put(phase)
        outbox.put(exec.output.pointee.stored)
        outbox.put(exec.error.pointee.stored)
        outbox.put(exec.input.pointee.taken)
        outbox.put(exec.input.pointee.passed)
        outbox.put(UInt8(exec.input.pointee.isOpen ? 1 : 0))
        outbox.put(exec.note)
        outbox.put(UInt32(truncatingIfNeeded: token.count))
        outbox.put(token)
    }
}
