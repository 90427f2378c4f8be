extension JSONText {
    mutating func writeNull() { append("null") }

    mutating func write(_ truth: Bool) { append(truth ? "true" : "false") }

    mutating func write(isNegative: Bool, magnitude: UInt64) {
        if isNegative { append(UInt8(ascii: "-")) }
        var digits = InlineArray<20, UInt8>(repeating: 0)
        var first = digits.count
        var rest = magnitude
        repeat {
            first -= 1
            digits[first] = UInt8(ascii: "0") + UInt8(rest % 10)
            rest /= 10
        } while rest > 0
        append(digits.span, first..<digits.count)
    }

    /// The shortest text that is read as the same number. Throws for infinity and for what is no number.
    mutating func write(_ number: some BinaryFloatingPoint & CustomStringConvertible) throws {
        guard number.isFinite else {
            throw EncodingError.invalidValue(
                number,
                EncodingError.Context(codingPath: path, debugDescription: "Unable to encode \(number) in JSON."))
        }
        let text = number.description.utf8.span
        var end = text.count
        if end > 2, text[end - 2] == UInt8(ascii: "."), text[end - 1] == UInt8(ascii: "0") { end -= 2 }
        append(text, 0..<end)
    }

    mutating func write(_ string: String) { write(string.utf8.span) }

    mutating func write(_ text: Span<UInt8>) {
        append(UInt8(ascii: "\""))
        var position = 0
        while true {
            let end = JSONScan.endOfPlainText(text, from: position)
            append(text, position..<end)
            guard end < text.count else { break }
            escape(text[end])
            position = end + 1
        }
        append(UInt8(ascii: "\""))
    }

    private mutating func escape(_ byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""): append("\\\"")
        case UInt8(ascii: "\\"): append("\\\\")
        case 0x08: append("\\b")
        case 0x0c: append("\\f")
        case 0x0a: append("\\n")
        case 0x0d: append("\\r")
        case 0x09: append("\\t")
        default:
            append("\\u00")
            append(Self.hexadecimalDigit(byte >> 4))
            append(Self.hexadecimalDigit(byte & 0x0f))
        }
    }

    private static func hexadecimalDigit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
    }

    mutating func write(_ members: [String: String]) {
        open(isObject: true)
        for (key, member) in members {
            beginMember(key)
            write(member)
        }
        close()
    }

    mutating func write(_ elements: [String]) {
        open(isObject: false)
        for element in elements {
            beginElement()
            write(element)
        }
        close()
    }

    mutating func write(_ value: JSONValue) throws {
        switch value {
        case .null: writeNull()
        case .bool(let truth): write(truth)
        case .integer(let number): write(isNegative: number < 0, magnitude: number.magnitude)
        case .number(let number): try write(number)
        case .string(let string): write(string)
        case .array(let elements):
            open(isObject: false)
            for element in elements {
                beginElement()
                try write(element)
            }
            close()
        case .object(let members):
            open(isObject: true)
            for (key, member) in members {
                beginMember(key)
                try write(member)
            }
            close()
        }
    }
}
