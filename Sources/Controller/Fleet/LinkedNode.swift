import FastableCore
import FastableWire
import FoundationEssentials
import NIOCore
import NIOFoundationEssentialsCompat

/// `NodeClient` over one link.
final class LinkedNode: NodeClient {
    let node: NodeID
    let connection: MuxConnection

    init(node: NodeID, connection: MuxConnection) {
        self.node = node
        self.connection = connection
    }

    func open<Arguments: Codable & Sendable>(
        _ method: NodeMethod, _ arguments: Arguments, request: RequestID
    ) async throws -> MuxStream {
        let opening = try NodeRequest(method: method, requestID: request, arguments: arguments).opening()
        return try await connection.open(ByteBuffer(data: opening))
    }

    func call<Arguments: Codable & Sendable, Value: Codable & Sendable>(
        _ method: NodeMethod, _ arguments: Arguments, returning: Value.Type, request: RequestID, timeout: Duration
    ) async throws -> Value {
        let stream = try await open(method, arguments, request: request)
        let deadline = stream.schedule(after: timeout) { [node] in
            stream.reset(
                FastableError(
                    .timeout, "The node did not answer ‘\(method.rawValue)’ within \(timeout). Try again.",
                    context: "node \(node)"))
        }
        defer { deadline.cancel() }
        do {
            return try await answer(to: method, on: stream)
        } catch {
            // The node stops working on it.
            stream.reset(FastableError.unexpected(error, doing: "calling the node"))
            throw error
        }
    }

    private func answer<Value: Codable & Sendable>(to method: NodeMethod, on stream: MuxStream) async throws -> Value {
        var large = ByteBuffer()
        while let event = try await stream.next() {
            switch event {
            case .message(let payload): return try reply(Value.self, to: method, in: payload).get()
            case .data(_, var bytes):
                guard large.readableBytes + bytes.readableBytes <= Limits.callReplyBytes else {
                    throw FastableError(.tooLarge, "The answer is larger than \(Limits.callReplyBytes) bytes.")
                }
                large.writeBuffer(&bytes)
            case .end: break
            }
        }
        if large.readableBytes > 0 {
            // Others of the same event loop need not wait for that.
            return try await withTaskExecutorPreference(globalConcurrentExecutor) { [large] in
                try reply(Value.self, to: method, in: large).get()
            }
        }
        throw FastableError(
            .internal, "The node ended ‘\(method.rawValue)’ without an answer. Try again.", context: "node \(node)")
    }

    /// What a node sends wrongly is no mistake of the one who asked.
    private func reply<Value: Codable & Sendable>(
        _ type: Value.Type, to method: NodeMethod, in payload: ByteBuffer
    ) throws -> NodeReply<Value> {
        do {
            return try JSON.decode(from: Data(buffer: payload))
        } catch {
            throw FastableError(
                .internal, "The node's answer to ‘\(method.rawValue)’ cannot be read. Are both of the same version?",
                context: "node \(node): \(error)")
        }
    }
}
