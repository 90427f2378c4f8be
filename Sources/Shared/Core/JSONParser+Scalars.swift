extension JSONParser {
    // MARK: numbers

    mutating func number(_ text: Span<UInt8>) throws -> JSONValue {
        let start = position
        let isNegative = take(UInt8(ascii: "-"), text)
        let leadingZero = sees(UInt8(ascii: "0"), text)
        let first = position
        let magnitude = digits(text)
        let count = position - first
        guard count > 0, !(leadingZero && count > 1) else { throw broken("a value is expected") }
        var isInteger = true
        if take(UInt8(ascii: "."), text) {
            isInteger = false
            try requireDigits(text)
        }
        if take(UInt8(ascii: "e"), text) || take(UInt8(ascii: "E"), text) {
            isInteger = false
            if !take(UInt8(ascii: "+"), text) { _ = take(UInt8(ascii: "-"), text) }
            try requireDigits(text)
        }
        if isInteger, count <= Self.shortDigits { return .integer(isNegative ? -magnitude : magnitude) }
        let number = text.extracting(start..<position).withUnsafeBufferPointer { String(decoding: $0, as: UTF8.self) }
        if isInteger, let integer = Int64(number) { return .integer(integer) }
        guard let number = Double(number), number.isFinite else { throw broken("the number is out of range") }
        return .number(number)
    }

    /// So many digits fit into 64 bits, whatever they are.
    private static let shortDigits = 18

    private mutating func requireDigits(_ text: Span<UInt8>) throws {
        let start = position
        _ = digits(text)
        guard position > start else { throw broken("a digit is expected") }
    }

    /// What the digits here mean, if they are not more than `shortDigits`.
    private mutating func digits(_ text: Span<UInt8>) -> Int64 {
        var position = position
        var number: Int64 = 0
        while position < text.count {
            let digit = text[position] &- UInt8(ascii: "0")
            guard digit <= 9 else { break }
            number = number &* 10 &+ Int64(digit)
            position += 1
        }
        go(to: position)
        return number
    }

    // MARK: strings

    mutating func string(_ text: Span<UInt8>) throws -> String {
        let start = position + 1
        go(to: JSONScan.endOfPlainText(text, from: start))
        if sees(UInt8(ascii: "\""), text) {
            guard let string = Self.string(text.extracting(start..<position)) else { throw notUnicode(from: start) }
            go(to: position + 1)
            return string
        }
        unescaped.removeAll(keepingCapacity: true)
        unescaped.append(copying: text, start..<position)
        while position < text.count {
            let byte = text[position]
            if byte == UInt8(ascii: "\"") {
                guard let string = Self.string(unescaped.span) else { throw notUnicode(from: start) }
                go(to: position + 1)
                return string
            }
            guard byte == UInt8(ascii: "\\") else { throw broken("a control character must be escaped in a string") }
            go(to: position + 1)
            try escape(text)
            let runStart = position
            go(to: JSONScan.endOfPlainText(text, from: runStart))
            unescaped.append(copying: text, runStart..<position)
        }
        throw broken("a string does not end")
    }

    /// `nil` when it is not UTF-8. The initializer of `String` that tells so takes five times as long for a short text.
    private static func string(_ bytes: Span<UInt8>) -> String? {
        guard let text = try? UTF8Span(validating: bytes) else { return nil }
        return String(copying: text)
    }

    private mutating func notUnicode(from start: Int) -> FastableError {
        go(to: start)
        return broken("a string is not UTF-8")
    }

    private mutating func escape(_ text: Span<UInt8>) throws {
        guard position < text.count else { throw broken("a string does not end") }
        let byte = text[position]
        go(to: position + 1)
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): unescaped.append(byte)
        case UInt8(ascii: "b"): unescaped.append(0x08)
        case UInt8(ascii: "f"): unescaped.append(0x0c)
        case UInt8(ascii: "n"): unescaped.append(0x0a)
        case UInt8(ascii: "r"): unescaped.append(0x0d)
        case UInt8(ascii: "t"): unescaped.append(0x09)
        case UInt8(ascii: "u"): unescaped.append(contentsOf: UTF8.encode(try unicodeEscape(text)) ?? .init())
        default: throw broken("unknown escape in a string")
        }
    }

    private mutating func unicodeEscape(_ text: Span<UInt8>) throws -> Unicode.Scalar {
        let unit = try hexadecimalUnit(text)
        if let scalar = Unicode.Scalar(unit) { return scalar }
        // Not a scalar by itself: it must be the first half of a surrogate pair.
        guard unit < 0xdc00, take(UInt8(ascii: "\\"), text), take(UInt8(ascii: "u"), text) else {
            throw broken("half of a surrogate pair")
        }
        let second = try hexadecimalUnit(text)
        guard (0xdc00...0xdfff).contains(second) else { throw broken("half of a surrogate pair") }
        let value = 0x10000 + (UInt32(unit - 0xd800) << 10) + UInt32(second - 0xdc00)
        guard let scalar = Unicode.Scalar(value) else { throw broken("half of a surrogate pair") }
        return scalar
    }

    private mutating func hexadecimalUnit(_ text: Span<UInt8>) throws -> UInt16 {
        guard position + 4 <= text.count else { throw broken("a string does not end") }
        var unit: UInt16 = 0
        for index in position..<(position + 4) {
            guard let digit = Self.hexadecimalDigit(text[index]) else {
                throw broken("four hexadecimal digits are expected")
            }
            unit = unit << 4 | UInt16(digit)
        }
        go(to: position + 4)
        return unit
    }

    private static func hexadecimalDigit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
