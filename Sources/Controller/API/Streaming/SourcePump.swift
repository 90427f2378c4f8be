import FastableCore
import NIOCore

/// Carries what a source gives to an answer. A task of its own reads the source, so that it ends at once when the client goes away,
/// even while the source is silent.
enum SourcePump {
    /// Gives `write` everything that `source` puts into its queue, many items at a time, and nothing after `quietAfter` without
    /// any. Returns when the source has finished its queue and all was written.
    static func run<Item: Sendable>(
        for request: APIRequest, quietAfter: TimeAmount? = nil,
        from source: @escaping @Sendable (OutputQueue<Item>) async -> Void, _ write: ([Item]) async throws -> Void
    ) async throws {
        let queue = OutputQueue<Item>(limit: Limits.streamWindowBytes)
        let task = Task(executorPreference: request.executor) { await source(queue) }
        let number = request.watch.onDisconnect { task.cancel() }
        defer {
            request.watch.forget(number)
            task.cancel()
            queue.abandon()
        }
        while true {
            switch try await queue.next(on: request.eventLoop, within: quietAfter) {
            case .elements(let items): try await write(items)
            case .quiet: try await write([])
            case .finished: return
            }
        }
    }
}
