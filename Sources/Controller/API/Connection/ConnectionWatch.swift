import Synchronization

/// What a running request wants to know about its connection: whether the client is still there.
///
/// HTTP/1.1 has no word for "I no longer want the answer" but closing the connection. A command that nobody waits for must end,
/// so every operation registers here.
package final class ConnectionWatch: Sendable {
    /// The connection that the current task serves; set around each connection's request loop.
    @TaskLocal package static var current: ConnectionWatch?

    private struct State {
        var isGone = false
        var actions: [UInt64: @Sendable () -> Void] = [:]
        var nextAction: UInt64 = 0
        var sendContinue: (@Sendable () -> Void)?
        var mayBecomeWebSocket = false
    }

    private let state = Mutex(State())

    package init() {}

    package var isGone: Bool { state.withLock { $0.isGone } }

    /// Calls `action` once when the client goes away, at once when it has gone. Undone by `forget`.
    package func onDisconnect(_ action: @escaping @Sendable () -> Void) -> UInt64 {
        let (number, isGone) = state.withLock { state in
            let number = state.nextAction
            state.nextAction += 1
            if !state.isGone { state.actions[number] = action }
            return (number, state.isGone)
        }
        if isGone { action() }
        return number
    }

    package func forget(_ number: UInt64) {
        state.withLock { _ = $0.actions.removeValue(forKey: number) }
    }

    /// The client closed its side, or the connection broke.
    package func clientHasGone() {
        let actions = state.withLock { state in
            state.isGone = true
            defer { state.actions = [:] }
            return Array(state.actions.values)
        }
        for action in actions { action() }
    }

    /// A request arrives. `sendContinue` is there when its client waits for `100 Continue` before it sends the body.
    func requestBegan(sendContinue: (@Sendable () -> Void)?, mayBecomeWebSocket: Bool) {
        state.withLock { state in
            state.sendContinue = sendContinue
            state.mayBecomeWebSocket = mayBecomeWebSocket
        }
    }

    /// The current request may be answered with `101 Switching Protocols`.
    var mayBecomeWebSocket: Bool { state.withLock { $0.mayBecomeWebSocket } }

    /// `true` while the client still holds the body back.
    var awaitsContinue: Bool { state.withLock { $0.sendContinue != nil } }

    /// Lets the client send the body, when it waits for that.
    func allowBody() {
        let send = state.withLock { state in
            defer { state.sendContinue = nil }
            return state.sendContinue
        }
        send?()
    }
}
