import FastableCore
import NodeLinux
import NodeSandbox
import TestSupport
import Testing

/// What counts as work, and what follows from it. All time is handed in.
@Suite struct IdleClockTests {
    typealias Reconciler = LifecycleReconciler

    static let start = ContinuousClock.now
    static let policy = LifecyclePolicy(idleSeconds: 100, stopAfterSeconds: 1000)

    private static func at(_ seconds: Int) -> ContinuousClock.Instant { start + .seconds(seconds) }

    private static func action(
        _ clock: IdleClock, running: Int = 0, at seconds: Int, policy: LifecyclePolicy = policy,
        phase: Reconciler.Phase = .running, wish: Reconciler.Desired.Wish = .onDemand
    ) -> Reconciler.Action? {
        Reconciler.action(
            Reconciler.Desired(wish: wish, policy: policy),
            Reconciler.Observed(phase: phase, idle: clock, runningCommands: running), now: at(seconds))
    }

    private static func isSuspension(_ action: Reconciler.Action?) -> Bool {
        if case .suspend = action { true } else { false }
    }

    @Test func withoutWorkItIsSuspendedWhenItsTimeHasCome() {
        let clock = IdleClock(now: Self.start)
        #expect(Self.action(clock, at: 99) == nil)
        #expect(Self.isSuspension(Self.action(clock, at: 100)))
        #expect(clock.idleSince(runningCommands: 0, now: Self.at(50)) == Self.start)
    }

    @Test(arguments: IdleClock.Work.allCases) func workBeginsTheTimeAnew(work: IdleClock.Work) {
        var clock = IdleClock(now: Self.start)
        clock.worked(work, at: Self.at(90))
        #expect(Self.action(clock, at: 189) == nil)
        #expect(Self.isSuspension(Self.action(clock, at: 190)))
        // What is told late does not turn it back.
        clock.worked(.files, at: Self.at(10))
        #expect(Self.action(clock, at: 189) == nil)
    }

    @Test func aRunningCommandKeepsItAwakeForEver() {
        let clock = IdleClock(now: Self.start)
        #expect(Self.action(clock, running: 1, at: 1_000_000) == nil)
        #expect(clock.idleSince(runningCommands: 1, now: Self.at(1000)) == nil)
    }

