public import Crypto
public import FastableCore
public import FoundationEssentials
import SwiftASN1
import X509

/// The installation's own certificate authority: it vouches for nodes and for the node listener, and for nothing else.
public struct CertificateAuthority: Sendable, CustomStringConvertible {
    private let key: P256.Signing.PrivateKey
    private let certificate: Certificate
    /// The authority's certificate in PEM form; every node keeps it.
    public let pem: String
    /// sha256 of the certificate's DER form, lower-case hexadecimal: what a join token pins.
    public let fingerprint: String
    /// When the authority ends; everything it signed ends then too.
    public var expires: Date { certificate.notValidAfter }

    private init(key: P256.Signing.PrivateKey, certificate: Certificate) throws {
        self.key = key
        self.certificate = certificate
        self.pem = try CertificateText.pem(certificate)
        self.fingerprint = try CertificateText.fingerprint(certificate)
    }

    /// A new authority that is kept nowhere.
    public init(at now: Date) throws {
        let key = P256.Signing.PrivateKey()
        try self.init(key: key, certificate: Self.selfSigned(key, at: now))
    }

    /// A key for one purpose that only who has the authority's key can compute: the same after a restart, and not in the store.
    public func derivedKey(for purpose: String) -> SymmetricKey {
        HKDF<SHA256>.deriveKey(
            inputKeyMaterial: SymmetricKey(data: key.rawRepresentation), info: Data(purpose.utf8), outputByteCount: 32)
    }

    public var description: String { "certificate authority \(fingerprint)" }

    /// Loads the authority of a directory, or makes it at the first start.
    ///
    /// `authority.key` (mode 0600) and `authority.pem` stand in the directory, which is made with mode 0700.
    /// - Throws: `forbidden` when others can read the key or write to the directory, `conflict` when key and certificate
    ///   do not belong together or one is missing, `gone` when the authority has ended.
    public static func open(directory: String, at now: Date) throws -> CertificateAuthority {
        try PrivateFile.prepare(directory: directory)
        let keyPath = directory + "/authority.key"
        let certificatePath = directory + "/authority.pem"
        let stored = try SmallFile.read(certificatePath, atMost: Limits.certificateTextBytes)
        guard let keyText = try PrivateFile.read(keyPath) else {
            guard stored == nil else {
                throw FastableError(
                    .conflict,
                    "‘\(keyPath)’ is missing although ‘\(certificatePath)’ is there. Restore it from a backup. Without "
                        + "one, remove ‘\(certificatePath)’; every node must then be joined again.")
            }
            let made = try CertificateAuthority(at: now)
            try AtomicFile.create(keyPath, Array(made.key.pemRepresentation.utf8))
            try AtomicFile.write(certificatePath, Array(made.pem.utf8), mode: 0o644)
            return made
        }
        guard let key = try? P256.Signing.PrivateKey(pemRepresentation: keyText) else {
            throw FastableError(
                .conflict, "‘\(keyPath)’ does not hold a P-256 private key in PEM form. Restore it from a backup.")
        }
        guard let stored else {
            // The first start ended between the two files: nobody has seen a certificate of this key yet.
            let made = try CertificateAuthority(key: key, certificate: Self.selfSigned(key, at: now))
            try AtomicFile.write(certificatePath, Array(made.pem.utf8), mode: 0o644)
            return made
        }
        return try load(key: key, pem: String(decoding: stored, as: UTF8.self), path: certificatePath, at: now)
    }

    private static func load(
        key: P256.Signing.PrivateKey, pem: String, path: String, at now: Date
    ) throws -> CertificateAuthority {
        let certificate = try CertificateText.certificate(pem, named: "authority's file ‘\(path)’")
        guard certificate.publicKey == Certificate.PublicKey(key.publicKey) else {
            throw FastableError(
                .conflict, "‘\(path)’ does not belong to the key beside it. Restore both from the same backup.")
        }
        guard now < certificate.notValidAfter else {
            throw FastableError(
                .gone,
                "The authority ended on \(certificate.notValidAfter.formatted(.iso8601)). Remove the key and the "
                    + "certificate at ‘\(path)’ to make a new one; every node must then be joined again.")
        }
        return try CertificateAuthority(key: key, certificate: certificate)
    }

