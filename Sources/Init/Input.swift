import CLinux

/// What a command is given to read, and the size of its terminal.
extension Init {
    /// Bytes for a command. `false` when they break the protocol; those for a command that has ended are dropped.
    func input(_ number: UInt32, _ payload: inout PayloadReader) -> Bool {
        guard let offset = payload.integer64() else { return false }
        guard let slot = execs.slot(number: number) else { return true }
        guard execs[slot].pointee.input.pointee.take(payload.rest(), at: offset) else { return false }
        watchInput(slot)
        return true
    }

    func finishInput(_ number: UInt32, at offset: UInt64) -> Bool {
        guard let slot = execs.slot(number: number) else { return true }
        guard execs[slot].pointee.input.pointee.finish(at: offset) else { return false }
        watchInput(slot)
        return true
    }

    /// The command reads again.
    func passInput(_ slot: Int) {
        let input = execs[slot].pointee.input
        guard input.pointee.isOpen else { return }
        _ = fastable_unwatch(files.epoll, input.pointee.pipe)
        input.pointee.isWatched = false
        input.pointee.flush()
        watchInput(slot)
    }

    private func watchInput(_ slot: Int) {
        let input = execs[slot].pointee.input
        guard input.pointee.isOpen, input.pointee.isBlocked, !input.pointee.isWatched else { return }
        let tag = Source.input.tag(slot: slot, number: execs[slot].pointee.number)
        input.pointee.isWatched = fastable_watch(files.epoll, input.pointee.pipe, FASTABLE_EVENT_WRITE, tag) == 0
        if !input.pointee.isWatched { retrySoon() }
    }

    /// What could not be watched for lack of memory is tried again.
    func resumeInput(_ slot: Int) {
        let input = execs[slot].pointee.input
        guard input.pointee.isBlocked, !input.pointee.isWatched else { return }
        input.pointee.flush()
        watchInput(slot)
    }

    func resize(_ number: UInt32, rows: UInt16, columns: UInt16) {
        guard let slot = execs.slot(number: number) else { return }
        let output = execs[slot].pointee.output.pointee
        guard output.isTerminal, !output.ended else { return }
        _ = fastable_terminal_resize(output.pipe, rows, columns)
    }
}
