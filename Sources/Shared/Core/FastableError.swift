/// The one error vocabulary: doors map it to status codes, the CLI to exit statuses.
public struct FastableError: Error, Sendable, Equatable, CustomStringConvertible {
    public var code: Code
    /// For the person or agent who asked: what happened and what to do next. Never carries a secret or a host path.
    public var message: String
    /// For the log only.
    public var context: String?
    /// Machine-readable facts that belong to the answer: `field`, `limit`, `lines`, `sha256`, …
    public var details: [String: JSONValue]
    /// When a retry makes sense, in seconds.
    public var retryAfterSeconds: Int?

    public init(
        _ code: Code, _ message: String, context: String? = nil, details: [String: JSONValue] = [:],
        retryAfterSeconds: Int? = nil
    ) {
        self.code = code
        self.message = message
        self.context = context
        self.details = details
        self.retryAfterSeconds = retryAfterSeconds
    }

    /// What kind of failure it is. An unknown code from a newer peer decodes as `internal`.
    public enum Code: String, Sendable, CaseIterable {
        case invalid
        /// The request was understood but cannot be carried out as it stands (a field's value, a no-op edit).
        case unprocessable
        case unauthenticated
        case forbidden
        case notFound = "not_found"
        case conflict
        case ambiguous
        case stale
        /// The thing existed and was replaced or removed; the handle will never work again.
        case gone
        case binary
        case tooLarge = "too_large"
        case limit
        case unavailable
        case timeout
        case cancelled
        case `internal`
    }

    public var description: String {
        context.map { "\(code.rawValue): \(message) [\($0)]" } ?? "\(code.rawValue): \(message)"
    }

    /// An unexpected failure: the person gets a neutral sentence, the log gets the cause.
    public static func unexpected(_ cause: any Error, doing what: String) -> FastableError {
        if let known = cause as? FastableError { return known }
        if cause is CancellationError { return FastableError(.cancelled, "The request was cancelled.") }
        return FastableError(
            .internal, "Something went wrong while \(what). The log of the daemon has the cause.", context: "\(cause)")
    }
}

extension FastableError: Codable {
    enum CodingKeys: String, CodingKey { case code, message, details, retryAfterSeconds }

    /// The private context is not encoded: it stays in the process that made it.
    public init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        self.init(
            Code(rawValue: try fields.decode(String.self, forKey: .code)) ?? .internal,
            try fields.decode(String.self, forKey: .message),
            details: try fields.decodeIfPresent([String: JSONValue].self, forKey: .details) ?? [:],
            retryAfterSeconds: try fields.decodeIfPresent(Int.self, forKey: .retryAfterSeconds))
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = encoder.container(keyedBy: CodingKeys.self)
        try fields.encode(code.rawValue, forKey: .code)
        try fields.encode(message, forKey: .message)
        if !details.isEmpty { try fields.encode(details, forKey: .details) }
        try fields.encodeIfPresent(retryAfterSeconds, forKey: .retryAfterSeconds)
    }
}
