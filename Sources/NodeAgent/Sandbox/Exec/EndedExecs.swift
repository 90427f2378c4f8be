public import FastableCore
import Synchronization

/// The commands that somebody wanted to end: one of them that has not been started yet never will be.
///
/// A command waits for its container, and its end may be asked for meanwhile, when nobody knows it yet. Who ends a command
/// inserts it here first and looks for it then; who starts one registers it first and looks here then. So one of the two sees
/// the other, and the answer that nothing of it runs stays true.
public final class EndedExecs: Sendable {
    private let execs = Mutex(RecentSet<ExecID>(limit: Limits.endedExecsRemembered))

    public init() {}

    public func insert(_ exec: ExecID) { execs.withLock { $0.insert(exec) } }

    public func contains(_ exec: ExecID) -> Bool { execs.withLock { $0.contains(exec) } }
}
