package import FastableCore
package import FoundationEssentials

/// The protocol revisions that the endpoint speaks, newest first.
package enum MCPRevision: String, Sendable, CaseIterable {
    case v20260728 = "2026-07-28"
    case v20251125 = "2025-11-25"
    case v20250618 = "2025-06-18"
    case v20250326 = "2025-03-26"

    /// Stateless: version and capabilities come with every request, there is no `initialize`.
    package var isModern: Bool { self == .v20260728 }

    package static let newestLegacy = MCPRevision.v20251125
    /// What a request without `MCP-Protocol-Version` speaks, by the legacy revisions' own rule.
    package static let withoutHeader = MCPRevision.v20250326

    package static var supported: JSONValue { .array(allCases.map { .string($0.rawValue) }) }
}

/// A JSON-RPC request id. `1` and `"1"` are different ids.
package enum MCPRequestID: Sendable, Hashable {
    case string(String)
    case integer(Int64)

    package init?(_ value: JSONValue?) {
        switch value {
        case .string(let text): self = .string(text)
        case .integer(let number): self = .integer(number)
        case nil, .null, .bool, .number, .array, .object: return nil
        }
    }

    package var json: JSONValue {
        switch self {
        case .string(let text): .string(text)
        case .integer(let number): .integer(number)
        }
    }
}

/// The headers that count for MCP, each with every value it was sent with.
package struct MCPHeaders: Sendable, Equatable {
    package var protocolVersion: [String]
    package var method: [String]
    package var name: [String]

    package init(protocolVersion: [String] = [], method: [String] = [], name: [String] = []) {
        self.protocolVersion = protocolVersion
        self.method = method
        self.name = name
    }
}

/// What one POST to the endpoint says.
package enum MCPMessage: Sendable, Equatable {
    case request(MCPRequest)
    case notification(MCPNotification)
}

package struct MCPRequest: Sendable, Equatable {
    package enum Call: Sendable, Equatable {
        /// Modern only.
        case discover
        /// Legacy only; the request's revision is the one that was agreed on.
        case initialize
        /// Legacy only.
        case ping
        case listTools
        case callTool(MCPToolCall)
    }

    package var id: MCPRequestID
    package var revision: MCPRevision
    package var call: Call

    package init(id: MCPRequestID, revision: MCPRevision, call: Call) {
        self.id = id
        self.revision = revision
        self.call = call
    }
}

package struct MCPToolCall: Sendable, Equatable {
    package var name: String
    /// A JSON object, as the operation takes it.
    package var arguments: Data
    /// The client wants progress notifications under this token: a string or an integer.
    package var progressToken: MCPRequestID?
    /// Names a change so that a retry does not do it twice.
    package var idempotencyKey: String?

    package init(name: String, arguments: Data, progressToken: MCPRequestID?, idempotencyKey: String? = nil) {
        self.idempotencyKey = idempotencyKey
        self.name = name
        self.arguments = arguments
        self.progressToken = progressToken
    }
}

package enum MCPNotification: Sendable, Equatable {
    /// Legacy only: a modern client closes the response stream.
    case cancelled(MCPRequestID)
    /// Nothing that the server acts on, such as `notifications/initialized`.
    case other
}
