public import FastableCore
import Synchronization

/// What is open for each token: answers that go on and on, and terminals. It ends when its token is revoked.
public final class OpenStreams: Sendable {
    private struct State {
        var open: [TokenID: [UInt64: @Sendable () -> Void]] = [:]
        var count: UInt64 = 0
        /// A token may be revoked after its request was let in, and before what it opens stands here.
        var revoked = RecentSet<TokenID>(limit: Limits.revokedTokensRemembered)
    }

    private let state = Mutex(State())

    package init() {}

    /// Calls `end` once when the token is revoked, at once when it was. Undone by `close`.
    public func open(_ token: TokenID, ending end: @escaping @Sendable () -> Void) -> UInt64 {
        let (number, isRevoked) = state.withLock { state in
            state.count += 1
            let isRevoked = state.revoked.contains(token)
            if !isRevoked { state.open[token, default: [:]][state.count] = end }
            return (state.count, isRevoked)
        }
        if isRevoked { end() }
        return number
    }

    public func close(_ token: TokenID, _ number: UInt64) {
        state.withLock { state in
            state.open[token]?[number] = nil
            if state.open[token]?.isEmpty ?? false { state.open[token] = nil }
        }
    }

    /// The token is worthless from now on.
    package func end(_ token: TokenID) {
        let ends = state.withLock { state in
            state.revoked.insert(token)
            return state.open.removeValue(forKey: token)
        }
        for end in (ends ?? [:]).values { end() }
    }
}
