import FastableCore
import FoundationEssentials
import NodeLinux
import Synchronization

/// What works in a project's container, told and asked from any thread: commands and file calls do not wait for the sandbox.
///
/// Who begins to work tells it here first, and looks then whether the container sleeps, to wake it. Who suspends it says so here
/// first and looks then whether something works. So one of the two sees the other.
package final class ProjectActivity: Sendable {
    package typealias Instant = ContinuousClock.Instant
    typealias Desired = LifecycleReconciler.Desired
    typealias Phase = LifecycleReconciler.Phase

    private struct State {
        var idle: IdleClock
        var desired: Desired
        var phase = Phase.other
        var isAsleep = false
        var wantsReclaim = false
        /// The step that was announced last.
        var told: LifecycleReconciler.Next?
        /// The group of the container that is awake or asleep.
        var group: String?
        weak var execs: ExecTable?
        /// Commands that are nobody's work: they keep nothing awake.
        var supervised: Set<ExecID> = []
        var files: FileUses
        /// Ends a call that uses the files.
        var cuts: [UInt64: @Sendable () -> Void] = [:]
        var cutCount: UInt64 = 0
    }

    private let state: Mutex<State>
    /// Which limits the container comes to.
    package let limits: LimitWatch

    init(
        _ desired: Desired, limits: LimitWatch = LimitWatch(),
        files: FileUses = FileUses(lastAt: Date(), notedAt: nil), now: Instant = .now
    ) {
        self.limits = limits
        state = Mutex(State(idle: IdleClock(now: now), desired: desired, files: files))
    }

    /// Of a container that nobody suspends. For tests.
    package convenience init(limits: LimitWatch) {
        self.init(Desired(policy: LifecyclePolicy()), limits: limits)
    }

    // MARK: what happens

    /// - Returns: whether the container sleeps, so that who needs a process must wake it.
    @discardableResult
    package func worked(_ work: IdleClock.Work, at now: Instant = .now) -> Bool {
        state.withLock { state in
            state.idle.worked(work, at: now)
            return state.isAsleep
        }
    }

    /// The container runs. The table may come later, or never.
    func runs(_ group: String, _ execs: ExecTable?, _ work: IdleClock.Work, at now: Instant = .now) {
        state.withLock { state in
            state.phase = .running
            state.isAsleep = false
            state.wantsReclaim = false
            state.group = group
            state.execs = execs
            state.idle.worked(work, at: now)
        }
    }

    func fallsAsleep(_ isAsleep: Bool = true) { state.withLock { $0.isAsleep = isAsleep } }

    func sleeps(_ group: String, since: Instant) {
        state.withLock { state in
            state.phase = .suspended(since: since)
            state.isAsleep = true
            state.wantsReclaim = true
            state.group = group
        }
    }

    /// Somebody needs it: that it was suspended for long is no reason any more to stop it.
    func isWoken() { state.withLock { $0.phase = .other } }

    /// There is no container, or none that could be told to do anything.
    func ended() {
        limits.ended()
        state.withLock { state in
            state.phase = .other
            state.isAsleep = false
            state.wantsReclaim = false
            state.group = nil
            state.execs = nil
            state.idle.endLeases()
        }
    }

    func set(supervised: Set<ExecID>) { state.withLock { $0.supervised = supervised } }

    /// A command has ended.
    func ended(_ exec: ExecID) {
        state.withLock { state in
            if !state.supervised.contains(exec) { state.idle.worked(.command, at: .now) }
        }
    }

    func lease(_ reason: String?, until: Instant, now: Instant) throws(FastableError) {
        try state.withLock { state throws(FastableError) in
            guard let reason else { return state.idle.endLeases() }
            try state.idle.lease(reason, until: until, now: now)
        }
    }

    func set(_ desired: Desired) { state.withLock { $0.desired = desired } }

    func cpuUsed(_ microseconds: UInt64, at now: Instant) {
        state.withLock { $0.idle.cpuUsed(microseconds, at: now) }
    }

    // MARK: files

    /// Somebody begins to use the project's files, for which its container need not be awake.
    func beginFiles(at now: Date = Date()) throws(FastableError) -> FileUse {
        try state.withLock { state throws(FastableError) in
            try state.files.begin(at: now)
            state.idle.worked(.files, at: .now)
        }
        return FileUse(self)
    }

    func endFiles(at now: Date = Date()) {
        state.withLock { state in
            state.files.end(at: now)
            state.idle.worked(.files, at: .now)
        }
    }

    /// What is to happen to a call when the files are needed more than it is; gives a number for `uncut`.
    func onCut(_ cut: @escaping @Sendable () -> Void) -> UInt64 {
        state.withLock { state in
            state.cutCount += 1
            state.cuts[state.cutCount] = cut
            return state.cutCount
        }
    }

    func uncut(_ number: UInt64) { state.withLock { _ = $0.cuts.removeValue(forKey: number) } }

    /// Cuts off all calls that use the files now.
    func cutFiles() { for cut in state.withLock({ Array($0.cuts.values) }) { cut() } }

    var filesUsedAt: Date { state.withLock { $0.files.lastAt } }
    var fileUsesAtRest: UInt64? { state.withLock { $0.files.atRest } }
    func closeFiles(ifAtRestSince known: UInt64) -> Bool { state.withLock { $0.files.close(ifAtRestSince: known) } }
    func openFiles() { state.withLock { $0.files.open() } }
    func takeFileNote() -> Date? { state.withLock { $0.files.takeNote() } }

    // MARK: what is

    var leases: [IdleClock.Lease] { state.withLock { $0.idle.leases } }
    var desired: Desired { state.withLock { $0.desired } }
    package var isAsleep: Bool { state.withLock { $0.isAsleep } }

    /// The group whose CPU time tells something: that of a container that runs.
    var countedGroup: String? { state.withLock { $0.phase == .running ? $0.group : nil } }

    /// Commands that run now, without supervised ones.
    var runningCommands: [ExecID] {
        let (execs, supervised) = state.withLock { ($0.execs, $0.supervised) }
        let all = execs?.runningCommands ?? []
        return supervised.isEmpty ? all : all.filter { !supervised.contains($0) }
    }

    /// No command starts any more unless one runs, see `ExecTable.closeIfNothingRuns`.
    func closes(_ execs: ExecTable, besides others: Set<ExecID>) -> Bool {
        execs.closeIfNothingRuns(besides: state.withLock { $0.supervised }.union(others))
    }

    /// The group of a container whose memory is to be taken back; the answer is given once for each time that it falls asleep.
    func takeReclaim() -> String? {
        state.withLock { state in
            guard state.wantsReclaim, state.isAsleep else { return nil }
            state.wantsReclaim = false
            return state.group
        }
    }

    func observed(at now: Instant) -> (desired: Desired, observed: LifecycleReconciler.Observed) {
        // Not within the lock: each command has one of its own.
        let running = runningCommands.count
        return state.withLock { state in
            if running > 0 { state.idle.worked(.command, at: now) }
            // A transfer may take longer than a container may be idle.
            if state.files.atRest == nil { state.idle.worked(.files, at: now) }
            return (
                state.desired,
                LifecycleReconciler.Observed(phase: state.phase, idle: state.idle, runningCommands: running)
            )
        }
    }

    /// What is to be done now, if anything is.
    func action(at now: Instant) -> LifecycleReconciler.Action? {
        let (desired, observed) = observed(at: now)
        return LifecycleReconciler.action(desired, observed, now: now)
    }

    /// A step that is to be announced now; the answer is given once for each.
    func takeNotice(at now: Instant) -> LifecycleReconciler.Next? {
        let (desired, observed) = observed(at: now)
        return state.withLock { state in
            let notice = LifecycleReconciler.notice(desired, observed, told: state.told, now: now)
            if let notice { state.told = notice }
            return notice
        }
    }

    /// Why it should not be suspended by somebody's wish now; `nil` when nothing works in it.
    func objection(at now: Instant) -> FastableError? {
        refusal(at: now) { "The container was not suspended: it is kept awake by \($0). End that, or set ‘force’." }
    }

    /// - Parameter text: told what works in it.
    func refusal(at now: Instant, _ text: (String) -> String) -> FastableError? {
        let (_, observed) = observed(at: now)
        var works: [String] = []
        let commands = runningCommands
        if !commands.isEmpty { works.append(LifecycleText.commands(commands)) }
        works += observed.idle.activeLeases(now).map { "the lease ‘\($0.reason)’" }
        let lately = now - observed.idle.lastAt < .seconds(2 * Limits.lifecycleSweepSeconds)
        if observed.idle.last == .cpu, lately { works.append("processes that use the CPU") }
        guard !works.isEmpty else { return nil }
        return FastableError(
            .conflict, text(works.joined(separator: ", ")),
            details: ["execs": .array(commands.map { .string($0.description) })])
    }
}
