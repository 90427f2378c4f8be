import FastableCore
import HTTPTypes

/// `Idempotency-Key`: names a change, so that a retry does not do it twice.
enum IdempotencyKey {
    static let header = "Idempotency-Key"

    /// `nil` without the header. Throws `invalid` when it is no key.
    static func of(_ request: APIRequest) throws -> String? {
        guard let name = HTTPField.Name(header) else { return nil }
        let values = request.values(of: name)
        guard let key = values.first else { return nil }
        guard values.count == 1, isKey(key) else {
            throw FastableError(
                .invalid, "‘\(header)’ must be given once and have \(rule).", details: ["field": .string(header)])
        }
        return key
    }

    static func isKey(_ text: String) -> Bool {
        text.utf8.allSatisfy { 0x21...0x7e ~= $0 } && 1...Limits.onceKeyBytes ~= text.utf8.count
    }

    static let rule = "1 to \(Limits.onceKeyBytes) visible ASCII characters without spaces; a UUID does well"
}
