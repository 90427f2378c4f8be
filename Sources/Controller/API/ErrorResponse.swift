package import FastableCore
import FoundationEssentials
package import HTTPTypes
import NIOCore

// The one table of status codes. Nothing else in the product says which HTTP status an error has.

extension FastableError.Code {
    package var status: HTTPResponse.Status {
        switch self {
        case .invalid: .badRequest
        case .unprocessable: .unprocessableContent
        case .unauthenticated: .unauthorized
        case .forbidden: .forbidden
        case .notFound: .notFound
        case .conflict, .ambiguous: .conflict
        case .stale: .preconditionFailed
        case .gone: .gone
        case .binary: .unsupportedMediaType
        case .tooLarge: .contentTooLarge
        case .limit: .tooManyRequests
        case .unavailable: .serviceUnavailable
        case .timeout: .gatewayTimeout
        // Not registered, but what proxies' logs have called it for years. Usually nobody is left to read it.
        case .cancelled: HTTPResponse.Status(code: 499, reasonPhrase: "Client Closed Request")
        case .internal: .internalServerError
        }
    }

    /// For people: what kind of problem it is, the same for every occurrence.
    var title: String {
        switch self {
        case .invalid: "The request is not valid"
        case .unprocessable: "The request cannot be carried out as it stands"
        case .unauthenticated: "Authentication is needed"
        case .forbidden: "Not allowed"
        case .notFound: "Not found"
        case .conflict: "In conflict with what is there"
        case .ambiguous: "More than one thing fits"
        case .stale: "It was changed in the meantime"
        case .gone: "It no longer exists"
        case .binary: "Not text"
        case .tooLarge: "Too large"
        case .limit: "A limit was reached"
        case .unavailable: "Not available at the moment"
        case .timeout: "It took too long"
        case .cancelled: "Cancelled"
        case .internal: "Internal error"
        }
    }
}

extension MCPFailure {
    /// Failures of the protocol itself are 400. Legacy clients get those of a method or its parameters under 200, as their
    /// revisions have it.
    var status: HTTPResponse.Status {
        switch code {
        case .parseError, .invalidRequest, .headerMismatch, .unsupportedProtocolVersion: .badRequest
        case .methodNotFound: isModern ? .notFound : .ok
        case .invalidParams: isModern ? .badRequest : .ok
        }
    }
}

/// An answer that is an error: `application/problem+json` (RFC 9457).
enum ErrorResponse {
    static let mediaType = "application/problem+json"

    static func reply(_ error: FastableError, requestID: RequestID) -> Reply {
        var reply = Reply.bytes(error.code.status, type: mediaType, body(error, requestID))
        if let seconds = error.retryAfterSeconds { reply.headers[.retryAfter] = "\(seconds)" }
        if error.code == .unauthenticated { reply.headers[.wwwAuthenticate] = "Bearer realm=\"fastable\"" }
        return reply
    }

    /// The path exists, but not for this method.
    static func wrongMethod(allowed: [HTTPRequest.Method], requestID: RequestID) -> Reply {
        let list = allowed.map(\.rawValue).joined(separator: ", ")
        let error = FastableError(
            .invalid, "This path takes \(list).", details: ["allowed": .array(allowed.map { .string($0.rawValue) })])
        var reply = Reply.bytes(
            .methodNotAllowed, type: mediaType, body(error, requestID, status: .methodNotAllowed))
        reply.headers[.allow] = list
        return reply
    }

    /// The path is a WebSocket's.
    static func upgradeRequired(requestID: RequestID) -> Reply {
        let error = FastableError(
            .invalid,
            "This path is a WebSocket: send a GET with ‘Upgrade: websocket’, ‘Connection: Upgrade’ and "
                + "‘Sec-WebSocket-Version: 13’ by HTTP/1.1, and not behind a request that is not answered yet.")
        var reply = Reply.bytes(.upgradeRequired, type: mediaType, body(error, requestID, status: .upgradeRequired))
        reply.headers[.upgrade] = "websocket"
        reply.headers[.secWebSocketVersion] = "13"
        return reply
    }

    /// No byte of the wanted range is in the file.
    static func rangeOutside(size: Int64, requestID: RequestID) -> Reply {
        let error = FastableError(
            .unprocessable, "The range lies outside of the file, which has \(size) bytes.",
            details: ["sizeBytes": .integer(size)])
        var reply = Reply.bytes(
            .rangeNotSatisfiable, type: mediaType, body(error, requestID, status: .rangeNotSatisfiable))
        reply.headers[.contentRange] = "bytes */\(size)"
        return reply
    }

    /// A file is kept as it comes: its name would say another thing than its bytes.
    static func codingNotTaken(_ coding: String, requestID: RequestID) -> Reply {
        let error = FastableError(
            .invalid,
            "A file cannot come with the ‘Content-Encoding’ ‘\(coding.prefix(64))’, which would be kept as it is. Send the file's own bytes "
                + "without that header; trees may come compressed (`PUT …/fs/tree`).",
            details: ["field": "Content-Encoding"])
        let status = HTTPResponse.Status.unsupportedMediaType
        var reply = Reply.bytes(status, type: mediaType, body(error, requestID, status: status))
        // RFC 9110, section 12.5.3: what it may come with instead.
        reply.headers[.acceptEncoding] = "identity"
        return reply
    }

    private static func body(
        _ error: FastableError, _ requestID: RequestID, status: HTTPResponse.Status? = nil
    ) -> ByteBuffer {
        var problem: [String: JSONValue] = [
            "type": .string("urn:fastable:error:\(error.code.rawValue)"),
            "title": .string(error.code.title),
            "status": .integer(Int64((status ?? error.code.status).code)),
            "detail": .string(error.message),
            "code": .string(error.code.rawValue),
            "requestId": .string(requestID.description),
        ]
        if !error.details.isEmpty { problem["details"] = .object(error.details) }
        if let seconds = error.retryAfterSeconds { problem["retryAfterSeconds"] = .integer(Int64(seconds)) }
        // Encoding these values cannot fail; an empty body would still leave the status.
        return ByteBuffer(bytes: (try? JSON.encode(problem)) ?? Data())
    }
}
