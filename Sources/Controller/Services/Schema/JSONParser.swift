public import FastableCore
public import FoundationEssentials

/// Reads JSON text exactly as RFC 8259 has it, once, into a `JSONValue`.
///
/// It is stricter than `JSONDecoder`: a repeated key is refused, so that what was checked is what is decoded later, and
/// depth and number of values are limited, so that a small body cannot become a large value.
public struct JSONParser {
    private let bytes: [UInt8]
    private var position = 0
    private var valuesLeft = Limits.jsonValues

    /// Throws `invalid` with the position of the first wrong byte, or `too_large` naming the limit.
    public static func parse(_ data: Data) throws -> JSONValue {
        var parser = JSONParser(bytes: [UInt8](data))
        let value = try parser.value(depth: 0)
        parser.skipSpace()
        guard parser.position == parser.bytes.count else { throw parser.broken("unexpected text after the value") }
        return value
    }

    private init(bytes: [UInt8]) { self.bytes = bytes }

    private var current: UInt8? { position < bytes.count ? bytes[position] : nil }

    private func broken(_ why: String) -> FastableError {
        FastableError(
            .invalid, "The body is not valid JSON: \(why) at byte \(position).",
            details: ["position": .integer(Int64(position))])
    }

    private mutating func skipSpace() {
        while let byte = current, byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 { position += 1 }
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard current == byte else { return false }
        position += 1
        return true
    }

    // MARK: values

    private mutating func value(depth: Int) throws -> JSONValue {
        guard depth < Limits.jsonDepth else {
            throw FastableError(
                .tooLarge, "The JSON is nested deeper than \(Limits.jsonDepth) levels. Flatten it.",
                details: ["limit": .integer(Int64(Limits.jsonDepth))])
        }
        guard valuesLeft > 0 else {
            throw FastableError(
                .tooLarge, "The JSON has more than \(Limits.jsonValues) values. Send it in parts.",
                details: ["limit": .integer(Int64(Limits.jsonValues))])
        }
        valuesLeft -= 1
        skipSpace()
        guard let first = current else { throw broken("the text ends too early") }
        switch first {
        case UInt8(ascii: "{"): return try object(depth: depth)
        case UInt8(ascii: "["): return try array(depth: depth)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: return try number()
        }
    }

    private mutating func word(_ text: StaticString, _ value: JSONValue) throws -> JSONValue {
        let end = position + text.utf8CodeUnitCount
        guard end <= bytes.count, bytes[position..<end].elementsEqual("\(text)".utf8) else {
            throw broken("unknown word")
        }
        position = end
        return value
    }

    private mutating func object(depth: Int) throws -> JSONValue {
        position += 1
        var members: [String: JSONValue] = [:]
        skipSpace()
        if take(UInt8(ascii: "}")) { return .object(members) }
        while true {
            skipSpace()
            guard current == UInt8(ascii: "\"") else { throw broken("a key in quotes is expected") }
            let key = try string()
            skipSpace()
            guard take(UInt8(ascii: ":")) else { throw broken("‘:’ is expected") }
            let member = try value(depth: depth + 1)
            guard members.updateValue(member, forKey: key) == nil else {
                throw FastableError(
                    .invalid, "The field ‘\(key.shortened)’ stands twice in the JSON.",
                    details: ["field": .string(key.shortened)])
            }
            skipSpace()
            if take(UInt8(ascii: "}")) { return .object(members) }
            guard take(UInt8(ascii: ",")) else { throw broken("‘,’ or ‘}’ is expected") }
        }
    }

    private mutating func array(depth: Int) throws -> JSONValue {
        position += 1
        var elements: [JSONValue] = []
        skipSpace()
        if take(UInt8(ascii: "]")) { return .array(elements) }
        while true {
            elements.append(try value(depth: depth + 1))
            skipSpace()
            if take(UInt8(ascii: "]")) { return .array(elements) }
            guard take(UInt8(ascii: ",")) else { throw broken("‘,’ or ‘]’ is expected") }
        }
    }

    // MARK: numbers

    private mutating func number() throws -> JSONValue {
        let start = position
        _ = take(UInt8(ascii: "-"))
        let leadingZero = current == UInt8(ascii: "0")
        let digits = skipDigits()
        guard digits > 0, !(leadingZero && digits > 1) else { throw broken("a value is expected") }
        var isInteger = true
        if take(UInt8(ascii: ".")) {
            isInteger = false
            guard skipDigits() > 0 else { throw broken("a digit is expected") }
        }
        if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
            isInteger = false
            if !take(UInt8(ascii: "+")) { _ = take(UInt8(ascii: "-")) }
            guard skipDigits() > 0 else { throw broken("a digit is expected") }
        }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        if isInteger, let integer = Int64(text) { return .integer(integer) }
        guard let number = Double(text), number.isFinite else { throw broken("the number is out of range") }
        return .number(number)
    }

    private mutating func skipDigits() -> Int {
        let start = position
        while let byte = current, byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") { position += 1 }
        return position - start
    }

    // MARK: strings

    private mutating func string() throws -> String {
        position += 1
        let start = position
        var unescaped: [UInt8]?
        var runStart = position
        while let byte = current {
            if byte == UInt8(ascii: "\"") {
                let run = bytes[runStart..<position]
                let all = unescaped.map { $0[...] + run } ?? run
                guard let text = String(validating: all, as: UTF8.self) else {
                    position = start
                    throw broken("a string is not UTF-8")
                }
                position += 1
                return text
            }
            guard byte >= 0x20 else { throw broken("a control character must be escaped in a string") }
            position += 1
            guard byte == UInt8(ascii: "\\") else { continue }
            var parts = unescaped ?? []
            unescaped = nil
            parts.append(contentsOf: bytes[runStart..<(position - 1)])
            try escape(into: &parts)
            unescaped = parts
            runStart = position
        }
        throw broken("a string does not end")
    }

    private mutating func escape(into text: inout [UInt8]) throws {
        guard let byte = current else { throw broken("a string does not end") }
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0c)
        case UInt8(ascii: "n"): text.append(0x0a)
        case UInt8(ascii: "r"): text.append(0x0d)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "u"): text.append(contentsOf: String(Character(try unicodeEscape())).utf8)
        default: throw broken("unknown escape in a string")
        }
    }

    private mutating func unicodeEscape() throws -> Unicode.Scalar {
        let unit = try hexadecimalUnit()
        if let scalar = Unicode.Scalar(unit) { return scalar }
        // Not a scalar by itself: it must be the first half of a surrogate pair.
        guard unit < 0xdc00, take(UInt8(ascii: "\\")), take(UInt8(ascii: "u")) else {
            throw broken("half of a surrogate pair")
        }
        let second = try hexadecimalUnit()
        guard (0xdc00...0xdfff).contains(second) else { throw broken("half of a surrogate pair") }
        let value = 0x10000 + (UInt32(unit - 0xd800) << 10) + UInt32(second - 0xdc00)
        guard let scalar = Unicode.Scalar(value) else { throw broken("half of a surrogate pair") }
        return scalar
    }

    private mutating func hexadecimalUnit() throws -> UInt16 {
        guard position + 4 <= bytes.count else { throw broken("a string does not end") }
        var unit: UInt16 = 0
        for byte in bytes[position..<(position + 4)] {
            guard let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
                throw broken("four hexadecimal digits are expected")
            }
            unit = unit << 4 | UInt16(digit)
        }
        position += 4
        return unit
    }
}
