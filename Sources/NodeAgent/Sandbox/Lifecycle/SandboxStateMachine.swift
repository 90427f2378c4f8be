public import FastableCore

/// The life of one project's container on this node. Pure: methods are events, results say what to do next, time is handed in.
///
///     absent ─► creating ─► running ─► suspending ─► suspended
///                  │         ▲  │          │            │
///                  │         │  │          ▼            │
///                  │         └──│────── resuming ◄──────┘
///                  ▼            ▼          ▼            ▼
///               stopping ◄───── any of these three, and suspended
///                  ├─► stopped ─► creating …
///                  └─► failed  ─► creating …
///     any ─► deleting ─► absent
///
/// Each incarnation has an id of its own. What is told of an incarnation that is not the current one changes nothing. Every state on
/// the way to another one has a deadline: a start is cut short, a suspension is undone, what cannot be woken is ended.
public struct SandboxStateMachine: Sendable, Equatable {
    public typealias Instant = ContinuousClock.Instant

    public enum State: Sendable, Equatable {
        /// Nothing on disk, or nothing but the project's files: there was no container yet.
        case absent
        /// `pulls`: its image has to come first.
        case creating(ContainerID, deadline: Instant, pulls: Bool = false)
        case running(ContainerID)
        /// Its processes are being stopped; some may still run.
        case suspending(ContainerID, deadline: Instant, reason: String)
        /// Its processes stand still.
        case suspended(ContainerID, reason: String)
        /// Its processes were told to go on.
        case resuming(ContainerID, deadline: Instant)
        /// On the way to `stopped`, or to `failed` when `failure` says why.
        case stopping(ContainerID, deadline: Instant, reason: String, failure: Bool)
        case stopped(reason: String)
        /// The project itself is being removed.
        case deleting(deadline: Instant)
        case failed(reason: String)
    }

    public internal(set) var state: State = .absent

    public init() {}

    /// Until its image is there. The pull has a deadline of its own, and says what went wrong.
    static let pullTime = Duration.seconds(Limits.imageAddSeconds + Limits.hostCommandSeconds)
    /// Until its turn to be started comes.
    static let queueTime = Duration.seconds(Limits.startQueueSeconds)
    static let startTime = Duration.seconds(Limits.containerStartSeconds)
    static let suspendTime = Duration.seconds(Limits.containerSuspendSeconds)
    static let resumeTime = Duration.seconds(Limits.containerResumeSeconds)
    static let stopTime = Duration.seconds(Limits.containerStopSeconds)
    static let deleteTime = Duration.seconds(Limits.projectDeleteSeconds)

    /// When `deadlinePassed` is due.
    public var deadline: Instant? {
        switch state {
        case .creating(_, let deadline, _), .suspending(_, let deadline, _), .resuming(_, let deadline),
            .stopping(_, let deadline, _, _), .deleting(let deadline):
            deadline
        case .absent, .running, .suspended, .stopped, .failed: nil
        }
    }

    /// The incarnation that exists, at least in part.
    public var container: ContainerID? {
        switch state {
        case .creating(let id, _, _), .running(let id), .suspending(let id, _, _), .suspended(let id, _),
            .resuming(let id, _), .stopping(let id, _, _, _):
            id
        case .absent, .stopped, .deleting, .failed: nil
        }
    }

    // MARK: wishes

    public enum EnsureAction: Sendable, Equatable {
        case start(ContainerID)
        /// A start is under way: share its result.
        case join(ContainerID)
        case use(ContainerID)
        case wake(WakeAction)
        /// Something ends that must be gone first: wait and ask again.
        case waitForEnd
        case refuse(FastableError)
    }

    /// Somebody needs the container. `new` names the incarnation if one must be made.
    public mutating func ensure(new: ContainerID, now: Instant) -> EnsureAction {
        switch state {
        case .absent, .stopped, .failed:
            state = .creating(new, deadline: now + Self.queueTime + Self.startTime)
            return .start(new)
        case .creating(let id, _, _): return .join(id)
        case .running(let id): return .use(id)
        case .suspending, .suspended, .resuming: return .wake(wake(now: now))
        case .stopping: return .waitForEnd
        case .deleting:
            return .refuse(
                FastableError(.conflict, "The project is being deleted from the node.", retryAfterSeconds: 1))
        }
    }

    public enum StopAction: Sendable, Equatable {
        /// Cut the start short; its end is told by `started` or `startFailed`.
        case cancelStart(ContainerID)
        case stop(ContainerID)
        case waitForEnd
        case nothing
    }

    /// The container shall end, the project's files stay.
    public mutating func stop(reason: String, now: Instant) -> StopAction {
        switch state {
        case .creating(let id, _, _):
            state = .stopping(id, deadline: now + Self.stopTime, reason: reason, failure: false)
            return .cancelStart(id)
        case .running(let id), .suspending(let id, _, _), .suspended(let id, _), .resuming(let id, _):
            state = .stopping(id, deadline: now + Self.stopTime, reason: reason, failure: false)
            return .stop(id)
        case .stopping, .deleting: return .waitForEnd
        case .absent, .stopped, .failed: return .nothing
        }
    }

    public enum DeleteAction: Sendable, Equatable {
        /// Cut the start short, wait for its end, then remove everything.
        case cancelStartThenRemove(ContainerID)
        case remove(ContainerID?)
        /// A removal is under way: share its result.
        case join
    }

