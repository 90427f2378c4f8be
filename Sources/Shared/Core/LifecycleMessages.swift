public import FoundationEssentials

/// After how much time without use a container goes one step further down. In the controller's records `nil` means that the setting
/// is inherited; where it is carried out `nil` means never, as 0 does.
public struct LifecyclePolicy: Codable, Sendable, Equatable {
    /// Without work for so long it is suspended.
    public var idleSeconds: Int?
    /// Suspended for so long it is stopped.
    public var stopAfterSeconds: Int?
    /// Stopped, and its files not used, for so long it is archived. The controller sees to this and to the next.
    public var archiveAfterSeconds: Int?
    /// Archived for so long it is deleted.
    public var deleteAfterSeconds: Int?
    /// What becomes of it when its node is lost.
    public var onNodeLost: OnNodeLost?

    public init(
        idleSeconds: Int? = nil, stopAfterSeconds: Int? = nil, archiveAfterSeconds: Int? = nil,
        deleteAfterSeconds: Int? = nil, onNodeLost: OnNodeLost? = nil
    ) {
        self.onNodeLost = onNodeLost
        self.idleSeconds = idleSeconds
        self.stopAfterSeconds = stopAfterSeconds
        self.archiveAfterSeconds = archiveAfterSeconds
        self.deleteAfterSeconds = deleteAfterSeconds
    }

    public static let standard = LifecyclePolicy(
        idleSeconds: Limits.idleSeconds, stopAfterSeconds: Limits.stopAfterSeconds,
        archiveAfterSeconds: Limits.archiveAfterSeconds, deleteAfterSeconds: Limits.deleteAfterSeconds,
        onNodeLost: .wait)

    /// These settings, and where there are none, those of `other`.
    public func merged(over other: LifecyclePolicy) -> LifecyclePolicy {
        LifecyclePolicy(
            idleSeconds: idleSeconds ?? other.idleSeconds, stopAfterSeconds: stopAfterSeconds ?? other.stopAfterSeconds,
            archiveAfterSeconds: archiveAfterSeconds ?? other.archiveAfterSeconds,
            deleteAfterSeconds: deleteAfterSeconds ?? other.deleteAfterSeconds,
            onNodeLost: onNodeLost ?? other.onNodeLost)
    }

    public var idle: Duration? { Self.duration(idleSeconds) }
    public var stopAfter: Duration? { Self.duration(stopAfterSeconds) }
    public var archiveAfter: Duration? { Self.duration(archiveAfterSeconds) }
    public var deleteAfter: Duration? { Self.duration(deleteAfterSeconds) }

    private static func duration(_ seconds: Int?) -> Duration? {
        guard let seconds, seconds > 0 else { return nil }
        return .seconds(seconds)
    }

    /// The same policy, or `unprocessable` naming the field that is out of range.
    public func validated() throws -> LifecyclePolicy {
        let fields = [
            ("idleSeconds", idleSeconds), ("stopAfterSeconds", stopAfterSeconds),
            ("archiveAfterSeconds", archiveAfterSeconds), ("deleteAfterSeconds", deleteAfterSeconds),
        ]
        for (field, value) in fields {
            guard let value, !(0...Limits.lifecycleSecondsHighest).contains(value) else { continue }
            throw FastableError(
                .unprocessable,
                "The field ‘\(field)’ must be in the range 0 to \(Limits.lifecycleSecondsHighest); 0 means never.",
                details: ["field": .string(field)])
        }
        return self
    }
}

/// Suspends a container.
public struct ContainerSuspend: Codable, Sendable {
    public var project: ProjectID
    /// Also when something works in it.
    public var force: Bool
    public init(project: ProjectID, force: Bool) {
        self.project = project
        self.force = force
    }
}

/// Ends a container; the project's files stay.
public struct ContainerStop: Codable, Sendable {
    /// How what works in it is treated.
    public enum Manner: String, Codable, Sendable {
        /// Everything ends at once.
        case now
        /// Nothing is stopped while something works in it: `conflict` names that.
        case idle
        /// Commands are asked to end, and ended after a while; calls that use the project's files are cut off.
        case grace
    }

