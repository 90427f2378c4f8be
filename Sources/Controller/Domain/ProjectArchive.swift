public import FastableCore
public import FoundationEssentials

/// That a project's content lies in a snapshot, or is on its way there or back.
public struct ProjectArchive: Sendable, Equatable {
    public enum State: String, Sendable, CaseIterable {
        /// The snapshot is verified, and the node is to give the files up. It may have done so.
        case removing
        /// Nothing of the project is on any node.
        case archived
        /// The node that the project was given may have a part of the content.
        case restoring
    }

    public var state: State
    /// It has the content; nobody removes it.
    public var snapshot: SnapshotID
    /// When it came into this state.
    public var since: Date
    /// When nobody had used the project for the last time, as its node said before it was saved.
    public var restingSince: Date

    public init(state: State, snapshot: SnapshotID, since: Date, restingSince: Date) {
        self.state = state
        self.snapshot = snapshot
        self.since = since
        self.restingSince = restingSince
    }
}

/// How a project that nobody uses goes down once its container is stopped: it is archived, then deleted, and each of both is told
/// before. Pure: what is, and what time it is, go in, and nothing else.
public enum ProjectDescent {
    public enum Step: String, Sendable, CaseIterable { case archive, delete }

    /// It was told that a step comes, to a project that has rested since that moment.
    public struct Notice: Sendable, Equatable {
        public var step: Step
        public var restingSince: Date
        public var toldAt: Date

        public init(step: Step, restingSince: Date, toldAt: Date) {
            self.step = step
            self.restingSince = restingSince
            self.toldAt = toldAt
        }
    }

    public enum Phase: Sendable, Equatable {
        /// It has a container, or nobody knows.
        case inUse
        case resting(since: Date)
        case removing
        case archived(since: Date)
        case restoring
    }

    public struct Situation: Sendable, Equatable {
        public var phase: Phase
        public var policy: LifecyclePolicy
        public var notice: Notice?
        /// What failed is not tried again before this.
        public var retryAt: Date?

        public init(phase: Phase, policy: LifecyclePolicy, notice: Notice? = nil, retryAt: Date? = nil) {
            self.phase = phase
            self.policy = policy
            self.notice = notice
            self.retryAt = retryAt
        }
    }

    public enum Action: Sendable, Equatable {
        /// Tell that the step is due then.
        case announce(Step, due: Date)
        case archive
        case delete
        /// Go on where an archiving was cut short.
        case goOnRemoving
        /// Nobody waits for the restore any more.
        case abandonRestore
    }

    public struct Next: Sendable, Equatable {
        public var action: Action
        public var at: Date

        public init(_ action: Action, at: Date) {
            self.action = action
            self.at = at
        }
    }

    /// What is to be done next, and when; nothing as long as nothing changes when it is `nil`.
    public static func next(_ situation: Situation, now: Date) -> Next? {
        switch situation.phase {
        case .inUse: return nil
        case .removing: return Next(.goOnRemoving, at: situation.retryAt ?? now)
        case .restoring: return Next(.abandonRestore, at: situation.retryAt ?? now)
        case .resting, .archived:
            guard let plan = plan(situation, now: now) else { return nil }
            guard plan.isTold else {
                return Next(.announce(plan.step, due: plan.due), at: plan.tellAt)
            }
            return Next(plan.step == .archive ? .archive : .delete, at: plan.due)
        }
    }

    /// The step that comes, and when it does unless somebody uses the project before.
    public static func step(_ situation: Situation, now: Date) -> (step: Step, due: Date)? {
        plan(situation, now: now).map { ($0.step, $0.due) }
    }

    private struct Plan {
        var step: Step
        var isTold: Bool
        var tellAt: Date
        var due: Date
    }

    private static func plan(_ situation: Situation, now: Date) -> Plan? {
        let step: Step
        let restingSince: Date
        let time: Duration?
        switch situation.phase {
        case .inUse, .removing, .restoring: return nil
        case .resting(let since): (step, restingSince, time) = (.archive, since, situation.policy.archiveAfter)
        case .archived(let since): (step, restingSince, time) = (.delete, since, situation.policy.deleteAfter)
        }
        guard let time else { return nil }
        let seconds = time / .seconds(1)
        let notice = min(Double(Limits.lifecycleNoticeSeconds), seconds / 2)
        // A clock that was set back must not hold anything up for ever.
        let due = min(restingSince, now).addingTimeInterval(seconds)
        let tellAt = due.addingTimeInterval(-notice)
        var plan = Plan(step: step, isTold: false, tellAt: tellAt, due: due)
        var toldAt = max(tellAt, now)
        if let told = situation.notice, told.step == step, told.restingSince == restingSince, told.toldAt <= now {
            plan.isTold = true
            toldAt = told.toldAt
        }
        // Whoever was away for long, or has just shortened the time, is told all the same before it happens.
        plan.due = max(due, toldAt.addingTimeInterval(notice), situation.retryAt ?? due)
        return plan
    }
}
