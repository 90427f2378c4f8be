import Crypto
import FastableCore

/// The bytes inside `fjt_…`: a version, the fixed fields, the texts with their lengths, and a checksum that tells a
/// half-copied token from a wrong one.
enum JoinTokenFormat {
    struct Fields: Equatable {
        var fingerprint: [UInt8]
        var secret: [UInt8]
        var tokenID: String
        var nodeListener: String
        var controllerURL: String
        /// Empty for a new node.
        var node: String
    }

    static let prefix = "fjt_"
    static let version: UInt8 = 1
    static let secretBytes = 32
    static let checksumBytes = 4

    static let unreadable = FastableError(
        .invalid, "This is not a join token of Fastable. Make one with: fastable node token")
    static let incomplete = FastableError(
        .invalid, "The join token is incomplete or was changed. Copy it again from the first character to the last.")

    static func pack(_ fields: Fields) -> Secret {
        var bytes: [UInt8] = [version] + fields.fingerprint + fields.secret
        for text in [fields.tokenID, fields.nodeListener, fields.controllerURL, fields.node] {
            let utf8 = Array(text.utf8)
            bytes += [UInt8(truncatingIfNeeded: utf8.count >> 8), UInt8(truncatingIfNeeded: utf8.count)] + utf8
        }
        return Secret(prefix + Base64URL.encode(bytes + checksum(bytes)))
    }

    static func unpack(_ text: String) throws -> Fields {
        guard text.hasPrefix(prefix), text.utf8.count <= Limits.joinTokenBytes else { throw unreadable }
        guard let bytes = Base64URL.decode(text.dropFirst(prefix.count)), bytes.count > checksumBytes,
            checksum(bytes.dropLast(checksumBytes)) == Array(bytes.suffix(checksumBytes))
        else { throw incomplete }
        var rest = bytes.dropLast(checksumBytes)
        guard try take(1, from: &rest) == [version] else {
            throw FastableError(
                .invalid, "The join token is of a newer version than this node. Bring both to the same version.")
        }
        let fields = Fields(
            fingerprint: try take(SHA256.byteCount, from: &rest), secret: try take(secretBytes, from: &rest),
            tokenID: try takeText(from: &rest), nodeListener: try takeText(from: &rest),
            controllerURL: try takeText(from: &rest), node: try takeText(from: &rest))
        guard rest.isEmpty else { throw unreadable }
        return fields
    }

    private static func checksum(_ bytes: some Sequence<UInt8>) -> [UInt8] {
        Array(SHA256.hash(data: Array(bytes)).prefix(checksumBytes))
    }

    private static func take(_ count: Int, from bytes: inout ArraySlice<UInt8>) throws -> [UInt8] {
        guard bytes.count >= count else { throw unreadable }
        defer { bytes = bytes.dropFirst(count) }
        return Array(bytes.prefix(count))
    }

    private static func takeText(from bytes: inout ArraySlice<UInt8>) throws -> String {
        let length = try take(2, from: &bytes)
        let text = try take(Int(length[0]) << 8 | Int(length[1]), from: &bytes)
        guard let text = String(validating: text, as: UTF8.self) else { throw unreadable }
        return text
    }
}
