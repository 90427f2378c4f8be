public import FoundationEssentials

/// The one place where JSON is made and read: keys sorted so that equal values give equal bytes, dates as ISO 8601.
public enum JSON {
    public static func encode(_ value: some Encodable) throws -> Data { try compact.encode(value) }

    /// For people: indented.
    public static func encodePretty(_ value: some Encodable) throws -> Data { try pretty.encode(value) }

    /// Reads a value; what does not fit becomes `invalid` and names the field.
    public static func decode<Value: Decodable>(_ type: Value.Type = Value.self, from data: Data) throws -> Value {
        do {
            return try decoder.decode(type, from: data)
        } catch DecodingError.dataCorrupted(let context) where context.codingPath.isEmpty {
            // The decoder says this also of valid JSON when a number does not fit into an integer, and forgets where.
            guard let value = try? decoder.decode(JSONValue.self, from: data) else {
                throw FastableError(.invalid, "The body is not valid JSON.", context: "\(context)")
            }
            throw wrongNumber(in: value)
        } catch let error as DecodingError {
            throw error.asFastableError
        }
    }

    private static let compact = encoder([.sortedKeys, .withoutEscapingSlashes])
    private static let pretty = encoder([.sortedKeys, .withoutEscapingSlashes, .prettyPrinted])

    private static func encoder(_ format: JSONEncoder.OutputFormatting) -> JSONEncoder {
        let encoder = JSONEncoder()
        encoder.outputFormatting = format
        encoder.dateEncodingStrategy = .iso8601
        return encoder
    }

    private static let decoder: JSONDecoder = {
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .custom(date)
        return decoder
    }()

    /// Like the decoder's own ISO 8601 strategy, which does not tell the field.
    @Sendable private static func date(from decoder: any Decoder) throws -> Date {
        let container = try decoder.singleValueContainer()
        guard let date = try? Date(try container.decode(String.self), strategy: .iso8601) else {
            throw DecodingError.dataCorruptedError(
                in: container, debugDescription: "not a date such as 2026-11-21T09:13:00Z")
        }
        return date
    }

    private static func wrongNumber(in value: JSONValue) -> FastableError {
        let fields = value.inexactNumbers
        guard let field = fields.first, fields.count == 1 else {
            return FastableError(
                .invalid, "A number has a fraction or is too large where a whole number is expected.",
                details: ["fields": .array(fields.map { .string($0) })])
        }
        return FastableError(
            .invalid,
            "The field ‘\(field)’ has the wrong type or form: it must be a whole number that is not too large.",
            details: ["field": .string(field)])
    }
}

extension DecodingError {
    var asFastableError: FastableError {
        switch self {
        case .keyNotFound(let key, let context):
            let field = Self.path(context.codingPath + [key])
            return FastableError(.invalid, "The field ‘\(field)’ is missing.", details: ["field": .string(field)])
        case .typeMismatch(_, let context), .valueNotFound(_, let context):
            return Self.wrong(context)
        case .dataCorrupted(let context):
            return Self.wrong(context)
        @unknown default:
            return FastableError(.invalid, "The body is not valid JSON.", context: "\(self)")
        }
    }

    private static func wrong(_ context: Context) -> FastableError {
        let field = path(context.codingPath)
        return FastableError(
            .invalid, "The field ‘\(field)’ has the wrong type or form.", context: context.debugDescription,
            details: ["field": .string(field)])
    }

    private static func path(_ keys: [any CodingKey]) -> String {
        keys.map { key in key.intValue.map { "[\($0)]" } ?? key.stringValue }.joined(separator: ".")
            .replacing(".[", with: "[")
    }
}

extension JSONValue {
    /// Where numbers stand that are no integers: `items[0].count`.
    fileprivate var inexactNumbers: [String] {
        switch self {
        case .number: [""]
        case .array(let values):
            values.enumerated().flatMap { index, value in value.inexactNumbers.map { "[\(index)]" + Self.joined($0) } }
        case .object(let members):
            members.sorted { $0.key < $1.key }.flatMap { key, value in
                value.inexactNumbers.map { key + Self.joined($0) }
            }
        case .null, .bool, .integer, .string: []
        }
    }

    private static func joined(_ rest: String) -> String { rest.isEmpty || rest.hasPrefix("[") ? rest : "." + rest }
}
