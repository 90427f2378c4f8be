import Synchronization

/// Notes what happened inside of a handler, so that a test can wait for it.
final class Probe: Sendable {
    private let notes = Mutex<[String]>([])

    func note(_ text: String) { notes.withLock { $0.append(text) } }

    var all: [String] { notes.withLock { $0 } }

    /// `true` as soon as `text` was noted, `false` when it was not within `limit`.
    func saw(_ text: String, within limit: Duration = .seconds(120)) async -> Bool {
        let deadline = ContinuousClock.now + limit
        while ContinuousClock.now < deadline {
            if all.contains(text) { return true }
            try? await Task.sleep(for: .milliseconds(5))
        }
        return false
    }
}
