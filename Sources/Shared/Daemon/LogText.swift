import FastableCore

/// Makes text safe for a log line: what a container or a peer has sent must not end the line, move the cursor or reorder
/// what is shown.
enum LogText {
    /// The text with every control character as `\n`, `\t` or `\u001b`.
    ///
    /// - Parameter quoting: also escapes `"` and `\`, for text between quotes.
    static func escape(_ text: String, quoting: Bool) -> String {
        guard text.unicodeScalars.contains(where: { mustEscape($0, quoting: quoting) }) else { return text }
        var result = ""
        for scalar in text.unicodeScalars {
            guard mustEscape(scalar, quoting: quoting) else {
                result.unicodeScalars.append(scalar)
                continue
            }
            switch scalar {
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            case "\"", "\\": result += "\\\(scalar)"
            default: result += number(scalar.value)
            }
        }
        return result
    }

    /// The text, or its beginning and how long it was.
    static func cut(_ text: String) -> String {
        let length = text.utf8.count
        guard length > Limits.logValueBytes else { return text }
        let kept = String(decoding: text.utf8.prefix(Limits.logValueBytes), as: UTF8.self)
        return "\(kept)… (\(length) bytes)"
    }

    /// `key=value`, with quotes where a reader could not tell where the value ends.
    static func pair(_ key: String, _ value: String) -> String {
        let value = cut(value)
        let isPlain =
            !value.isEmpty
            && value.unicodeScalars.allSatisfy { !mustEscape($0, quoting: true) && $0 != " " && $0 != "=" }
        return "\(escape(key, quoting: false))=" + (isPlain ? value : "\"\(escape(value, quoting: true))\"")
    }

    private static func mustEscape(_ scalar: Unicode.Scalar, quoting: Bool) -> Bool {
        // Asking for the properties costs much more than the rest of a log line, and most text is ASCII.
        guard !scalar.isASCII else {
            return scalar.value < 0x20 || scalar.value == 0x7f || (quoting && (scalar == "\"" || scalar == "\\"))
        }
        switch scalar.properties.generalCategory {
        // Control, format (with the marks that reorder text), line and paragraph separators.
        case .control, .format, .lineSeparator, .paragraphSeparator: return true
        default: return false
        }
    }

    private static func number(_ value: UInt32) -> String {
        let digits = String(value, radix: 16)
        let length = value > 0xffff ? 8 : 4
        return (value > 0xffff ? "\\U" : "\\u") + String(repeating: "0", count: length - digits.count) + digits
    }
}
