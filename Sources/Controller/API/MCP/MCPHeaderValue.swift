import FoundationEssentials

/// Header values that ASCII cannot carry come as `=?base64?…?=`.
package enum MCPHeaderValue {
    private static let prefix = "=?base64?"
    private static let suffix = "?="

    /// The value, or `nil` when the base 64 is broken or not in its one canonical form.
    package static func decode(_ text: String) -> String? {
        guard text.hasPrefix(prefix), text.hasSuffix(suffix), text.utf8.count >= prefix.utf8.count + suffix.utf8.count
        else { return text }
        let encoded = String(text.dropFirst(prefix.count).dropLast(suffix.count))
        guard let data = Data(base64Encoded: encoded), data.base64EncodedString() == encoded else { return nil }
        return String(validating: data, as: UTF8.self)
    }
}
