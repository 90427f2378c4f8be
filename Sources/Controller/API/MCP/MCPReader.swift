import ControllerServices
import FastableCore
package import FoundationEssentials

/// Understands or refuses one POST to the MCP endpoint. Pure: bytes and headers in, a message or a failure out.
///
/// Both eras share the endpoint. A request that carries modern metadata in `_meta`, or names the modern revision in its header, is
/// modern; everything else is legacy.
package struct MCPReader {
    static let versionKey = "io.modelcontextprotocol/protocolVersion"
    static let capabilitiesKey = "io.modelcontextprotocol/clientCapabilities"
    static let progressKey = "progressToken"
    /// What the header `Idempotency-Key` is for REST.
    static let idempotencyKey = "fastable.dev/idempotencyKey"

    private let headers: MCPHeaders
    private let method: String
    private let params: [String: JSONValue]

    package static func read(_ body: Data, headers: MCPHeaders) throws(MCPFailure) -> MCPMessage {
        let members = try object(body)
        let id = MCPRequestID(members["id"])
        let isNotification = members["id"] == nil
        guard members["jsonrpc"] == "2.0", let method = members["method"]?.string, isNotification || id != nil else {
            throw MCPFailure(
                .invalidRequest,
                "The body must be one JSON-RPC 2.0 request, with a string or integer ‘id’, or one notification.", id: id
            )
        }
        let params = members["params"] ?? .object([:])
        guard let params = params.object else {
            throw MCPFailure(.invalidRequest, "‘params’ must be an object.", id: id)
        }
        let reader = MCPReader(headers: headers, method: method, params: params)
        try reader.refuseRepeatedHeaders(id)
        if let id { return .request(try reader.request(id)) }
        return .notification(try reader.notification())
    }

    private static func object(_ body: Data) throws(MCPFailure) -> [String: JSONValue] {
        let value: JSONValue
        do {
            value = try JSONParser.parse(body)
        } catch {
            let message = FastableError.unexpected(error, doing: "reading the request").message
            throw MCPFailure(.parseError, message, id: nil)
        }
        guard let members = value.object else {
            throw MCPFailure(
                .invalidRequest, "The body must be one JSON-RPC message; this protocol has no batches.", id: nil)
        }
        return members
    }

    // MARK: notifications

    private func notification() throws(MCPFailure) -> MCPNotification {
        if let version = headers.protocolVersion.first {
            guard let revision = MCPRevision(rawValue: version) else {
                throw MCPFailure.unsupportedVersion(version, id: nil)
            }
            // A modern client cancels by closing its stream: nobody may cancel by naming somebody's request id.
            if revision.isModern { return .other }
        }
        if method == "notifications/cancelled", let id = MCPRequestID(params["requestId"]) { return .cancelled(id) }
        return .other
    }

    // MARK: requests

    private func request(_ id: MCPRequestID) throws(MCPFailure) -> MCPRequest {
        let claimsModern =
            params["_meta"]?[Self.versionKey] != nil || headers.protocolVersion.first.map(isModern) == true
        if claimsModern {
            try checkEnvelope(id)
            return MCPRequest(id: id, revision: .v20260728, call: try modernCall(id))
        }
        if method == "initialize" { return try initialize(id) }
        let revision = try legacyRevision(id)
        return MCPRequest(id: id, revision: revision, call: try legacyCall(id, revision))
    }

    private func isModern(_ version: String) -> Bool { MCPRevision(rawValue: version)?.isModern == true }

    private func legacyRevision(_ id: MCPRequestID) throws(MCPFailure) -> MCPRevision {
        guard let version = headers.protocolVersion.first else { return .withoutHeader }
        guard let revision = MCPRevision(rawValue: version) else {
            throw MCPFailure.unsupportedVersion(version, id: id)
        }
        return revision
    }

    /// The checks of a modern request, in the order in which the first that fails is the most helpful answer.
    private func checkEnvelope(_ id: MCPRequestID) throws(MCPFailure) {
        let meta = params["_meta"]
        for key in [Self.versionKey, Self.capabilitiesKey] where meta?[key] == nil {
            throw MCPFailure(.invalidParams, "‘params._meta’ must have ‘\(key)’.", id: id)
        }
        guard meta?[Self.capabilitiesKey]?.object != nil else {
            throw MCPFailure(.invalidParams, "‘\(Self.capabilitiesKey)’ must be an object.", id: id)
        }
        guard let version = meta?[Self.versionKey]?.string else {
            throw MCPFailure(.invalidParams, "‘\(Self.versionKey)’ must be a string.", id: id)
        }
        try compare("MCP-Protocol-Version", headers.protocolVersion.first, with: version, id)
        try compare("Mcp-Method", headers.method.first, with: method, id)
        if method == "tools/call", let name = params["name"]?.string {
            try compare("Mcp-Name", headers.name.first.flatMap(MCPHeaderValue.decode), with: name, id)
        }
        guard isModern(version) else { throw MCPFailure.unsupportedVersion(version, id: id) }
    }

    /// A header that says something else than the body would let a proxy and this server act on different things.
    private func compare(
        _ header: String, _ value: String?, with wanted: String, _ id: MCPRequestID
    ) throws(MCPFailure) {
        guard value != wanted else { return }
        throw MCPFailure(
            .headerMismatch,
            value == nil
                ? "The header ‘\(header)’ is missing or malformed." : "The header ‘\(header)’ does not match the body.",
            id: id)
    }

    private func refuseRepeatedHeaders(_ id: MCPRequestID?) throws(MCPFailure) {
        let all = [
            ("MCP-Protocol-Version", headers.protocolVersion), ("Mcp-Method", headers.method),
            ("Mcp-Name", headers.name),
        ]
        for (name, values) in all where values.count > 1 {
            throw MCPFailure(.headerMismatch, "The header ‘\(name)’ stands there more than once.", id: id)
        }
    }

    // MARK: calls

    private func modernCall(_ id: MCPRequestID) throws(MCPFailure) -> MCPRequest.Call {
        switch method {
        case "server/discover": return .discover
        case "tools/list": return try listTools(id, isModern: true)
        case "tools/call": return .callTool(try toolCall(id, isModern: true))
        default: throw MCPFailure.methodNotFound(method, id: id, revision: .v20260728)
        }
    }

    private func legacyCall(_ id: MCPRequestID, _ revision: MCPRevision) throws(MCPFailure) -> MCPRequest.Call {
        switch method {
        case "ping": return .ping
        case "tools/list": return try listTools(id, isModern: false)
        case "tools/call": return .callTool(try toolCall(id, isModern: false))
        default: throw MCPFailure.methodNotFound(method, id: id, revision: revision)
        }
    }

    private func initialize(_ id: MCPRequestID) throws(MCPFailure) -> MCPRequest {
        guard let wanted = params["protocolVersion"]?.string else {
            throw MCPFailure(.invalidParams, "‘params.protocolVersion’ must be a string.", id: id, isModern: false)
        }
        // An unknown version is answered with one that we speak; whether to go on is the client's decision.
        let known = MCPRevision(rawValue: wanted).flatMap { $0.isModern ? nil : $0 }
        return MCPRequest(id: id, revision: known ?? .newestLegacy, call: .initialize)
    }

    private func listTools(_ id: MCPRequestID, isModern: Bool) throws(MCPFailure) -> MCPRequest.Call {
        switch params["cursor"] {
        case nil, .null: return .listTools
        default:
            throw MCPFailure(
                .invalidParams, "‘cursor’ is not one that this server gave: the list has one page.", id: id,
                isModern: isModern)
        }
    }

    private func toolCall(_ id: MCPRequestID, isModern: Bool) throws(MCPFailure) -> MCPToolCall {
        func invalid(_ message: String) -> MCPFailure {
            MCPFailure(.invalidParams, message, id: id, isModern: isModern)
        }
        guard let name = params["name"]?.string else { throw invalid("‘params.name’ must be a string.") }
        var arguments = params["arguments"] ?? .object([:])
        if arguments == .null { arguments = .object([:]) }
        guard arguments.object != nil, let data = try? JSON.encode(arguments) else {
            throw invalid("‘params.arguments’ must be an object.")
        }
        let token = params["_meta"]?[Self.progressKey]
        let progressToken = MCPRequestID(token)
        guard token == nil || progressToken != nil else {
            throw invalid("‘params._meta.progressToken’ must be a string or an integer.")
        }
        let key = params["_meta"]?[Self.idempotencyKey]
        guard key == nil || key?.string.map(IdempotencyKey.isKey) == true else {
            throw invalid("‘params._meta.\(Self.idempotencyKey)’ must have \(IdempotencyKey.rule).")
        }
        return MCPToolCall(
            name: name, arguments: data, progressToken: progressToken, idempotencyKey: key?.string)
    }
}
