import FastableCore
import FastableWire
import Synchronization

/// Ends a stream on which nothing has come for too long: a node whose disk hangs must not hold a place for ever.
final class StallGuard: Sendable {
    private let last = Mutex(ContinuousClock.now)

    private init() {}

    func touch() { last.withLock { $0 = .now } }

    /// Runs the body, which calls `touch` whenever something comes.
    static func watch<Value: Sendable>(
        _ stream: MuxStream, seconds: Int, _ body: (StallGuard) async throws -> Value
    ) async throws -> Value {
        let guarding = StallGuard()
        let watcher = Task {
            while true {
                let deadline = guarding.last.withLock(\.self) + .seconds(seconds)
                if deadline <= .now { break }
                try await Task.sleep(until: deadline, clock: .continuous)
            }
            stream.reset(
                FastableError(
                    .timeout, "The node sent nothing for \(seconds) seconds. Try again.", retryAfterSeconds: 60))
        }
        defer { watcher.cancel() }
        return try await body(guarding)
    }
}
