public import FoundationEssentials

/// Reads JSON text exactly as RFC 8259 has it, once, into a `JSONValue`. It is the only reader of JSON there is.
///
/// It is stricter than the RFC asks for: a repeated key is refused, so that everybody who looks at a value sees the
/// same, and depth and number of values are limited, so that a small body cannot become a large value.
public struct JSONParser {
    private(set) var position = 0
    private let valuesAtMost: Int
    private var valuesLeft: Int
    /// Members of the objects that are not complete yet, those of the innermost one last.
    private var members: [(key: String, value: JSONValue)] = []
    /// Text of a string with escapes; kept, so that there is memory for the next one.
    var unescaped: [UInt8] = []

    /// Reads a request. Throws `invalid` with the position of the first wrong byte, or `too_large` naming the limit.
    public static func parse(_ data: Data) throws -> JSONValue {
        try parse(data, valuesAtMost: Limits.jsonValues)
    }

    /// - Parameter valuesAtMost: `Int.max` for what is bounded otherwise.
    static func parse(_ data: Data, valuesAtMost: Int) throws -> JSONValue {
        var parser = JSONParser(valuesAtMost: valuesAtMost)
        let text = data.span
        let value = try parser.value(text, depth: 0)
        parser.skipSpace(text)
        guard parser.position == text.count else { throw parser.broken("unexpected text after the value") }
        return value
    }

    private init(valuesAtMost: Int) {
        self.valuesAtMost = valuesAtMost
        self.valuesLeft = valuesAtMost
    }

    func broken(_ why: String) -> FastableError {
        FastableError(
            .invalid, "The body is not valid JSON: \(why) at byte \(position).",
            details: ["position": .integer(Int64(position))])
    }

    mutating func go(to position: Int) { self.position = position }

    mutating func skipSpace(_ text: Span<UInt8>) {
        while position < text.count {
            let byte = text[position]
            guard byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 else { return }
            position += 1
        }
    }

    func sees(_ byte: UInt8, _ text: Span<UInt8>) -> Bool { position < text.count && text[position] == byte }

    mutating func take(_ byte: UInt8, _ text: Span<UInt8>) -> Bool {
        guard sees(byte, text) else { return false }
        position += 1
        return true
    }

    // MARK: values

    private mutating func value(_ text: Span<UInt8>, depth: Int) throws -> JSONValue {
        guard depth < Limits.jsonDepth else {
            throw FastableError(
                .tooLarge, "The JSON is nested deeper than \(Limits.jsonDepth) levels. Flatten it.",
                details: ["limit": .integer(Int64(Limits.jsonDepth))])
        }
        guard valuesLeft > 0 else {
            throw FastableError(
                .tooLarge, "The JSON has more than \(valuesAtMost) values. Send it in parts.",
                details: ["limit": .integer(Int64(valuesAtMost))])
        }
        valuesLeft -= 1
        skipSpace(text)
        guard position < text.count else { throw broken("the text ends too early") }
        switch text[position] {
        case UInt8(ascii: "\""): return .string(try string(text))
        case UInt8(ascii: "{"): return try object(text, depth: depth)
        case UInt8(ascii: "["): return try array(text, depth: depth)
        case UInt8(ascii: "t"): return try word("true", .bool(true), text)
        case UInt8(ascii: "f"): return try word("false", .bool(false), text)
        case UInt8(ascii: "n"): return try word("null", .null, text)
        default: return try number(text)
        }
    }

    private mutating func word(_ word: String, _ value: JSONValue, _ text: Span<UInt8>) throws -> JSONValue {
        var end = position
        for byte in word.utf8 {
            guard end < text.count, text[end] == byte else { throw broken("unknown word") }
            end += 1
        }
        position = end
        return value
    }

    private mutating func object(_ text: Span<UInt8>, depth: Int) throws -> JSONValue {
        position += 1
        skipSpace(text)
        if take(UInt8(ascii: "}"), text) { return .object([:]) }
        let first = members.count
        while true {
            skipSpace(text)
            guard sees(UInt8(ascii: "\""), text) else { throw broken("a key in quotes is expected") }
            let key = try string(text)
            skipSpace(text)
            guard take(UInt8(ascii: ":"), text) else { throw broken("‘:’ is expected") }
            members.append((key, try value(text, depth: depth + 1)))
            skipSpace(text)
            if take(UInt8(ascii: "}"), text) { return .object(try membersTaken(from: first)) }
            guard take(UInt8(ascii: ","), text) else { throw broken("‘,’ or ‘}’ is expected") }
        }
    }

    /// Once all are known the dictionary gets its size at once, and need not grow.
    private mutating func membersTaken(from first: Int) throws -> [String: JSONValue] {
        var object = [String: JSONValue](minimumCapacity: members.count - first)
        for (key, value) in members[first...] {
            guard object.updateValue(value, forKey: key) == nil else {
                throw FastableError(
                    .invalid, "The field ‘\(key.shortened)’ stands twice in the JSON.",
                    details: ["field": .string(key.shortened)])
            }
        }
        members.removeLast(members.count - first)
        return object
    }

    private mutating func array(_ text: Span<UInt8>, depth: Int) throws -> JSONValue {
        position += 1
        var elements: [JSONValue] = []
        skipSpace(text)
        if take(UInt8(ascii: "]"), text) { return .array(elements) }
        while true {
            elements.append(try value(text, depth: depth + 1))
            skipSpace(text)
            if take(UInt8(ascii: "]"), text) { return .array(elements) }
            guard take(UInt8(ascii: ","), text) else { throw broken("‘,’ or ‘]’ is expected") }
        }
    }
}
