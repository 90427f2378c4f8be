import FastableCore
import FastableWire
import FoundationEssentials
import NIOCore
import NIOFoundationEssentialsCompat

/// Calls from the node to its controller: one message there, one back.
struct ControllerCalls: Sendable {
    let connection: MuxConnection

    func call<Arguments: Codable & Sendable, Value: Codable & Sendable>(
        _ method: NodeMethod, _ arguments: Arguments, returning: Value.Type
    ) async throws -> Value {
        let request = NodeRequest(method: method, requestID: RequestID(), arguments: arguments)
        let stream = try await connection.open(ByteBuffer(data: try request.opening()))
        return try await withThrowingTaskGroup(of: Value.self) { group in
            group.addTask {
                // The answer may have come already, and with it the end of the controller's interest in more.
                try? await stream.finish()
                while let event = try await stream.next() {
                    guard case .message(let payload) = event else { continue }
                    return try JSON.decode(NodeReply<Value>.self, from: Data(buffer: payload)).get()
                }
                throw FastableError(.unavailable, "The controller ended ‘\(method.rawValue)’ without an answer.")
            }
            group.addTask {
                try await Task.sleep(for: .seconds(Limits.controlCallSeconds))
                throw FastableError(.timeout, "The controller did not answer ‘\(method.rawValue)’.")
            }
            defer { group.cancelAll() }
            do {
                guard let value = try await group.next() else { throw CancellationError() }
                return value
            } catch {
                stream.reset(FastableError.unexpected(error, doing: "calling the controller"))
                throw error
            }
        }
    }
}
