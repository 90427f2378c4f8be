import FastableCore
import HummingbirdCore
import NIOCore

/// Carries raw bytes from a source to an answer: a task of its own reads the source, so that it ends at once when the client goes
/// away, even while the source is silent.
enum BytePump {
    private enum Item: Sendable {
        case bytes(ByteBuffer)
        case end((any Error)?)
    }

    /// - Parameter keepAlive: sent when the source was silent for `EventStream.keepAliveTime`.
    static func reply(
        _ source: ByteSequence, type: String, length: Int? = nil, keepAlive: ByteBuffer? = nil, for request: APIRequest
    ) -> Reply {
        let loop = request.eventLoop
        let watch = request.watch
        return Reply.stream(type: type, length: length) { output in
            let queue = OutputQueue<Item>(limit: Limits.streamWindowBytes)
            let task = Task {
                do {
                    for try await part in source { try await queue.send(.bytes(part), bytes: part.readableBytes) }
                    queue.finish(with: .end(nil))
                } catch {
                    queue.finish(with: .end(error))
                }
            }
            let number = watch.onDisconnect { task.cancel() }
            defer {
                watch.forget(number)
                task.cancel()
                queue.abandon()
            }
            try await write(from: queue, to: &output, keepAlive, on: loop)
        }
    }

    private static func write(
        from queue: OutputQueue<Item>, to output: inout any ResponseBodyWriter, _ keepAlive: ByteBuffer?,
        on loop: any EventLoop
    ) async throws {
        let patience = keepAlive == nil ? nil : EventStream.keepAliveTime
        while true {
            switch try await queue.next(on: loop, within: patience) {
            case .finished: return
            case .quiet: if let keepAlive { try await output.write(keepAlive) }
            case .elements(let items): try await write(items, to: &output)
            }
        }
    }

    private static func write(_ items: [Item], to output: inout any ResponseBodyWriter) async throws {
        var parts: [ByteBuffer] = []
        for item in items {
            switch item {
            case .bytes(let bytes): parts.append(bytes)
            case .end(let failure?):
                try await output.write(contentsOf: parts)
                throw failure
            case .end(nil): break
            }
        }
        try await output.write(contentsOf: parts)
    }
}