    private static func selfSigned(_ key: P256.Signing.PrivateKey, at now: Date) throws -> Certificate {
        let name = try DistinguishedName { CommonName("Fastable node authority") }
        return try Certificate(
            version: .v3, serialNumber: CertificateText.randomSerial(), publicKey: .init(key.publicKey),
            notValidBefore: now.addingTimeInterval(-Double(Limits.certificateBackdateSeconds)),
            notValidAfter: now.addingTimeInterval(Double(Limits.authoritySeconds)),
            issuer: name, subject: name, signatureAlgorithm: .ecdsaWithSHA256,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
                Critical(KeyUsage(keyCertSign: true))
                SubjectKeyIdentifier(hash: Certificate.PublicKey(key.publicKey))
            },
            issuerPrivateKey: Certificate.PrivateKey(key))
    }
}

extension CertificateAuthority {
    /// A key and certificate for the node listener, made anew at each start and kept in memory only.
    ///
    /// It lives as long as the authority: its key never reaches a disk, and a shorter life would end the links of a
    /// controller that runs for long.
    /// - Parameter names: host names and IP addresses that nodes may dial.
    /// - Throws: `invalid` when a name is neither.
    public func issueServerCredential(names: [String], at now: Date) throws -> ServerCredential {
        let serverKey = P256.Signing.PrivateKey()
        let alternatives = try names.map { name -> GeneralName in
            if let address = HostPort.addressBytes(name) {
                return .ipAddress(ASN1OctetString(contentBytes: address[...]))
            }
            guard HostPort(host: name, port: 0) != nil else {
                throw FastableError(.invalid, "‘\(name)’ is neither a host name nor an IP address.")
            }
            return .dnsName(name)
        }
        guard !alternatives.isEmpty else {
            throw FastableError(.invalid, "The node listener needs at least one name that nodes can dial.")
        }
        let certificate = try sign(
            Certificate.PublicKey(serverKey.publicKey), name: "fastable-controller", alternatives: alternatives,
            usage: .serverAuth, from: now, until: expires)
        return ServerCredential(
            certificatePEM: try CertificateText.pem(certificate), keyPEM: Secret(serverKey.pemRepresentation))
    }

    /// Signs a node's key. Everything but the key is chosen here; what else the request asks for is ignored.
    ///
    /// - Parameter signingRequest: PEM, from the node.
    /// - Throws: `invalid` when it is no signing request, its key is not P-256, or it was not signed with its own key.
    public func signNode(_ node: NodeID, signingRequest: String, at now: Date) throws -> IssuedCertificate {
        let publicKey = try Self.verifiedKey(of: signingRequest)
        let end = now.addingTimeInterval(Double(Limits.nodeCertificateSeconds))
        let certificate = try sign(
            publicKey, name: node.description,
            alternatives: [.uniformResourceIdentifier("urn:fastable:node:\(node)")], usage: .clientAuth, from: now,
            until: min(end, expires))
        return IssuedCertificate(
            pem: try CertificateText.pem(certificate), serial: CertificateText.serial(certificate),
            expires: certificate.notValidAfter)
    }

    private static func verifiedKey(of pem: String) throws -> Certificate.PublicKey {
        guard pem.utf8.count <= Limits.certificateTextBytes else {
            throw FastableError(
                .tooLarge, "The signing request is longer than \(Limits.certificateTextBytes) bytes.")
        }
        let request: CertificateSigningRequest
        do {
            request = try CertificateSigningRequest(pemEncoded: pem)
        } catch {
            throw FastableError(.invalid, "The signing request is not in PEM form.", context: "\(error)")
        }
        guard P256.Signing.PublicKey(request.publicKey) != nil else {
            throw FastableError(.invalid, "The signing request must be for a P-256 key.")
        }
        // The signature proves that the node holds the key it asks a certificate for.
        guard request.publicKey.isValidSignature(request.signature, for: request) else {
            throw FastableError(.invalid, "The signing request is not signed with its own key.")
        }
        return request.publicKey
    }

    private func sign(
        _ publicKey: Certificate.PublicKey, name: String, alternatives: [GeneralName], usage: ExtendedKeyUsage.Usage,
        from now: Date, until end: Date
    ) throws -> Certificate {
        try Certificate(
            version: .v3, serialNumber: CertificateText.randomSerial(), publicKey: publicKey,
            notValidBefore: now.addingTimeInterval(-Double(Limits.certificateBackdateSeconds)), notValidAfter: end,
            issuer: certificate.subject, subject: try DistinguishedName { CommonName(name) },
            signatureAlgorithm: .ecdsaWithSHA256,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.notCertificateAuthority)
                Critical(KeyUsage(digitalSignature: true))
                try ExtendedKeyUsage([usage])
                SubjectAlternativeNames(alternatives)
            },
            issuerPrivateKey: Certificate.PrivateKey(key))
    }
}
