import CLinux

/// What happens to commands: starting, reading what they print, killing, forgetting.
extension Init {
    private static let busy: UInt32 = 16
    private static let noProcess: UInt32 = 3
    private static let badDescriptor: CInt = 9
    private static let noEntry: CInt = 2
    private static let noDevice: CInt = 19
    private static let hangUp: UInt32 = 1

    /// Starts the command of a request. `false` when the request itself is malformed.
    func start(_ number: UInt32, _ payload: PayloadReader) -> Bool {
        guard let request = launcher.read(payload) else { return false }
        guard request.flags & ~(FASTABLE_OPEN_INPUT | FASTABLE_OPEN_TERMINAL | FASTABLE_OPEN_GROUPS) == 0 else {
            return refuse(number, FASTABLE_REFUSED_FLAGS)
        }
        guard execs.slot(number: number) == nil else { return refuse(number, FASTABLE_REFUSED_DUPLICATE) }
        guard let slot = execs.claim(number: number, token: request.token) else {
            return refuse(number, FASTABLE_REFUSED_LIMIT)
        }
        let exec = execs[slot]
        exec.pointee.startedRealtime = fastable_realtime()
        exec.pointee.startedMonotonic = fastable_monotonic()
        let failure = execs.failure(of: slot)
        switch launcher.launch(request, number: number, cgroup: cgroup, files: files, failure: failure) {
        case .failed(let stage, let errno):
            exec.pointee.fail(stage: stage, errno: errno)
        case .started(let pid, let ours):
            exec.pointee.phase = .running
            exec.pointee.pid = pid
            if request.timeoutMilliseconds > 0 {
                let length = UInt64(request.timeoutMilliseconds) * 1_000_000
                exec.pointee.deadline = exec.pointee.startedMonotonic &+ length
            }
            let (epoll, isTerminal) = (files.epoll, request.hasTerminal)
            exec.pointee.input.pointee = InputStream(pipe: ours.input, isTerminal: isTerminal, watchedBy: epoll)
            exec.pointee.output.pointee = OutputStream(pipe: ours.output, isTerminal: isTerminal, watchedBy: epoll)
            exec.pointee.error.pointee = OutputStream(pipe: ours.error, isTerminal: false, watchedBy: epoll)
            watch(slot, .output, exec.pointee.output)
            if ours.error >= 0 { watch(slot, .error, exec.pointee.error) }
        }
        return true
    }

    /// The process of a command has ended.
    func ended(_ slot: Int, bySignal: Bool, value: CInt) {
        let exec = execs[slot]
        let failure = execs.failure(of: slot).pointee
        if failure.stage == 0 {
            exec.pointee.end(bySignal: bySignal, value: value, at: fastable_monotonic())
            resume(slot)
        } else {
            exec.pointee.fail(stage: failure.stage, errno: CInt(failure.number))
            _ = fastable_cgroup_remove(cgroup, exec.pointee.number)
        }
    }

    private func refuse(_ number: UInt32, _ reason: UInt8) -> Bool {
        replies.add(.refused(stream: number, reason: reason))
        return true
    }

    private func watch(_ slot: Int, _ source: Source, _ stream: UnsafeMutablePointer<OutputStream>) {
        let tag = source.tag(slot: slot, number: execs[slot].pointee.number)
        stream.pointee.paused = fastable_watch(files.epoll, stream.pointee.pipe, FASTABLE_EVENT_READ, tag) != 0
        if stream.pointee.paused { retrySoon() }
    }

    /// A pipe has something to say.
    func fill(_ slot: Int, _ source: Source, _ stream: UnsafeMutablePointer<OutputStream>, _ events: UInt32) {
        guard !stream.pointee.ended, !stream.pointee.paused else { return }
        // Without bytes a hang-up is the end: most commands print nothing on stderr, and need no memory for it.
        guard events & FASTABLE_EVENT_READ != 0 else { return stream.pointee.close() }
        switch stream.pointee.fill() {
        case .ended: return
        case .some: if stream.pointee.room > 0 { return }
        case .full: break
        case .starved: retrySoon()
        }
        _ = fastable_unwatch(files.epoll, stream.pointee.pipe)
        stream.pointee.paused = true
    }

    /// Reads on where there is room again.
    func resume(_ slot: Int) {
        let exec = execs[slot]
        guard exec.pointee.isUsed else { return }
        resume(slot, .output, exec.pointee.output)
        resume(slot, .error, exec.pointee.error)
    }

    private func resume(_ slot: Int, _ source: Source, _ stream: UnsafeMutablePointer<OutputStream>) {
        guard stream.pointee.paused, !stream.pointee.ended, stream.pointee.room > 0 else { return }
        watch(slot, source, stream)
    }

    /// Ends everything in an exec's cgroup; answers a negative errno when that is not possible.
    func killTree(_ slot: Int) -> CInt {
        cgroup < 0 ? -Self.badDescriptor : fastable_cgroup_kill(cgroup, execs[slot].pointee.number)
    }

    /// Watches for the end of the last process; `true` when none is left already.
    func watchForEmpty(_ slot: Int) -> Bool {
        execs[slot].pointee.awaitsEmpty = true
        watchEmpty(slot)
        return !execs[slot].pointee.awaitsEmpty
    }