    /// Container and files shall go.
    public mutating func delete(now: Instant) -> DeleteAction {
        let before = state
        if case .deleting = before { return .join }
        state = .deleting(deadline: now + Self.deleteTime)
        switch before {
        case .creating(let id, _, _): return .cancelStartThenRemove(id)
        case .running(let id), .suspending(let id, _, _), .suspended(let id, _), .resuming(let id, _),
            .stopping(let id, _, _, _):
            return .remove(id)
        case .absent, .stopped, .failed, .deleting: return .remove(nil)
        }
    }

    // MARK: what happened

    public enum StartedAction: Sendable, Equatable {
        case serve
        /// Nobody wants it any more: remove it.
        case discard
    }

    /// The incarnation's init answers.
    public mutating func started(_ id: ContainerID) -> StartedAction {
        guard case .creating(id, _, _) = state else { return .discard }
        state = .running(id)
        return .serve
    }

    /// Its image has to come first: the time for that begins.
    public mutating func pulling(_ id: ContainerID, now: Instant) {
        guard case .creating(id, _, _) = state else { return }
        state = .creating(id, deadline: now + Self.pullTime, pulls: true)
    }

    /// Its image is there: the time in which its turn has to come begins.
    public mutating func pulled(_ id: ContainerID, now: Instant) {
        guard case .creating(id, _, true) = state else { return }
        state = .creating(id, deadline: now + Self.queueTime + Self.startTime)
    }

    /// Its turn to be started has come: the time for that begins.
    public mutating func admitted(_ id: ContainerID, now: Instant) {
        guard case .creating(id, _, _) = state else { return }
        state = .creating(id, deadline: now + Self.startTime)
    }

    /// Nobody waits for it any more, and its start has not begun.
    public mutating func givenUp(_ id: ContainerID, reason: String) {
        guard case .creating(id, _, _) = state else { return }
        state = .stopped(reason: reason)
    }

    /// The start failed, or was cut short, and left nothing behind.
    public mutating func startFailed(_ id: ContainerID, reason: String) {
        switch state {
        case .creating(id, _, _): state = .failed(reason: reason)
        case .stopping(id, _, _, _): removed(id)
        case .absent, .creating, .running, .suspending, .suspended, .resuming, .stopping, .stopped, .deleting, .failed:
            break
        }
    }

    /// A container of an earlier run of the daemon was found alive; `suspended` tells why it stands still, if it does.
    public mutating func adopted(_ id: ContainerID, suspended: String? = nil) {
        guard case .absent = state else { return }
        state = suspended.map { .suspended(id, reason: $0) } ?? .running(id)
    }

    /// An earlier run of the daemon left the project without a container.
    public mutating func found(stopped reason: String) {
        guard case .absent = state else { return }
        state = .stopped(reason: reason)
    }

    public mutating func found(failed reason: String) {
        guard case .absent = state else { return }
        state = .failed(reason: reason)
    }

    /// The incarnation's init has ended by itself. The answer is the incarnation whose remains must be removed.
    public mutating func exited(_ id: ContainerID, reason: String, now: Instant) -> ContainerID? {
        switch state {
        case .running(id), .suspending(id, _, _), .suspended(id, _), .resuming(id, _):
            state = .stopping(id, deadline: now + Self.stopTime, reason: reason, failure: false)
            return id
        case .absent, .creating, .running, .suspending, .suspended, .resuming, .stopping, .stopped, .deleting, .failed:
            return nil
        }
    }

    /// Nothing of the incarnation is left.
    public mutating func removed(_ id: ContainerID) {
        guard case .stopping(id, _, let reason, let failure) = state else { return }
        state = failure ? .failed(reason: reason) : .stopped(reason: reason)
    }

    /// Something of the incarnation could not be removed.
    public mutating func removalFailed(_ id: ContainerID, reason: String) {
        guard case .stopping(id, _, _, _) = state else { return }
        state = .failed(reason: reason)
    }

    public mutating func deleted() {
        guard case .deleting = state else { return }
        state = .absent
    }

    public mutating func deletionFailed(reason: String) {
        guard case .deleting = state else { return }
        state = .failed(reason: reason)
    }

    public enum DeadlineAction: Sendable, Equatable {
        case cancelStart(ContainerID)
        /// Let its processes go on; the end is told by `resumed` or `resumeFailed`.
        case resume(ContainerID)
        /// End it.
        case end(ContainerID)
        case nothing
    }

    /// The moment that `deadline` named may have come.
    public mutating func deadlinePassed(now: Instant) -> DeadlineAction {
        guard let deadline, deadline <= now else { return .nothing }
        switch state {
        case .creating(let id, _, let pulls):
            let reason =
                pulls
                ? "The container's image did not come within \(Limits.imageAddSeconds) seconds. Try again, or add it to the node with "
                    + "‘fastable image add’."
                : "The container did not start within \(Limits.containerStartSeconds) seconds. Try again; the node's log tells "
                    + "which step hung."
            state = .stopping(id, deadline: now + Self.stopTime, reason: reason, failure: true)
            return .cancelStart(id)
        case .suspending(let id, _, _):
            state = .resuming(id, deadline: now + Self.resumeTime)
            return .resume(id)
        case .resuming(let id, _):
            let reason =
                "The container did not answer within \(Limits.containerResumeSeconds) seconds after it was woken, so it was ended. "
                + "It is made again on next use; files are kept."
            state = .stopping(id, deadline: now + Self.stopTime, reason: reason, failure: true)
            return .end(id)
        case .stopping(_, _, let reason, _):
            state = .failed(
                reason: reason + " What is left of it could not be removed in time; the next start tries again.")
        case .deleting:
            state = .failed(reason: "The project could not be deleted in time. Delete it again.")
        case .absent, .running, .suspended, .stopped, .failed: break
        }
        return .nothing
    }
}
