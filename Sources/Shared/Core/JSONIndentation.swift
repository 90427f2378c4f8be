/// Gives JSON text lines and indentation, for people.
enum JSONIndentation {
    /// - Parameter compact: correct JSON text without any space between its parts.
    static func indented(_ compact: [UInt8]) -> [UInt8] {
        var text: [UInt8] = []
        text.reserveCapacity(compact.count * 2)
        var depth = 0
        var position = 0
        while position < compact.count {
            let byte = compact[position]
            position += 1
            switch byte {
            case UInt8(ascii: "\""):
                let end = endOfString(compact, from: position)
                text.append(contentsOf: compact[(position - 1)..<end])
                position = end
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                depth += 1
                text.append(byte)
                let isEmpty =
                    position < compact.count
                    && (compact[position] == UInt8(ascii: "}") || compact[position] == UInt8(ascii: "]"))
                if isEmpty { text.append(lineFeed) } else { startLine(&text, depth) }
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                depth -= 1
                startLine(&text, depth)
                text.append(byte)
            case UInt8(ascii: ","):
                text.append(byte)
                startLine(&text, depth)
            case UInt8(ascii: ":"): text.append(contentsOf: [space, byte, space])
            default: text.append(byte)
            }
        }
        return text
    }

    private static let lineFeed = UInt8(ascii: "\n")
    private static let space = UInt8(ascii: " ")

    private static func startLine(_ text: inout [UInt8], _ depth: Int) {
        text.append(lineFeed)
        text.append(contentsOf: repeatElement(space, count: 2 * depth))
    }

    /// Behind the quote that ends the string whose content begins here.
    private static func endOfString(_ text: [UInt8], from start: Int) -> Int {
        var position = start
        while position < text.count {
            let byte = text[position]
            position += byte == UInt8(ascii: "\\") ? 2 : 1
            if byte == UInt8(ascii: "\"") { break }
        }
        return min(position, text.count)
    }
}
