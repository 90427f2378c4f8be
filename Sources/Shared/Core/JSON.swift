public import FoundationEssentials

/// The one place where JSON is made and read: keys sorted so that equal values give equal bytes, dates as ISO 8601.
public enum JSON {
    /// Throws for a number that JSON cannot express: infinity, or what is no number.
    public static func encode(_ value: some Encodable) throws -> Data { Data(try JSONWriter.bytes(of: value)) }

    /// For people: indented.
    public static func encodePretty(_ value: some Encodable) throws -> Data {
        Data(JSONIndentation.indented(try JSONWriter.bytes(of: value)))
    }

    /// Reads a value; what is no JSON becomes `invalid` and tells the position, what does not fit becomes `invalid` and
    /// names the field. How many values there are is bounded by who takes the bytes.
    public static func decode<Value: Decodable>(_ type: Value.Type = Value.self, from data: Data) throws -> Value {
        try decode(type, from: try JSONParser.parse(data, valuesAtMost: .max))
    }

    /// The same for who has read the text already.
    public static func decode<Value: Decodable>(
        _ type: Value.Type = Value.self, from value: JSONValue
    ) throws -> Value {
        do {
            return try JSONValueDecoder(value).read(type)
        } catch let error as DecodingError {
            throw error.asFastableError
        }
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
        let isNumber = context.underlyingError is JSONValueDecoder.NotThisWholeNumber
        return FastableError(
            .invalid,
            "The field ‘\(field)’ has the wrong type or form"
                + (isNumber ? ": it must be a whole number that is not too large." : "."),
            context: context.debugDescription, details: ["field": .string(field)])
    }

    private static func path(_ keys: [any CodingKey]) -> String {
        keys.map { key in key.intValue.map { "[\($0)]" } ?? key.stringValue }.joined(separator: ".")
            .replacing(".[", with: "[")
    }
}
