import Crypto
public import FastableCore
public import FoundationEssentials
import SwiftASN1
import X509

/// A node's private key. It is made on the node and never leaves it.
public struct NodeKey: Sendable, CustomStringConvertible {
    static let fileName = "/node.key"

    private let privateKey: P256.Signing.PrivateKey

    /// A new key that is kept nowhere.
    public init() { privateKey = P256.Signing.PrivateKey() }

    private init(_ privateKey: P256.Signing.PrivateKey) { self.privateKey = privateKey }

    /// Loads `node.key` (mode 0600) of a directory, or makes it.
    ///
    /// - Throws: `forbidden` when others can read the key or write to the directory, `conflict` when it is no key.
    public static func open(directory: String) throws -> NodeKey {
        try PrivateFile.prepare(directory: directory)
        let path = directory + fileName
        guard let text = try PrivateFile.read(path) else {
            let made = NodeKey()
            try AtomicFile.create(path, Array(made.privateKey.pemRepresentation.utf8))
            return made
        }
        guard let key = try? P256.Signing.PrivateKey(pemRepresentation: text) else {
            throw FastableError(
                .conflict,
                "‘\(path)’ does not hold a P-256 private key in PEM form. Remove it and join the node again.")
        }
        return NodeKey(key)
    }

    /// A PEM signing request: the public key and the proof that its owner asks. The authority chooses everything else.
    public func signingRequest() throws -> String {
        let request = try CertificateSigningRequest(
            version: .v1, subject: try DistinguishedName { CommonName("fastable-node") },
            privateKey: Certificate.PrivateKey(privateKey), attributes: .init(), signatureAlgorithm: .ecdsaWithSHA256)
        return try request.serializeAsPEM().pemString + "\n"
    }

    public var description: String { "node key ‹redacted›" }

    package var pem: Secret { Secret(privateKey.pemRepresentation) }

    func matches(_ certificate: Certificate) -> Bool {
        certificate.publicKey == Certificate.PublicKey(privateKey.publicKey)
    }
}

/// A node that has joined: its key, its certificate and the authority that both ends trust.
public struct NodeIdentity: Sendable {
    public let nodeID: NodeID
    public let key: NodeKey
    public let certificatePEM: String
    public let authorityPEM: String
    public let serial: String
    public let issued: Date
    public let expires: Date

    /// Puts the three together when they fit.
    ///
    /// The dates are not checked: an ended identity can be loaded and says so with ``isExpired(at:)``.
    /// - Throws: `invalid` or `unauthenticated` when a text is no certificate, the authority is none, the certificate is
    ///   not signed by it, is for another key, or does not name a node.
    public init(key: NodeKey, certificatePEM: String, authorityPEM: String) throws {
        let certificate = try CertificateText.certificate(certificatePEM, named: "node's certificate")
        let authority = try CertificateText.certificate(authorityPEM, named: "authority's certificate")
        guard case .isCertificateAuthority = try authority.extensions.basicConstraints,
            CertificateText.isSigned(authority, by: authority)
        else {
            throw FastableError(.unauthenticated, "The authority's certificate is not one of an authority.")
        }
        guard CertificateText.isSigned(certificate, by: authority) else {
            throw FastableError(.unauthenticated, "The node's certificate is not signed by the authority.")
        }
        guard key.matches(certificate) else {
            throw FastableError(.unauthenticated, "The node's certificate is for another key.")
        }
        let contents = try NodeCertificate(certificate)
        self.nodeID = contents.nodeID
        self.serial = contents.serial
        self.issued = contents.issued
        self.expires = contents.expires
        self.key = key
        // Written anew, so that nothing stands around the certificates that the other end put there.
        self.certificatePEM = try CertificateText.pem(certificate)
        self.authorityPEM = try CertificateText.pem(authority)
    }

    public func isExpired(at now: Date) -> Bool { now >= expires }

    /// Two thirds of the certificate's life: from then on the node asks for a new one.
    public var renewalDate: Date { issued.addingTimeInterval(expires.timeIntervalSince(issued) * 2 / 3) }

    public func renewalDue(at now: Date) -> Bool { now >= renewalDate }

    /// The identity with the certificate of a renewal.
    ///
    /// - Throws: `unauthenticated` when it comes from another authority, names another node or is not valid at `now`.
    public func renewed(by answer: CertificateAnswer, at now: Date) throws -> NodeIdentity {
        // The authority stays the pinned one: a renewal cannot bring another.
        let renewed = try NodeIdentity(key: key, certificatePEM: answer.certificate, authorityPEM: authorityPEM)
        guard renewed.nodeID == nodeID, renewed.issued <= now, !renewed.isExpired(at: now) else {
            throw FastableError(
                .unauthenticated, "The renewed certificate is for \(renewed.nodeID) or is not valid now.")
        }
        return renewed
    }
}

extension NodeIdentity {
    private static let fileName = "/certificate.pem"
    private static let separator = "-----END CERTIFICATE-----\n"

    /// Makes the directory, or checks that nobody else can put files into it: before a join token is used up for what cannot be kept.
    public static func prepare(directory: String) throws { try PrivateFile.prepare(directory: directory) }

    /// Loads the identity of a directory; `nil` when the node has not joined.
    ///
    /// - Throws: `conflict` when the files do not fit together, `forbidden` when others can read the key.
    public static func load(directory: String) throws -> NodeIdentity? {
        let path = directory + fileName
        guard let bytes = try SmallFile.read(path, atMost: 2 * Limits.certificateTextBytes) else { return nil }
        let parts = String(decoding: bytes, as: UTF8.self).split(separator: separator, omittingEmptySubsequences: true)
        guard parts.count == 2 else { throw unusable(path, "it does not hold two certificates") }
        do {
            return try NodeIdentity(
                key: try NodeKey.open(directory: directory), certificatePEM: parts[0] + separator,
                authorityPEM: parts[1] + separator)
        } catch let error as FastableError where error.code != .forbidden {
            throw unusable(path, error.description)
        }
    }

    /// Writes certificate and authority in one file at once, so that a crash cannot separate them.
    public func save(directory: String) throws {
        try AtomicFile.write(directory + Self.fileName, Array((certificatePEM + authorityPEM).utf8), mode: 0o644)
    }

    /// Writes the key as well, in place of another one. A crash in the middle leaves a host that has not joined.
    public func saveWithKey(directory: String) throws {
        try Self.prepare(directory: directory)
        try PrivateFile.remove(directory + Self.fileName)
        try AtomicFile.write(directory + NodeKey.fileName, Array(key.pem.reveal().utf8))
        try save(directory: directory)
    }

    private static func unusable(_ path: String, _ why: String) -> FastableError {
        FastableError(
            .conflict, "The node's identity ‘\(path)’ cannot be used. Remove it and join the node again.",
            context: why)
    }
}
