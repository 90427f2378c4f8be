import Crypto
import FastableCore
import FoundationEssentials

/// Signs deliveries as the Standard Webhooks specification (version 1.0) says, so that its libraries can check them.
struct WebhookSecret: Sendable {
    static let prefix = "whsec_"
    private let key: SymmetricKey

    /// A new one.
    init() { key = SymmetricKey(size: .bits256) }

    private init(_ key: SymmetricKey) { self.key = key }

    /// What its owner is shown, once: `whsec_` and base 64.
    var text: Secret { Secret(Self.prefix + key.withUnsafeBytes { Data($0) }.base64EncodedString()) }

    /// The value of the header `webhook-signature`.
    func signature(id: String, timestamp: Int64, body: Data) -> String {
        let code = HMAC<SHA256>.authenticationCode(for: Data("\(id).\(timestamp).".utf8) + body, using: key)
        return "v1," + Data(code).base64EncodedString()
    }

    /// Encrypted under a key that is not in the database, and bound to its webhook.
    func sealed(by box: SymmetricKey, for webhook: WebhookID) throws -> [UInt8] {
        let plain = key.withUnsafeBytes { Data($0) }
        return [UInt8](
            try ChaChaPoly.seal(plain, using: box, authenticating: Data(webhook.description.utf8)).combined)
    }

    static func unseal(_ bytes: [UInt8], by box: SymmetricKey, for webhook: WebhookID) throws -> WebhookSecret {
        do {
            let sealed = try ChaChaPoly.SealedBox(combined: bytes)
            let plain = try ChaChaPoly.open(sealed, using: box, authenticating: Data(webhook.description.utf8))
            return WebhookSecret(SymmetricKey(data: plain))
        } catch {
            throw FastableError(
                .internal,
                "The webhook's secret cannot be read: the authority's key is another one. Make the webhook anew.",
                context: "\(error)")
        }
    }
}
