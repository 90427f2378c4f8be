import FastableCore
import Synchronization

/// The running tool calls of legacy clients, so that `notifications/cancelled` finds them.
///
/// A key holds the token and the session beside the request's id: nobody can cancel another client's call by guessing ids, which
/// count from 1 in every client.
package final class RunningCalls: Sendable {
    package struct Key: Hashable, Sendable {
        var token: TokenID
        var session: RequestID?
        var request: MCPRequestID
    }

    private struct Call {
        let serial: UInt64
        let cancel: @Sendable () -> Void
    }

    private struct State {
        var calls: [Key: Call] = [:]
        var nextSerial: UInt64 = 0
    }

    private let state = Mutex(State())

    package init() {}

    /// A client that uses an id twice at once can cancel the newer call only.
    func register(_ key: Key, cancel: @escaping @Sendable () -> Void) -> UInt64 {
        state.withLock { state in
            defer { state.nextSerial += 1 }
            state.calls[key] = Call(serial: state.nextSerial, cancel: cancel)
            return state.nextSerial
        }
    }

    func remove(_ key: Key, serial: UInt64) {
        state.withLock { if $0.calls[key]?.serial == serial { $0.calls[key] = nil } }
    }

    /// An unknown or finished call is ignored, as the protocol wants it.
    func cancel(_ key: Key) {
        let call = state.withLock { $0.calls[key] }
        call?.cancel()
    }
}
