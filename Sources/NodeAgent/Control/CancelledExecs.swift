import FastableCore
import Synchronization

/// Commands that were to be ended, whether they had started or not: one whose start is still under way must not start any more.
final class CancelledExecs: Sendable {
    private let execs = Mutex(RecentSet<ExecID>(limit: Limits.cancelledExecsRemembered))

    /// Call before the command is looked for.
    func insert(_ exec: ExecID) { execs.withLock { $0.insert(exec) } }

    /// Call before the command is started, and again once it can be found.
    func check(_ exec: ExecID) throws(FastableError) {
        guard execs.withLock({ $0.contains(exec) }) else { return }
        throw FastableError(.cancelled, "The command \(exec) was cancelled before it started.")
    }
}
