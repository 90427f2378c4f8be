public import FastableCore

/// Standing still and going on.
extension SandboxStateMachine {
    public enum SuspendAction: Sendable, Equatable {
        case freeze(ContainerID)
        /// A suspension is under way: share its result.
        case join(ContainerID)
        /// It stands still already, or nothing runs.
        case nothing
        case refuse(FastableError)
    }

    /// The container shall stand still.
    public mutating func suspend(reason: String, now: Instant) -> SuspendAction {
        switch state {
        case .running(let id):
            state = .suspending(id, deadline: now + Self.suspendTime, reason: reason)
            return .freeze(id)
        case .suspending(let id, _, _): return .join(id)
        case .suspended, .absent, .stopping, .stopped, .failed: return .nothing
        case .creating:
            return .refuse(FastableError(.conflict, "The container is being started.", retryAfterSeconds: 1))
        case .resuming:
            return .refuse(FastableError(.conflict, "The container is being woken.", retryAfterSeconds: 1))
        case .deleting:
            return .refuse(
                FastableError(.conflict, "The project is being deleted from the node.", retryAfterSeconds: 1))
        }
    }

    public enum WakeAction: Sendable, Equatable {
        /// Let its processes go on; the end is told by `resumed` or `resumeFailed`.
        case resume(ContainerID)
        /// That is under way: share its result.
        case join(ContainerID)
        /// It runs, or there is none that could be woken.
        case nothing
    }

    /// Somebody needs the processes of the container that there is.
    public mutating func wake(now: Instant) -> WakeAction {
        switch state {
        case .suspending(let id, _, _), .suspended(let id, _):
            state = .resuming(id, deadline: now + Self.resumeTime)
            return .resume(id)
        case .resuming(let id, _): return .join(id)
        case .absent, .creating, .running, .stopping, .stopped, .deleting, .failed: return .nothing
        }
    }

    /// All processes of the incarnation stand still. `true` when that was the wish and is news.
    public mutating func frozen(_ id: ContainerID) -> Bool {
        guard case .suspending(id, _, let reason) = state else { return false }
        state = .suspended(id, reason: reason)
        return true
    }

    /// They could not be told to. `true` when they have to be let go on.
    public mutating func freezeFailed(_ id: ContainerID, now: Instant) -> Bool {
        guard case .suspending(id, _, _) = state else { return false }
        state = .resuming(id, deadline: now + Self.resumeTime)
        return true
    }

    /// The incarnation's processes run and its init answers. `true` when that was the wish.
    public mutating func resumed(_ id: ContainerID) -> Bool {
        guard case .resuming(id, _) = state else { return false }
        state = .running(id)
        return true
    }

    /// They cannot be made to go on. The answer is the incarnation that must be ended.
    public mutating func resumeFailed(_ id: ContainerID, reason: String, now: Instant) -> ContainerID? {
        guard case .resuming(id, _) = state else { return nil }
        state = .stopping(id, deadline: now + Self.stopTime, reason: reason, failure: true)
        return id
    }
}
