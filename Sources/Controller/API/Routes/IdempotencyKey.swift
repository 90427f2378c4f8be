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

    static let secondsHeader = "Idempotency-Seconds"

    /// How long the key is remembered; `nil` without the header. Throws `invalid` for what is no such time.
    static func seconds(of request: APIRequest) throws -> Int? {
        guard let name = HTTPField.Name(secondsHeader) else { return nil }
        let values = request.values(of: name)
        guard let text = values.first else { return nil }
        guard values.count == 1, let seconds = Int(text), 1...Limits.onceSeconds ~= seconds else {
            throw FastableError(
                .invalid, "‘\(secondsHeader)’ must be given once and be a number from 1 to \(Limits.onceSeconds).",
                details: ["field": .string(secondsHeader)])
        }
        return seconds
    }

    /// Bytes that pass by are not kept to be compared, so nothing here could tell a retry from another change. Taking the key without
    /// a word would promise what does not hold.
    static func refuse(in request: APIRequest) throws {
        guard let name = HTTPField.Name(header), request.headers[name] != nil else { return }
        throw FastableError(
            .invalid,
            "‘\(header)’ is not taken here. Send it without: the same bytes again leave the same files, and a file can be written on a "
                + "condition (‘If-Match’, or ‘If-None-Match: *’).",
            details: ["field": .string(header)])
    }

    static func isKey(_ text: String) -> Bool {
        text.utf8.allSatisfy { 0x21...0x7e ~= $0 } && 1...Limits.onceKeyBytes ~= text.utf8.count
    }

    static let rule = "1 to \(Limits.onceKeyBytes) visible ASCII characters without spaces; a UUID does well"
}
