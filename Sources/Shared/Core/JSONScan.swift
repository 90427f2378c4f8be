/// What the reader and the writer of JSON text have in common.
enum JSONScan {
    /// Where the text of a string ends that stands there as it is: at a quote, a backslash, a control character or the
    /// end.
    static func endOfPlainText(_ text: Span<UInt8>, from start: Int) -> Int {
        var position = start
        let words = text.bytes
        while position + 8 <= text.count {
            let word = words.unsafeLoadUnaligned(fromByteOffset: position, as: UInt64.self)
            let special = specialBytes(in: UInt64(littleEndian: word))
            guard special == 0 else { return position + special.trailingZeroBitCount / 8 }
            position += 8
        }
        while position < text.count {
            let byte = text[position]
            if byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { break }
            position += 1
        }
        return position
    }

    /// Eight bytes at once: the highest bit of each byte that is special is set. Only the lowest of them can be relied
    /// on, because a borrow reaches the bytes above.
    private static func specialBytes(in word: UInt64) -> UInt64 {
        let quotes = word ^ (ones &* UInt64(UInt8(ascii: "\"")))
        let backslashes = word ^ (ones &* UInt64(UInt8(ascii: "\\")))
        let isQuote = (quotes &- ones) & ~quotes
        let isBackslash = (backslashes &- ones) & ~backslashes
        let isControl = (word &- ones &* 0x20) & ~word
        return (isQuote | isBackslash | isControl) & (ones &* 0x80)
    }

    private static let ones: UInt64 = 0x0101_0101_0101_0101
}

extension [UInt8] {
    mutating func append(copying text: Span<UInt8>, _ range: Range<Int>) {
        text.extracting(range).withUnsafeBufferPointer { append(contentsOf: $0) }
    }
}