    @Test func aLeaseKeepsItAwakeUntilItEnds() throws {
        var clock = IdleClock(now: Self.start)
        try clock.lease("demo", until: Self.at(500), now: Self.start)
        #expect(Self.action(clock, at: 499) == nil)
        #expect(Self.isSuspension(Self.action(clock, at: 500)))
        // The same reason is one lease, also when it ends earlier now.
        try clock.lease("demo", until: Self.at(200), now: Self.at(10))
        #expect(clock.leases.count == 1)
        #expect(Self.isSuspension(Self.action(clock, at: 200)))
        try clock.lease("demo", until: Self.at(300), now: Self.at(10))
        try clock.lease("demo", until: Self.at(10), now: Self.at(10))
        #expect(Self.isSuspension(Self.action(clock, at: 100)))
        for number in 0..<Limits.leasesPerProject {
            try clock.lease("\(number)", until: Self.at(300), now: Self.start)
        }
        let error = #expect(throws: FastableError.self) {
            try clock.lease("one more", until: Self.at(300), now: Self.start)
        }
        #expect(error?.code == .limit)
        // Those that have ended make room.
        try clock.lease("one more", until: Self.at(400), now: Self.at(301))
        #expect(clock.activeLeases(Self.at(301)).map(\.reason) == ["one more"])
    }

    @Test func theCPUCountsAsWorkAboveAThreshold() {
        var clock = IdleClock(now: Self.start)
        clock.cpuUsed(0, at: Self.start)
        // Two percent of a core: a watcher that waits.
        for second in 1...20 { clock.cpuUsed(UInt64(second) * 20_000, at: Self.at(second)) }
        #expect(clock.lastAt == Self.start)
        // Half a core from then on.
        for second in 21...40 { clock.cpuUsed(400_000 + UInt64(second - 20) * 500_000, at: Self.at(second)) }
        #expect(clock.last == .cpu && clock.lastAt == Self.at(40))
        #expect(Self.action(clock, at: 139) == nil)
        // A counter that begins anew is another container's.
        clock.cpuUsed(5, at: Self.at(60))
        #expect(clock.lastAt == Self.at(40))
        // What it used before it slept, and while nobody looked, says nothing about now.
        clock.worked(.wake, at: Self.at(70))
        clock.cpuUsed(90_000_000, at: Self.at(71))
        #expect(clock.lastAt == Self.at(70))
    }

    @Test func aShortMomentIsNotMuch() {
        var clock = IdleClock(now: Self.start)
        clock.cpuUsed(0, at: Self.start)
        clock.cpuUsed(9_000, at: Self.start + .milliseconds(10))
        #expect(clock.lastAt == Self.start)
        clock.cpuUsed(10_000, at: Self.at(2))
        #expect(clock.lastAt == Self.start)
    }

    @Test func neverIsNever() {
        let clock = IdleClock(now: Self.start)
        for policy in [LifecyclePolicy(idleSeconds: 0, stopAfterSeconds: 0), LifecyclePolicy()] {
            #expect(Self.action(clock, at: 100_000_000, policy: policy) == nil)
            let suspended = Reconciler.Phase.suspended(since: Self.start)
            #expect(Self.action(clock, at: 100_000_000, policy: policy, phase: suspended) == nil)
        }
    }

    @Test func whatWasSuspendedForLongIsStopped() {
        var clock = IdleClock(now: Self.start)
        let suspended = Reconciler.Phase.suspended(since: Self.at(100))
        // Whoever looks at its files does not need its processes.
        clock.worked(.files, at: Self.at(1000))
        #expect(Self.action(clock, at: 1099, phase: suspended) == nil)
        guard case .stop(let reason) = Self.action(clock, at: 1100, phase: suspended) else {
            Issue.record("not stopped")
            return
        }
        #expect(reason.contains("16 minutes and 40 seconds"))
        #expect(Self.action(clock, at: 1_000_000, phase: .other) == nil)
    }

    @Test func aWishToStopIsCarriedOutWhateverWorks() {
        let clock = IdleClock(now: Self.start)
        for phase in [Reconciler.Phase.running, .suspended(since: Self.start)] {
            guard case .stop = Self.action(clock, running: 3, at: 0, phase: phase, wish: .stopped) else {
                Issue.record("not stopped")
                continue
            }
        }
        #expect(Self.action(clock, at: 0, phase: .other, wish: .stopped) == nil)
    }

    /// Once for each step that comes, half the time ahead or a minute (an hour), and again when work came between.
    @Test func whatComesIsTold() throws {
        var clock = IdleClock(now: Self.start)
        var told: Reconciler.Next?
        func notice(_ seconds: Int, _ idle: Int, _ phase: Reconciler.Phase = .running, running: Int = 0) -> Bool {
            let desired = Reconciler.Desired(policy: LifecyclePolicy(idleSeconds: idle, stopAfterSeconds: 86_400))
            let observed = Reconciler.Observed(phase: phase, idle: clock, runningCommands: running)
            let notice = Reconciler.notice(desired, observed, told: told, now: Self.at(seconds))
            told = notice ?? told
            return notice != nil
        }
        #expect(!notice(1739, 1800))
        #expect(notice(1740, 1800))
        #expect(!notice(1800, 1800) && !notice(5000, 1800), "once")
        clock.worked(.files, at: Self.at(1790))
        #expect(!notice(1800, 1800))
        #expect(notice(3530, 1800))
        #expect(!notice(9000, 1800, running: 1) && !notice(9000, 0))
        clock.worked(.files, at: Self.at(9000))
        #expect(!notice(9004, 10))
        #expect(notice(9005, 10))
        let suspended = Reconciler.Phase.suspended(since: Self.at(10_000))
        #expect(!notice(92_799, 10, suspended))
        #expect(notice(92_800, 10, suspended))
        guard case .stop = told?.action else {
            Issue.record("\(String(describing: told))")
            return
        }
        // What somebody asks for needs no announcement.
        let wish = Reconciler.Desired(wish: .stopped, policy: Self.policy)
        let observed = Reconciler.Observed(phase: .running, idle: clock, runningCommands: 0)
        #expect(Reconciler.notice(wish, observed, told: nil, now: Self.at(10_000)) == nil)
    }

    /// Whatever happens in whatever order: a step is due exactly when it was announced, never before its time, and never while
    /// something works.
    @Test(arguments: seeds()) func nothingIsEverEarly(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<300 {
            let policy = LifecyclePolicy(
                idleSeconds: random.int(0...50), stopAfterSeconds: random.chance(20) ? 0 : random.int(1...100))
            var clock = IdleClock(now: Self.start)
            var second = 0
            var lastWork = 0
            for _ in 0..<40 {
                second += random.int(0...20)
                let running = random.chance(30) ? random.int(1...3) : 0
                switch random.int(0...4) {
                case 0:
                    clock.worked(.files, at: Self.at(second))
                    lastWork = second
                case 1:
                    // Told late, as another thread may.
                    let late = second - random.int(0...30)
                    clock.worked(.command, at: Self.at(late))
                    lastWork = max(lastWork, late)
                case 2:
                    try clock.lease(
                        "\(random.int(0...3))", until: Self.at(second + random.int(0...40)), now: Self.at(second))
                default: break
                }
                let desired = Reconciler.Desired(policy: policy)
                let observed = Reconciler.Observed(phase: .running, idle: clock, runningCommands: running)
                let next = Reconciler.next(desired, observed, now: Self.at(second))
                let action = Reconciler.action(desired, observed, now: Self.at(second))
                #expect((action != nil) == (next.map { $0.at <= Self.at(second) } ?? false))
                guard action != nil, let idle = policy.idle else { continue }
                #expect(running == 0)
                #expect(clock.activeLeases(Self.at(second)).isEmpty)
                #expect(Self.at(second) - Self.at(lastWork) >= idle)
            }
        }
    }

    // MARK: over a restart

    @Test func aMomentSurvivesTheDaemonAndNoSettingOfTheClock() {
        let now = (BootMoment(boot: "a", milliseconds: 500_000), Self.start)
        let before = BootMoment(Self.start - .seconds(100), now: now)
        #expect(before == BootMoment(boot: "a", milliseconds: 400_000))
        // A later daemon has another clock of its own; the host's time since boot is the same for both.
        let later = (BootMoment(boot: "a", milliseconds: 700_000), Self.at(9))
        #expect(before.instant(now: later) == Self.at(9) - .seconds(300))
        // After a reboot it tells nothing.
        #expect(before.instant(now: (BootMoment(boot: "b", milliseconds: 1), Self.start)) == nil)
        #expect(BootMoment.now().boot.count == 36)
        #expect(BootMoment.now().milliseconds > 0)
    }

    @Test func theStandardIsHalfAnHourADayAWeekAndAMonth() {
        let standard = LifecyclePolicy.standard
        #expect(standard.idleSeconds == 1800 && standard.stopAfterSeconds == 86_400)
        #expect(standard.archiveAfterSeconds == 604_800 && standard.deleteAfterSeconds == 2_592_000)
    }

    @Test func policiesAreMergedAndBounded() throws {
        let own = LifecyclePolicy(idleSeconds: 0, archiveAfterSeconds: 5)
        let workspace = LifecyclePolicy(idleSeconds: 60, stopAfterSeconds: 70, onNodeLost: .restore)
        let merged = own.merged(over: workspace).merged(over: .standard)
        #expect(
            merged
                == LifecyclePolicy(
                    idleSeconds: 0, stopAfterSeconds: 70, archiveAfterSeconds: 5,
                    deleteAfterSeconds: Limits.deleteAfterSeconds, onNodeLost: .restore))
        #expect(own.merged(over: .standard).onNodeLost == .wait)
        #expect(LifecyclePolicy(onNodeLost: .wait).merged(over: workspace).onNodeLost == .wait)
        #expect(merged.idle == nil && merged.stopAfter == .seconds(70))
        _ = try merged.validated()
        for wrong in [
            LifecyclePolicy(idleSeconds: -1), LifecyclePolicy(stopAfterSeconds: Limits.lifecycleSecondsHighest + 1),
        ] {
            expectFailure(.unprocessable, "0 means never") { _ = try wrong.validated() }
        }
    }
}
