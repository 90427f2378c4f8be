import FastableCore
import Synchronization

/// The execs of a container that init holds: running ones, and ended ones until their record is complete.
final class ExecRegistry: Sendable {
    private struct State {
        var byID: [ExecID: ExecSession] = [:]
        var byNumber: [UInt32: ExecSession] = [:]
    }

    private let state = Mutex(State())

    subscript(exec: ExecID) -> ExecSession? { state.withLock { $0.byID[exec] } }

    subscript(number: UInt32) -> ExecSession? { state.withLock { $0.byNumber[number] } }

    var all: [ExecSession] { state.withLock { Array($0.byID.values) } }

    var runningCount: Int { all.count { $0.status.running } }

    /// `false` when the id or the number is taken.
    func add(_ session: ExecSession) -> Bool {
        state.withLock { state in
            guard state.byID[session.exec] == nil, state.byNumber[session.number] == nil else { return false }
            state.byID[session.exec] = session
            state.byNumber[session.number] = session
            return true
        }
    }

    func remove(_ session: ExecSession) {
        state.withLock { state in
            guard state.byID[session.exec] === session else { return }
            state.byID[session.exec] = nil
            state.byNumber[session.number] = nil
        }
    }
}
