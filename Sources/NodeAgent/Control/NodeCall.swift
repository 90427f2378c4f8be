package import FastableCore
package import FastableWire
package import FoundationEssentials
import NIOCore
import NIOFoundationEssentialsCompat

/// One stream of the link as a call: its arguments in, its reply out.
package struct NodeCall: Sendable {
    let stream: MuxStream
    let opening: Data
    let requestID: RequestID
    let uses = CallUses()

    package init(stream: MuxStream, opening: Data, requestID: RequestID) {
        self.stream = stream
        self.opening = opening
        self.requestID = requestID
    }

    func arguments<Arguments: Codable & Sendable>(_ type: Arguments.Type = Arguments.self) throws -> Arguments {
        try NodeRequest<Arguments>(opening: opening).arguments
    }

    /// A unary call: decodes, runs, replies.
    package func answer<Arguments: Codable & Sendable, Value: Codable & Sendable>(
        _ body: (Arguments) async throws -> Value
    ) async throws {
        let value = try await body(try arguments())
        try await reply(NodeReply.success(value))
    }

    package func reply(_ reply: NodeReply<some Codable & Sendable>) async throws {
        let answer = ByteBuffer(data: try JSON.encode(reply))
        if answer.readableBytes <= Limits.controlMessageBytes {
            try await stream.send(message: answer)
        } else {
            // A large answer, such as the text of a long file, travels as bytes: they need not fit into one frame.
            try await stream.send(data: answer, channel: 1)
        }
        // Who has its answer may be gone before it hears that nothing follows.
        try? await stream.finish()
    }

    func send(_ message: some Encodable) async throws {
        try await stream.send(message: ByteBuffer(data: try JSON.encode(message)))
    }
}
