public import FastableCore
import Synchronization

/// The commands that somebody wanted to end: one of them that has not been started yet never will be.
///
/// A command waits for its container, and its end may be asked for meanwhile, when nobody knows it yet. Who ends a command
/// inserts it here first and looks for it then; who starts one registers it first and looks here then. So one of the two sees
/// the other, and the answer that nothing of it runs stays true.
public final class EndedExecs: Sendable {
    private let execs = Mutex(RecentSet<ExecID>(limit: Limits.endedExecsRemembered))
    private let starting = Mutex<Set<ExecID>>([])

    public init() {}

    public func insert(_ exec: ExecID) { execs.withLock { $0.insert(exec) } }

    public func contains(_ exec: ExecID) -> Bool { execs.withLock { $0.contains(exec) } }

    /// Runs what starts a command. Meanwhile it is no unknown one for those who want to end it.
    public func whileStarting<Value>(_ exec: ExecID, _ start: () async throws -> Value) async rethrows -> Value {
        let isFirst = starting.withLock { $0.insert(exec).inserted }
        defer { if isFirst { _ = starting.withLock { $0.remove(exec) } } }
        return try await start()
    }

    /// To be asked after `insert`: then a command that is not starting, and not known, never starts.
    public func isStarting(_ exec: ExecID) -> Bool { starting.withLock { $0.contains(exec) } }
}
