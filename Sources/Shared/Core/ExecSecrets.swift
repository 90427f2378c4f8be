/// Variables of a command whose values must not be seen: what the command prints of them is masked. They cross the link and are
/// kept by the node while the command runs; wherever else they could get to by accident, only their names appear.
public struct ExecSecrets: Codable, Sendable, Equatable {
    /// By the variables' names.
    public let values: [String: String]

    public init(_ values: [String: String]) { self.values = values }

    /// - Throws: `unprocessable` or `too_large`, naming the field, for values that cannot be masked or are too many.
    public func validate(field: String) throws(FastableError) {
        for (name, value) in values.sorted(by: { $0.key < $1.key }) {
            let place = "\(field).\(name.prefix(64))"
            guard value.utf8.count >= Limits.secretBytesLeast else {
                throw FastableError(
                    .unprocessable,
                    "The value of ‘\(place)’ has fewer than \(Limits.secretBytesLeast) bytes. So short a text occurs by chance and "
                        + "cannot be masked: use a longer secret, or ‘env’ for what is none.",
                    details: ["field": .string(place), "minimum": .integer(Int64(Limits.secretBytesLeast))])
            }
            try Self.limit(value.utf8.count, Limits.secretBytes, "value of ‘\(place)’", place)
        }
        try Self.limit(
            values.values.reduce(0) { $0 + $1.utf8.count }, Limits.secretsBytes, "values of ‘\(field)’", field)
    }

    private static func limit(_ count: Int, _ most: Int, _ what: String, _ field: String) throws(FastableError) {
        guard count > most else { return }
        throw FastableError(
            .tooLarge, "The \(what) may have at most \(most) bytes. Write large ones to a file instead.",
            details: ["field": .string(field), "limit": .integer(Int64(most))])
    }

    /// A text for a record or a list, with each value in it masked.
    public func masking(_ text: String) -> String {
        var bytes = Array(text.utf8)
        var isMasked = false
        let original = bytes
        for value in values.values.map({ Array($0.utf8) }) where !value.isEmpty && value.count <= original.count {
            for start in 0...original.count - value.count where original[start] == value[0] {
                guard original[start..<start + value.count].elementsEqual(value) else { continue }
                for index in start..<start + value.count { bytes[index] = UInt8(ascii: "*") }
                isMasked = true
            }
        }
        return isMasked ? String(decoding: bytes, as: UTF8.self) : text
    }
}

extension ExecSecrets: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "‹redacted: \(values.keys.sorted().joined(separator: ", "))›" }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: []) }
}