    /// Looks whether processes are left, and watches for the end of the last one. Want of memory or files says nothing
    /// about processes: what failed for that is tried again soon.
    func watchEmpty(_ slot: Int) {
        let exec = execs[slot]
        guard exec.pointee.awaitsEmpty else { return }
        if exec.pointee.emptyWatch < 0 {
            let events = fastable_cgroup_open_events(cgroup, exec.pointee.number)
            if Self.isGone(events) { return emptied(slot) }
            guard events >= 0 else { return retrySoon() }
            exec.pointee.emptyWatch = events
        }
        if !exec.pointee.isEmptyWatched {
            let tag = Source.empty.tag(slot: slot, number: exec.pointee.number)
            let result = fastable_watch(files.epoll, exec.pointee.emptyWatch, FASTABLE_EVENT_PRIORITY, tag)
            exec.pointee.isEmptyWatched = result == 0
            if result != 0 { retrySoon() }
        }
        checkEmpty(slot)
    }

    func checkEmpty(_ slot: Int) {
        let exec = execs[slot]
        guard exec.pointee.emptyWatch >= 0 else { return }
        let populated = fastable_cgroup_populated(exec.pointee.emptyWatch)
        if populated == 0 || Self.isGone(populated) { return emptied(slot) }
        guard populated < 0 else { return }
        // Watched on, it would wake the loop without end.
        exec.pointee.closeEmptyWatch()
        retrySoon()
    }

    /// The group itself is no more, and with it all that was in it.
    private static func isGone(_ result: CInt) -> Bool { result == 0 &- noEntry || result == 0 &- noDevice }

    private func emptied(_ slot: Int) {
        let exec = execs[slot]
        exec.pointee.stopWatchingForEmpty()
        // Everything has ended before its second deadline.
        if exec.pointee.timedOut { exec.pointee.deadline = .max }
    }

    func kill(_ number: UInt32, receipt: UInt32, signal: UInt32) {
        let one = signal & ~FASTABLE_KILL_EVERYONE
        let error: UInt32?
        if one != signal, one != 9, (1...64).contains(one) {
            error = Self.errno(signalEveryone(number, CInt(one)))
        } else {
            error = execs.slot(number: number).map { kill(slot: $0, receipt, one) } ?? Self.noProcess
        }
        if let error { replies.add(.receipt(stream: number, number: receipt, error: error)) }
    }

    /// The errno for the receipt, or `nil` when the receipt has to wait.
    private func kill(slot: Int, _ receipt: UInt32, _ signal: UInt32) -> UInt32? {
        let exec = execs[slot]
        guard signal == 9 else {
            guard exec.pointee.phase == .running, (1...64).contains(signal) else { return Self.noProcess }
            guard signal == Self.hangUp, exec.pointee.output.pointee.isTerminal else {
                return Self.errno(signalGroup(slot, CInt(signal)))
            }
            // The leader is told, which passes it on to all its jobs, and then whoever is in the foreground. The other way round a
            // shell would go on with its next command before it hears of it.
            let result = fastable_signal_group(exec.pointee.pid, CInt(signal))
            _ = signalGroup(slot, CInt(signal))
            return Self.errno(result)
        }
        guard exec.pointee.phase != .failed else { return Self.noProcess }
        let killed = killTree(slot)
        guard killed == 0 else { return Self.errno(killed) }
        if watchForEmpty(slot) { return 0 }
        return exec.pointee.await(receipt: receipt) ? nil : Self.busy
    }

    /// Signals the group in the terminal's foreground, or the group of the command.
    func signalGroup(_ slot: Int, _ signal: CInt) -> CInt {
        let exec = execs[slot]
        let output = exec.pointee.output.pointee
        if output.isTerminal, !output.ended, fastable_terminal_signal(output.pipe, signal) == 0 { return 0 }
        return fastable_signal_group(exec.pointee.pid, signal)
    }

    /// Signals every process of a command, wherever it went; its group alone where its cgroup cannot be read.
    func signalEveryone(_ number: UInt32, _ signal: CInt) -> CInt {
        if cgroup >= 0, fastable_cgroup_signal(cgroup, number, signal) > 0 { return 0 }
        guard let slot = execs.slot(number: number), execs[slot].pointee.phase == .running else {
            return -CInt(Self.noProcess)
        }
        return signalGroup(slot, signal)
    }

    private static func errno(_ result: CInt) -> UInt32 { UInt32(max(0, 0 &- result)) }

    /// Forgets a command that has ended. Its cgroup goes now, or when its last process is gone.
    func release(_ number: UInt32) {
        guard let slot = execs.slot(number: number), execs[slot].pointee.hasEnded else { return }
        while let receipt = execs[slot].pointee.takeReceipt() {
            replies.add(.receipt(stream: number, number: receipt, error: Self.noProcess))
        }
        if execs[slot].pointee.phase == .exited, fastable_cgroup_remove(cgroup, number) != 0 { hasLeftovers = true }
        execs.free(slot)
    }

    /// Removes the cgroups of released commands whose background processes have ended.
    func sweep() {
        hasLeftovers = false
        guard cgroup >= 0 else { return }
        for number in launcher.cgroups(in: cgroup) where execs.slot(number: number) == nil {
            if fastable_cgroup_remove(cgroup, number) != 0 { hasLeftovers = true }
        }
    }
}
