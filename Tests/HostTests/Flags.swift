import Synchronization

/// Raised once.
final class Flag: Sendable {
    private let state = Mutex(false)
    var isRaised: Bool { state.withLock { $0 } }
    func raise() { state.withLock { $0 = true } }

    /// Whether something comes true before the flag is up. Looks at short times for what lives for a moment only.
    func tries(_ body: () -> Bool) async throws -> Bool {
        while !body() {
            if isRaised { return false }
            try await Task.sleep(for: .milliseconds(1))
        }
        return true
    }
}

final class Counter: Sendable {
    private let state = Mutex(0)
    var count: Int { state.withLock { $0 } }
    func add() { state.withLock { $0 += 1 } }
}
