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
        let fits = key.utf8.allSatisfy { 0x21...0x7e ~= $0 } && 1...Limits.onceKeyBytes ~= key.utf8.count
        guard values.count == 1, fits else {
            throw FastableError(
                .invalid,
                "‘\(header)’ must be given once and have 1 to \(Limits.onceKeyBytes) visible ASCII characters without spaces; a UUID "
                    + "does well.", details: ["field": .string(header)])
        }
        return key
    }

    static let notWithFrames = FastableError(
        .unprocessable, "‘\(header)’ goes with JSON and with events, not with frames.",
        details: ["field": .string(header)])
}
