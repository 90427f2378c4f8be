import CLinux
import FastableCore

/// Finding bytes in bytes, in linear time whatever they are.
enum TextSearch {
    /// Where `needle` begins first, at `start` or later.
    static func first(_ needle: [UInt8], in hay: [UInt8], from start: Int) -> Int? {
        guard start <= hay.count else { return nil }
        return hay.withUnsafeBytes { hay in
            needle.withUnsafeBytes { needle in
                guard let base = hay.baseAddress,
                    let found = fst_find(base + start, hay.count - start, needle.baseAddress, needle.count)
                else { return nil }
                return found - base
            }
        }
    }

    /// How often `needle` can be replaced, from the beginning on.
    static func count(_ needle: [UInt8], in hay: [UInt8]) -> Int {
        var count = 0
        var position = 0
        while let match = first(needle, in: hay, from: position) {
            count += 1
            position = match + needle.count
        }
        return count
    }

    /// The lines where the first matches begin, overlapping ones too.
    static func lines(of needle: [UInt8], in hay: [UInt8], limit: Int) -> [Int] {
        var lines: [Int] = []
        var line = 1
        var counted = 0
        var position = 0
        while lines.count < limit, let match = first(needle, in: hay, from: position) {
            line += hay[counted..<match].count { $0 == 0x0a }
            counted = match
            lines.append(line)
            position = match + 1
        }
        return lines
    }
}

/// LF and CR LF.
enum LineEnds {
    /// Whether there are lines, and each ends with CR LF.
    static func areAllCRLF(_ bytes: [UInt8]) -> Bool {
        var previous: UInt8 = 0
        var found = false
        for byte in bytes {
            if byte == 0x0a {
                guard previous == 0x0d else { return false }
                found = true
            }
            previous = byte
        }
        return found
    }

    static func hasLoneLF(_ bytes: [UInt8]) -> Bool {
        bytes.indices.contains { bytes[$0] == 0x0a && ($0 == 0 || bytes[$0 - 1] != 0x0d) }
    }

    /// Puts a CR before each LF that has none.
    static func withCRLF(_ bytes: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count + bytes.count / 16)
        for byte in bytes {
            if byte == 0x0a && result.last != 0x0d { result.append(0x0d) }
            result.append(byte)
        }
        return result
    }
}

/// The lines around a place.
enum Snippet {
    private static let linesAround = 4

    /// The line of a range's start, counted from 1, and its lines with four on each side, as text of bounded size.
    static func around(_ range: Range<Int>, in content: [UInt8]) -> (line: Int, text: String) {
        let line = content[..<range.lowerBound].count { $0 == 0x0a } + 1
        // The index of the line feed before the first line; -1 when that is the first of all.
        var feed = range.lowerBound
        for _ in 0...linesAround { feed = content[..<max(0, feed)].lastIndex(of: 0x0a) ?? -1 }
        // The last byte of the range counts, not the one behind it: a replaced line includes its line feed.
        var end = max(range.lowerBound, range.upperBound - 1)
        for _ in 0...linesAround { end = ending(from: end, in: content) }
        let bytes = Array(content[(feed + 1)..<end])
        return (line, String(decoding: bytes.prefixOfWholeCharacters(Limits.editSnippetBytes), as: UTF8.self))
    }

    /// The index after the next line feed from `position` on.
    private static func ending(from position: Int, in content: [UInt8]) -> Int {
        content[min(position, content.count)...].firstIndex(of: 0x0a).map { $0 + 1 } ?? content.count
    }
}
