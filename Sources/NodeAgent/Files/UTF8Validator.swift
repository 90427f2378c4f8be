/// Checks UTF-8 that arrives in pieces; a character may lie across two of them.
struct UTF8Validator {
    /// Continuation bytes that the character still needs.
    private var missing = 0
    /// What the next continuation byte may be: the second byte of some characters is restricted.
    private var lowest: UInt8 = 0x80
    private var highest: UInt8 = 0xbf
    private(set) var isValid = true

    /// Whether everything so far is valid and ends with a whole character.
    var isComplete: Bool { isValid && missing == 0 }

    mutating func feed(_ bytes: UnsafeRawBufferPointer) {
        guard isValid else { return }
        var index = 0
        while index < bytes.count {
            if missing == 0 {
                index = Self.skipASCII(bytes, from: index)
                if index == bytes.count { return }
            }
            guard accept(bytes[index]) else {
                isValid = false
                return
            }
            index += 1
        }
    }

    /// The first index that is not ASCII; eight bytes at a time.
    private static func skipASCII(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int {
        var index = start
        while index + 8 <= bytes.count,
            bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self) & 0x8080_8080_8080_8080 == 0
        {
            index += 8
        }
        while index < bytes.count, bytes[index] < 0x80 { index += 1 }
        return index
    }

    private mutating func accept(_ byte: UInt8) -> Bool {
        if missing > 0 {
            guard byte >= lowest, byte <= highest else { return false }
            missing -= 1
            (lowest, highest) = (0x80, 0xbf)
            return true
        }
        switch byte {
        case 0xc2...0xdf: missing = 1
        case 0xe0: (missing, lowest) = (2, 0xa0)
        case 0xed: (missing, highest) = (2, 0x9f)
        case 0xe1...0xef: missing = 2
        case 0xf0: (missing, lowest) = (3, 0x90)
        case 0xf1...0xf3: missing = 3
        case 0xf4: (missing, highest) = (3, 0x8f)
        default: return false
        }
        return true
    }
}

extension UInt8 {
    /// Whether a character of UTF-8 goes on with this byte.
    var isUTF8Continuation: Bool { self & 0xc0 == 0x80 }
}

extension Collection<UInt8> where Self: BidirectionalCollection, SubSequence == ArraySlice<UInt8> {
    /// The longest beginning of at most `limit` bytes that does not end within a character.
    func prefixOfWholeCharacters(_ limit: Int) -> ArraySlice<UInt8> {
        var result = prefix(limit)
        guard count > limit, let next = dropFirst(limit).first, next.isUTF8Continuation else { return result }
        while let last = result.popLast(), last.isUTF8Continuation {}
        return result
    }
}
