import Crypto
import FastableCore
import SwiftASN1
import X509

/// Certificates as PEM text, and what this product puts into them.
enum CertificateText {
    /// Reads one certificate; everything that comes from outside passes here.
    static func certificate(_ pem: String, named what: String) throws -> Certificate {
        guard pem.utf8.count <= Limits.certificateTextBytes else {
            throw FastableError(.tooLarge, "The \(what) is longer than \(Limits.certificateTextBytes) bytes.")
        }
        do {
            return try Certificate(pemEncoded: pem)
        } catch {
            throw FastableError(.invalid, "The \(what) is not a certificate in PEM form.", context: "\(error)")
        }
    }

    static func pem(_ certificate: Certificate) throws -> String {
        try certificate.serializeAsPEM().pemString + "\n"
    }

    /// sha256 of the DER form in lower-case hexadecimal: the name of exactly this certificate.
    static func fingerprint(_ certificate: Certificate) throws -> String {
        Hex.encode(SHA256.hash(data: try certificate.serializeAsPEM().derBytes))
    }

    /// The serial number in lower-case hexadecimal: the key of the revocation list.
    static func serial(_ certificate: Certificate) -> String { Hex.encode(certificate.serialNumber.bytes) }

    /// 16 random bytes. The top bit is cleared, because a serial number is a positive integer, and the next one set,
    /// so that every serial has the same length.
    static func randomSerial() -> Certificate.SerialNumber {
        var bytes = (0..<16).map { _ in UInt8.random(in: .min ... .max) }
        bytes[0] = bytes[0] & 0x7f | 0x40
        return Certificate.SerialNumber(bytes: bytes)
    }

    static func commonName(_ name: DistinguishedName) -> String? {
        let names = name.flatMap { $0 }.filter { $0.type == .RDNAttributeType.commonName }
        return names.count == 1 ? names.first.flatMap { String($0.value) } : nil
    }

    /// Whether the authority's key signed the certificate in its own name.
    static func isSigned(_ certificate: Certificate, by authority: Certificate) -> Bool {
        certificate.issuer == authority.subject
            && authority.publicKey.isValidSignature(certificate.signature, for: certificate)
    }
}
