package import FastableCore

/// A request that is refused by the protocol itself. A tool that fails is no such failure: its result says so.
package struct MCPFailure: Error, Sendable, Equatable {
    /// JSON-RPC's and MCP's error codes. No operation needs a capability of the client, so −32021 is never given.
    package enum Code: Int, Sendable, CaseIterable {
        case parseError = -32700
        case invalidRequest = -32600
        case methodNotFound = -32601
        case invalidParams = -32602
        case headerMismatch = -32020
        case unsupportedProtocolVersion = -32022
    }

    package var code: Code
    package var message: String
    package var data: JSONValue?
    /// `nil` when the id could not be read.
    package var id: MCPRequestID?
    /// The revision decides about the HTTP status: legacy clients expect errors of a call under status 200.
    package var isModern: Bool

    package init(
        _ code: Code, _ message: String, id: MCPRequestID?, isModern: Bool = true, data: JSONValue? = nil
    ) {
        self.code = code
        self.message = message
        self.id = id
        self.isModern = isModern
        self.data = data
    }

    static func unsupportedVersion(_ requested: String, id: MCPRequestID?) -> MCPFailure {
        MCPFailure(
            .unsupportedProtocolVersion, "Unsupported protocol version", id: id,
            data: ["supported": MCPRevision.supported, "requested": .string(requested)])
    }

    static func methodNotFound(_ method: String, id: MCPRequestID, revision: MCPRevision) -> MCPFailure {
        MCPFailure(
            .methodNotFound, "There is no method ‘\(method.prefix(128))’ in revision \(revision.rawValue).", id: id,
            isModern: revision.isModern)
    }
}
