import CLinux

/// Process 1 of a container: starts commands, keeps their output until the node has stored it, collects what ends.
///
/// One thread, one loop. State is changed by events; what the node must be told follows from the state (`Reports`), so a
/// slow or lost connection costs nothing but time.
final class Init {
    static let listener: CInt = 3

    /// What a watched file is. The tag of an exec's file also carries its slot and its number: an event that was found
    /// before the slot changed hands must not reach the new owner.
    enum Source: UInt64 {
        case listener, signals, connection, input, output, error, empty

        func tag(slot: Int = 0, number: UInt32 = 0) -> UInt64 {
            rawValue << 48 | UInt64(UInt16(truncatingIfNeeded: slot)) << 32 | UInt64(number)
        }
    }

    let files: fastable_init_files
    var execs: ExecTable
    var inbox: Inbox
    var outbox: Outbox
    var replies: Replies
    var launcher: Launcher
    /// The container's cgroup directory, from the node's greeting; -1 before.
    var cgroup: CInt = -1
    /// The connection to the node; -1 when there is none.
    var socket: CInt = -1
    /// The node has said hello on this connection.
    var greeted = false
    /// Directory that came with the connection and belongs to its hello.
    var passed: CInt = -1
    var watched: UInt32 = 0
    /// The socket is full; the next writable event changes that.
    var blocked = false
    /// The exec whose turn it is to be told about first.
    var turn = 0
    /// More children may have ended than were collected at once.
    var reapAgain = false
    /// Cgroups of released execs may still exist.
    var hasLeftovers = false
    /// When to try again what failed for lack of memory or for processes that were still there; monotonic nanoseconds.
    var retryAt: UInt64 = .max

    private let events: UnsafeMutablePointer<fastable_event>
    private static let eventCapacity = 64

    /// `nil` when there is no memory or no listening socket.
    init?() {
        var files = fastable_init_files()
        guard fastable_init_prepare(&files) == 0 else { return nil }
        guard let execs = ExecTable(), let inbox = Inbox(), let outbox = Outbox(), let replies = Replies(),
            let launcher = Launcher(),
            let memory = fastable_map(Self.eventCapacity * MemoryLayout<fastable_event>.stride)
        else { return nil }
        self.files = files
        self.execs = execs
        self.inbox = inbox
        self.outbox = outbox
        self.replies = replies
        self.launcher = launcher
        events = memory.bindMemory(to: fastable_event.self, capacity: Self.eventCapacity)
        guard fastable_watch(files.epoll, Self.listener, FASTABLE_EVENT_READ, Source.listener.tag()) == 0,
            fastable_watch(files.epoll, files.signals, FASTABLE_EVENT_READ, Source.signals.tag()) == 0
        else { return nil }
    }

    func run() -> Never {
        while true { step() }
    }

    /// One turn of the loop.
    func step() {
        let count = fastable_wait(files.epoll, events, CInt(Self.eventCapacity), timeout())
        for index in 0..<max(0, Int(count)) { handle(events[index]) }
        if reapAgain { reap() }
        let now = fastable_monotonic()
        endOverdue(now)
        if retryAt <= now { retry() }
        talk()
    }

    /// Milliseconds until something is due without an event, rounded up.
    private func timeout() -> CInt {
        if reapAgain { return 0 }
        var next = retryAt
        for slot in 0..<execs.end { next = min(next, execs[slot].pointee.deadline) }
        guard next != .max else { return -1 }
        let now = fastable_monotonic()
        return next <= now ? 0 : CInt(truncatingIfNeeded: min((next - now) / 1_000_000 + 1, 60_000))
    }

    private func handle(_ event: fastable_event) {
        switch Source(rawValue: event.tag >> 48) {
        case .listener: acceptConnection()
        case .signals: takeSignals()
        case .connection: handleConnection(event.events)
        case .input: if let slot = owner(of: event) { passInput(slot) }
        case .output: if let slot = owner(of: event) { fill(slot, .output, execs[slot].pointee.output, event.events) }
        case .error: if let slot = owner(of: event) { fill(slot, .error, execs[slot].pointee.error, event.events) }
        case .empty: if let slot = owner(of: event) { checkEmpty(slot) }
        case nil: break
        }
    }

    private func owner(of event: fastable_event) -> Int? {
        let slot = Int((event.tag >> 32) & 0xffff)
        guard slot < execs.end, execs[slot].pointee.isUsed else { return nil }
        return execs[slot].pointee.number == UInt32(truncatingIfNeeded: event.tag) ? slot : nil
    }

    private func takeSignals() {
        let taken = fastable_signals_take(files.signals)
        if taken & FASTABLE_SIGNAL_STOP != 0 {
            for slot in 0..<execs.end where execs[slot].pointee.isUsed { _ = killTree(slot) }
            fastable_exit(0)
        }
        if taken & FASTABLE_SIGNAL_CHILD != 0 { reapAgain = true }
    }

    /// Collects ended children: commands, and orphans that became ours. A flood of them does not stop the loop.
    private func reap() {
        reapAgain = false
        for _ in 0..<256 {
            var bySignal: CInt = 0
            var value: CInt = 0
            let pid = fastable_reap(&bySignal, &value)
            guard pid > 0 else { return }
            if let slot = execs.slot(pid: pid) {
                ended(slot, bySignal: bySignal != 0, value: value)
            } else if hasLeftovers {
                retrySoon()
            }
        }
        reapAgain = true
    }

    private func endOverdue(_ now: UInt64) {
        for slot in 0..<execs.end where execs[slot].pointee.deadline <= now {
            guard execs[slot].pointee.timedOut else {
                askToEnd(slot, now)
                continue
            }
            if killTree(slot) == 0 {
                execs[slot].pointee.deadline = .max
                _ = watchForEmpty(slot)
            } else {
                execs[slot].pointee.deadline = now &+ 1_000_000_000
            }
        }
    }

    /// The first deadline asks, the second one ends. The exit is told when no process is left.
    private func askToEnd(_ slot: Int, _ now: UInt64) {
        let exec = execs[slot]
        exec.pointee.timedOut = true
        exec.pointee.deadline = now &+ UInt64(FASTABLE_INIT_GRACE_MILLISECONDS) * 1_000_000
        _ = signalEveryone(exec.pointee.number, Self.terminate)
        _ = watchForEmpty(slot)
    }

    private static let terminate: CInt = 15

    func retrySoon() { retryAt = min(retryAt, fastable_monotonic() &+ 200_000_000) }

    private func retry() {
        retryAt = .max
        for slot in 0..<execs.end where execs[slot].pointee.isUsed {
            resume(slot)
            resumeInput(slot)
            watchEmpty(slot)
        }
        if hasLeftovers { sweep() }
    }
}