    public var project: ProjectID
    public var reason: String
    /// `now` when it is absent.
    public var manner: Manner?

    public init(project: ProjectID, reason: String, manner: Manner? = nil) {
        self.manner = manner
        self.project = project
        self.reason = reason
    }
}

/// Keeps a container awake for a while, or no longer.
public struct ContainerKeepAwake: Codable, Sendable {
    public var project: ProjectID
    /// 0 ends it.
    public var seconds: Int
    /// Names the lease: one with the same reason is replaced. Without one, 0 seconds end all.
    public var reason: String?
    public init(project: ProjectID, seconds: Int, reason: String?) {
        self.project = project
        self.seconds = seconds
        self.reason = reason
    }
}

/// Changes when a container is suspended and stopped, and brings limits that a node which was away could not be told. Those are in force
/// from the next start on when the container uses more already.
public struct ContainerPolicy: Codable, Sendable {
    public var project: ProjectID
    public var policy: LifecyclePolicy
    public var limits: ResourceLimits?
    /// Programs that are to run whenever the container does.
    public var supervised: [SupervisedProcess]?
    /// See `ContainerSpec`.
    public var revision: Int?
    public init(
        project: ProjectID, policy: LifecyclePolicy, limits: ResourceLimits? = nil,
        supervised: [SupervisedProcess]? = nil, revision: Int? = nil
    ) {
        self.supervised = supervised
        self.limits = limits
        self.revision = revision
        self.project = project
        self.policy = policy
    }
}

/// Why a container is in its state, and what comes next.
public struct ContainerExplanation: Codable, Sendable, Equatable {
    /// One thing that keeps it awake.
    public struct Work: Codable, Sendable, Equatable {
        public enum Kind: String, Codable, Sendable, CaseIterable {
            case command, lease, recent
        }

        public var kind: Kind
        public var text: String
        /// When it ends by itself, as far as that is known.
        public var until: Date?

        public init(kind: Kind, text: String, until: Date? = nil) {
            self.kind = kind
            self.text = text
            self.until = until
        }
    }

    /// What will happen unless somebody uses it before.
    public struct Next: Codable, Sendable, Equatable {
        public enum Step: String, Codable, Sendable, CaseIterable { case suspend, stop, archive, delete }

        public var step: Step
        public var at: Date
        public var inSeconds: Int

        public init(step: Step, at: Date, inSeconds: Int) {
            self.step = step
            self.at = at
            self.inSeconds = inSeconds
        }
    }

    public var project: ProjectID
    public var state: ContainerState
    public var since: Date?
    /// Why it is in this state.
    public var reason: String
    /// All of it, in sentences.
    public var text: String
    /// Since when nothing has worked in it; absent while something does, and while it does not run.
    public var idleSince: Date?
    public var awakeBecause: [Work]
    public var next: Next?
    public var policy: LifecyclePolicy
    /// Limits that it has come to since it was started.
    public var limitHits: [LimitTally]?
    public var disk: DiskUse?
    /// Present while it waits for its turn to be started.
    public var queue: StartPlace?
    /// Present while it is being started.
    public var start: StartProgress?

    public init(
        project: ProjectID, state: ContainerState, since: Date?, reason: String, text: String, idleSince: Date?,
        awakeBecause: [Work], next: Next?, policy: LifecyclePolicy, limitHits: [LimitTally]? = nil,
        disk: DiskUse? = nil, queue: StartPlace? = nil, start: StartProgress? = nil
    ) {
        self.start = start
        self.queue = queue
        self.disk = disk
        self.limitHits = limitHits
        self.project = project
        self.state = state
        self.since = since
        self.reason = reason
        self.text = text
        self.idleSince = idleSince
        self.awakeBecause = awakeBecause
        self.next = next
        self.policy = policy
    }
}
