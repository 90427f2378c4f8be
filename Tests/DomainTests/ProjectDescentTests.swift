import ControllerDomain
import FastableCore
import FoundationEssentials
import TestSupport
import Testing

@Suite struct ProjectDescentTests {
    private typealias Situation = ProjectDescent.Situation
    private typealias Notice = ProjectDescent.Notice

    private static let start = Date(timeIntervalSince1970: 1_800_000_000)
    private static func at(_ seconds: Double) -> Date { start.addingTimeInterval(seconds) }
    private static let week = 7 * 24 * 3600.0
    private static let day = 24 * 3600.0

    @Test func aWeekOfRestIsToldADayBefore() {
        var situation = Situation(phase: .resting(since: Self.start), policy: .standard)
        let told = ProjectDescent.next(situation, now: Self.at(60))
        #expect(told == .init(.announce(.archive, due: Self.at(Self.week)), at: Self.at(Self.week - Self.day)))
        situation.notice = Notice(step: .archive, restingSince: Self.start, toldAt: Self.at(Self.week - Self.day + 2))
        let now = Self.at(Self.week - 100)
        #expect(ProjectDescent.next(situation, now: now) == .init(.archive, at: Self.at(Self.week + 2)))
        #expect(ProjectDescent.step(situation, now: now)?.due == Self.at(Self.week + 2))
    }

    /// Also when nobody was there to tell it in time, or the time was shortened a moment ago.
    @Test func nothingHappensUntold() {
        let late = Self.at(20 * Self.day)
        let situation = Situation(phase: .resting(since: Self.start), policy: .standard)
        let next = ProjectDescent.next(situation, now: late)
        #expect(next?.action == .announce(.archive, due: late.addingTimeInterval(Self.day)))
        #expect(next.map { $0.at <= late } == true)
        #expect(ProjectDescent.step(situation, now: late)?.due == late.addingTimeInterval(Self.day))
    }

    /// Every phase with every kind of settings, notice and pause, at moments before, on and behind each border.
    @Test func everySituation() {
        let phases: [ProjectDescent.Phase] = [
            .inUse, .resting(since: Self.start), .removing, .archived(since: Self.start), .restoring,
        ]
        let moments = [-1000.0, 0, 1, 49, 50, 51, 99, 100, 101, 149, 150, 151, 1000].map(Self.at)
        let notices: [Notice?] =
            [nil]
            + ProjectDescent.Step.allCases.flatMap { step in
                [Self.start, Self.at(7)].flatMap { since in
                    [0, 50, 60, 5000].map { Notice(step: step, restingSince: since, toldAt: Self.at($0)) }
                }
            }
        var seen = 0
        for phase in phases {
            for seconds in [nil, 0, 100] {
                let policy = LifecyclePolicy(archiveAfterSeconds: seconds, deleteAfterSeconds: seconds)
                for notice in notices {
                    for retryAt in [nil, Self.at(200)] {
                        for now in moments {
                            let situation = Situation(phase: phase, policy: policy, notice: notice, retryAt: retryAt)
                            check(situation, at: now)
                            seen += 1
                        }
                    }
                }
            }
        }
        #expect(seen == 5 * 3 * 17 * 2 * 13)
    }

    private func check(_ situation: ProjectDescent.Situation, at now: Date) {
        let next = ProjectDescent.next(situation, now: now)
        switch situation.phase {
        case .inUse: #expect(next == nil)
        case .removing: #expect(next == .init(.goOnRemoving, at: situation.retryAt ?? now))
        case .restoring: #expect(next == .init(.abandonRestore, at: situation.retryAt ?? now))
        case .resting(let since): check(situation, .archive, since, next, now)
        case .archived(let since): check(situation, .delete, since, next, now)
        }
    }

    private func check(
        _ situation: ProjectDescent.Situation, _ step: ProjectDescent.Step, _ since: Date, _ next: ProjectDescent.Next?,
        _ now: Date
    ) {
        guard let seconds = situation.policy.archiveAfterSeconds, seconds > 0 else {
            #expect(next == nil && ProjectDescent.step(situation, now: now) == nil)
            return
        }
        guard let next, let plan = ProjectDescent.step(situation, now: now) else {
            Issue.record("nothing follows \(situation)")
            return
        }
        #expect(plan.step == step)
        switch next.action {
        case .announce(let told, let due):
            #expect(told == step && due == plan.due)
            #expect(due >= max(now, next.at).addingTimeInterval(Double(seconds) / 2), "told too late: \(situation)")
        case .archive, .delete:
            #expect(next.action == (step == .archive ? .archive : .delete) && next.at == plan.due)
            guard let notice = situation.notice else {
                Issue.record("untold: \(situation)")
                return
            }
            #expect(notice.step == step && notice.restingSince == since && notice.toldAt <= now)
            #expect(next.at >= notice.toldAt.addingTimeInterval(Double(seconds) / 2))
            #expect(next.at >= min(since, now).addingTimeInterval(Double(seconds)))
            #expect(situation.retryAt.map { next.at >= $0 } != false)
        case .goOnRemoving, .abandonRestore: Issue.record("\(next) of \(situation)")
        }
    }

    /// Whenever somebody looks, and however often: told once, and half the time before it happens.
    @Test func aProjectIsToldOnce() {
        var generator = SeededGenerator()
        for _ in 0..<200 {
            var situation = Situation(
                phase: .resting(since: Self.start),
                policy: LifecyclePolicy(archiveAfterSeconds: Int.random(in: 2...100_000, using: &generator)))
            let wanted = Double(situation.policy.archiveAfterSeconds ?? 0)
            var now = Self.start
            var told: [Date] = []
            while true {
                now = now.addingTimeInterval(Double.random(in: 0.01...wanted, using: &generator))
                guard let next = ProjectDescent.next(situation, now: now), next.at <= now else { continue }
                if case .announce = next.action {
                    told.append(now)
                    situation.notice = Notice(step: .archive, restingSince: Self.start, toldAt: now)
                    continue
                }
                #expect(next.action == .archive)
                break
            }
            let lead = min(Double(Limits.lifecycleNoticeSeconds), wanted / 2)
            #expect(told.count == 1, "\(generator)")
            #expect(told.allSatisfy { now.timeIntervalSince($0) >= lead - 0.001 }, "\(generator)")
            #expect(now.timeIntervalSince(Self.start) >= wanted - 0.001, "\(generator)")
        }
    }
}
