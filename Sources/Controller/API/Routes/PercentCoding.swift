import FastableCore

/// Percent-encoding as RFC 3986 has it, read strictly: a broken escape is an error and never a guess.
package enum PercentCoding {
    package static func decode(_ text: Substring, plusIsSpace: Bool = false) throws -> String {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.utf8.count)
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "%") {
                guard let high = rest.popFirst()?.hexDigit, let low = rest.popFirst()?.hexDigit else {
                    throw broken(text)
                }
                bytes.append(high << 4 | low)
            } else {
                bytes.append(plusIsSpace && byte == UInt8(ascii: "+") ? UInt8(ascii: " ") : byte)
            }
        }
        guard let decoded = String(validating: bytes, as: UTF8.self) else { throw broken(text) }
        return decoded
    }

    private static func broken(_ text: Substring) -> FastableError {
        FastableError(.invalid, "‘\(text.prefix(80))’ in the URL is not percent-encoded UTF-8.")
    }
}

/// The query of a URL. Unknown and repeated names are refused, so that a misspelt one is noticed.
package struct QueryParameters: Sendable, Equatable {
    private var values: [String: String] = [:]

    /// Reads `a=1&b=2`, taking only the names in `allowed`. Throws `invalid` naming what is wrong.
    package init(_ query: String?, allowed: Set<String>) throws {
        for pair in (query ?? "").split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let name = try PercentCoding.decode(parts[0], plusIsSpace: true)
            guard allowed.contains(name) else {
                throw Self.invalid(name, "The query has no parameter ‘\(name.prefix(80))’ here.")
            }
            let value = parts.count > 1 ? try PercentCoding.decode(parts[1], plusIsSpace: true) : ""
            guard values.updateValue(value, forKey: name) == nil else {
                throw Self.invalid(name, "The query parameter ‘\(name)’ stands there twice.")
            }
        }
    }

    package subscript(name: String) -> String? { values[name] }

    package func required(_ name: String) throws -> String {
        guard let value = values[name], !value.isEmpty else {
            throw Self.invalid(name, "The query parameter ‘\(name)’ is missing.")
        }
        return value
    }

    /// `true`, `false`, or a bare name for `true`.
    package func flag(_ name: String) throws -> Bool {
        switch values[name] {
        case nil, "false": return false
        case "", "true": return true
        default: throw Self.invalid(name, "The query parameter ‘\(name)’ must be true or false.")
        }
    }

    package func offset(_ name: String) throws -> UInt64 {
        guard let text = values[name] else { return 0 }
        guard let value = UInt64(text) else {
            throw Self.invalid(name, "The query parameter ‘\(name)’ must be a whole number of bytes.")
        }
        return value
    }

    private static func invalid(_ name: String, _ message: String) -> FastableError {
        FastableError(.invalid, message, details: ["field": .string(String(name.prefix(80)))])
    }
}

extension UInt8 {
    fileprivate var hexDigit: UInt8? {
        switch self {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): self - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): self - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): self - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
