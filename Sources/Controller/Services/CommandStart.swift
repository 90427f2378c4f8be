import FastableCore
import Synchronization

/// Tells those who wait that the command of a change has started, and its id; or that there is no such start.
final class CommandStart: Sendable {
    private struct State {
        var exec: ExecID?
        var isSettled = false
        var waiters: [CheckedContinuation<ExecID?, Never>] = []
    }

    private let state = Mutex(State())

    /// Only the first call counts.
    func settle(_ exec: ExecID?) {
        let waiters = state.withLock { state -> [CheckedContinuation<ExecID?, Never>] in
            guard !state.isSettled else { return [] }
            state.isSettled = true
            state.exec = exec
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume(returning: exec) }
    }

    var exec: ExecID? {
        get async {
            await withCheckedContinuation { waiter in
                let settled = state.withLock { state -> State? in
                    if !state.isSettled { state.waiters.append(waiter) }
                    return state.isSettled ? state : nil
                }
                if let settled { waiter.resume(returning: settled.exec) }
            }
        }
    }
}
