import HummingbirdCore
import NIOCore

/// Carries raw bytes from a source to an answer.
enum BytePump {
    private enum Item: Sendable {
        case bytes(ByteBuffer)
        case end((any Error)?)
    }

    /// - Parameter keepAlive: sent when the source was silent for `EventStream.keepAliveTime`.
    static func reply(
        _ source: ByteSequence, type: String, length: Int? = nil, keepAlive: ByteBuffer? = nil, for request: APIRequest
    ) -> Reply {
        let patience = keepAlive == nil ? nil : EventStream.keepAliveTime
        return Reply.stream(type: type, length: length) { output in
            try await SourcePump.run(for: request, quietAfter: patience) { (queue: OutputQueue<Item>) in
                do {
                    for try await part in source { try await queue.send(.bytes(part), bytes: part.readableBytes) }
                    queue.finish(with: .end(nil))
                } catch {
                    queue.finish(with: .end(error))
                }
            } _: { items in
                if items.isEmpty, let keepAlive { return try await output.write(keepAlive) }
                try await write(items, to: &output)
            }
        }
    }

    private static func write(_ items: [Item], to output: inout any ResponseBodyWriter) async throws {
        var parts: [ByteBuffer] = []
        var failure: (any Error)?
        for item in items {
            switch item {
            case .bytes(let bytes): parts.append(bytes)
            case .end(let error): failure = error
            }
        }
        try await output.write(contentsOf: parts)
        if let failure { throw failure }
    }
}
