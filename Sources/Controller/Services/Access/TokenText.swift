import ControllerDomain
import Crypto
import FastableCore

/// The text of a bearer token: `fst_` and 32 random bytes in base64url. Only its SHA-256 is stored; 256 random bits need no
/// slow hash.
enum TokenText {
    static let prefix = "fst_"
    private static let randomBytes = 32
    private static let length = 47

    static func make() -> Secret {
        var generator = SystemRandomNumberGenerator()
        let bytes = (0..<randomBytes).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
        return Secret(prefix + Base64URL.encode(bytes))
    }

    /// `nil` for what cannot be a token.
    static func hash(_ text: String) -> TokenHash? {
        guard text.hasPrefix(prefix), text.utf8.count == length else { return nil }
        return TokenHash(SHA256.hash(data: Array(text.utf8)))
    }
}
