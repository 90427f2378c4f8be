import FoundationEssentials
package import HTTPTypes
package import HummingbirdCore
package import NIOCore

/// What a route answers.
package struct Reply: Sendable {
    package enum Body: Sendable {
        case bytes(ByteBuffer)
        /// Written as it comes. `length` is announced when it is known; otherwise the body is sent in chunks.
        /// An error thrown in the middle breaks the connection, so that the client sees that something is missing.
        case stream(length: Int?, @Sendable (inout any ResponseBodyWriter) async throws -> Void)
        /// The connection becomes a WebSocket: each piece that is written is one message, and the request's body are the
        /// client's messages.
        case socket(@Sendable (inout any ResponseBodyWriter) async -> Void)
    }

    package var status: HTTPResponse.Status
    package var headers: HTTPFields
    package var body: Body

    init(_ status: HTTPResponse.Status, headers: HTTPFields = [:], body: Body = .bytes(ByteBuffer())) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    static func bytes(_ status: HTTPResponse.Status = .ok, type: String, _ body: ByteBuffer) -> Reply {
        Reply(status, headers: [.contentType: type], body: .bytes(body))
    }

    static func json(_ body: Data, _ status: HTTPResponse.Status = .ok) -> Reply {
        json(ByteBuffer(bytes: body), status)
    }

    static func json(_ body: ByteBuffer, _ status: HTTPResponse.Status = .ok) -> Reply {
        bytes(status, type: "application/json", body)
    }

    static func stream(
        type: String, length: Int? = nil,
        _ write: @escaping @Sendable (inout any ResponseBodyWriter) async throws -> Void
    ) -> Reply {
        Reply(.ok, headers: [.contentType: type], body: .stream(length: length, write))
    }
}

extension HTTPField.Name {
    static let requestID = constant("X-Request-Id")
    static let accelBuffering = constant("X-Accel-Buffering")
    static let lastEventID = constant("Last-Event-ID")
    static let upgrade = constant("Upgrade")
    /// The place of an answer's first byte in the command's output.
    static let streamOffset = constant("X-Fastable-Offset")
    static let mcpProtocolVersion = constant("MCP-Protocol-Version")
    static let mcpMethod = constant("Mcp-Method")
    static let mcpName = constant("Mcp-Name")
    static let mcpSession = constant("Mcp-Session-Id")

    private static func constant(_ name: String) -> HTTPField.Name {
        guard let name = HTTPField.Name(name) else { preconditionFailure("‘\(name)’ is no header name") }
        return name
    }
}
