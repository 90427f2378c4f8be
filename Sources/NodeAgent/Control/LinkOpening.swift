import Synchronization

/// Tells those who wait whether a link has come so far that calls may be served. Told once.
final class LinkOpening: Sendable {
    private struct State {
        var isOpen: Bool?
        var waiters: [CheckedContinuation<Bool, Never>] = []
    }

    private let state = Mutex(State())

    /// Only the first call counts.
    func settle(_ isOpen: Bool) {
        let waiters = state.withLock { state -> [CheckedContinuation<Bool, Never>] in
            guard state.isOpen == nil else { return [] }
            state.isOpen = isOpen
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume(returning: isOpen) }
    }

    var isOpen: Bool {
        get async {
            await withCheckedContinuation { waiter in
                let settled = state.withLock { state -> Bool? in
                    if state.isOpen == nil { state.waiters.append(waiter) }
                    return state.isOpen
                }
                if let settled { waiter.resume(returning: settled) }
            }
        }
    }
}
