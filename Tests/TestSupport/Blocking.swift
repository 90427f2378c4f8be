import Foundation

/// Runs what waits for another program on a thread of its own. Swift has as few threads for tasks as the machine has processors: two
/// tests that block them and wait for a third one's next step wait for ever.
package func blocking<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
        Thread.detachNewThread { continuation.resume(with: Result { try body() }) }
    }
}
