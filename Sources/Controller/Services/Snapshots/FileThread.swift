import Dispatch

/// Runs what may wait for the disk on a thread beside Swift's few, one call after the other.
final class FileThread: Sendable {
    private let queue = DispatchQueue(label: "fastable.archive")

    func run<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            queue.async { continuation.resume(with: Result { try body() }) }
        }
    }
}
