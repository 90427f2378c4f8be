public import FastableCore
public import FoundationEssentials
import SwiftASN1
import X509

/// The node listener's certificate and key.
public struct ServerCredential: Sendable {
    public let certificatePEM: String
    public let keyPEM: Secret
}

/// A certificate that the authority has just signed for a node.
public struct IssuedCertificate: Sendable, Equatable {
    public let pem: String
    /// Lower-case hexadecimal; what is stored to be able to revoke it.
    public let serial: String
    public let expires: Date
}

/// Who is at the other end of a link, read from the certificate of a finished TLS handshake.
public struct NodeCertificate: Sendable, Equatable {
    public let nodeID: NodeID
    public let serial: String
    public let issued: Date
    public let expires: Date

    /// Reads the certificate that a node presented.
    ///
    /// The handshake has checked the signature already. The dates are looked at again, because a resumed TLS session
    /// brings back a certificate that may have ended since.
    /// - Throws: `unauthenticated` when it does not name a node or is not valid at `now`.
    public init(peerCertificateDER bytes: [UInt8], at now: Date) throws {
        let certificate: Certificate
        do {
            certificate = try Certificate(derEncoded: bytes)
        } catch {
            throw FastableError(.unauthenticated, "The node's certificate cannot be read.", context: "\(error)")
        }
        try self.init(certificate)
        guard certificate.notValidBefore <= now, now < expires else {
            throw FastableError(
                .unauthenticated,
                "The node's certificate is valid from \(certificate.notValidBefore.formatted(.iso8601)) to "
                    + "\(expires.formatted(.iso8601)). Join the node again, or correct the clocks.")
        }
    }

    init(_ certificate: Certificate) throws {
        guard let node = CertificateText.commonName(certificate.subject).flatMap(NodeID.init),
            try certificate.extensions.extendedKeyUsage?.contains(.clientAuth) == true
        else {
            throw FastableError(.unauthenticated, "The certificate does not name a node.")
        }
        self.nodeID = node
        self.serial = CertificateText.serial(certificate)
        self.issued = certificate.notValidBefore
        self.expires = certificate.notValidAfter
    }
}
