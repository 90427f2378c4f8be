import FastableCore
public import NIOSSL

#if canImport(Glibc)
    import Glibc
#endif

/// The only place where TLS configurations are built.
public enum TLSProfiles {
    /// The listener that nodes dial: TLS 1.3 only, and a certificate of the authority is mandatory.
    ///
    /// Revocation is not part of the handshake: look the serial up before the connection is used.
    /// - Parameter clientAuthority: PEM of the authority whose nodes are let in.
    public static func nodeListener(
        _ credential: ServerCredential, clientAuthority: String
    ) throws -> TLSConfiguration {
        var configuration = TLSConfiguration.makeServerConfigurationWithMTLS(
            certificateChain: try chain(credential.certificatePEM),
            privateKey: try key(credential.keyPEM),
            trustRoots: try roots(clientAuthority))
        configuration.minimumTLSVersion = .tlsv13
        return configuration
    }

    /// A node dialling its controller: TLS 1.3 only, the node's certificate, and full verification against the pinned
    /// authority alone.
    ///
    /// Make the handler with `serverHostname:` ``serverName(for:)`` of the dialled host.
    public static func nodeDialer(_ identity: NodeIdentity) throws -> TLSConfiguration {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.minimumTLSVersion = .tlsv13
        configuration.certificateVerification = .fullVerification
        configuration.trustRoots = try roots(identity.authorityPEM)
        configuration.certificateChain = try chain(identity.certificatePEM)
        configuration.privateKey = try key(identity.key.pem)
        return configuration
    }

    /// The name to verify for a dialled host. `nil` for an IP address: the certificate is then checked against the
    /// address of the connection itself.
    public static func serverName(for host: String) -> String? {
        HostPort.addressBytes(host) == nil ? host : nil
    }

    /// A node asking the public API for its first certificate over HTTPS: TLS 1.2 or newer, the host's trust store.
    public static func enrollmentClient() -> TLSConfiguration {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.minimumTLSVersion = .tlsv12
        return configuration
    }

    /// The public API with the operator's own certificate: TLS 1.2 or newer, HTTP/1.1.
    ///
    /// - Throws: `notFound`, `forbidden` or `invalid` naming the file that is missing, readable by everybody, no
    ///   certificate or no key, or when the two do not belong together.
    public static func publicAPI(certificateFile: String, keyFile: String) throws -> TLSConfiguration {
        let certificates = try pem(certificateFile, "certificate") { bytes in
            try NIOSSLCertificate.fromPEMBytes(bytes).map(NIOSSLCertificateSource.certificate)
        }
        let key = try pem(keyFile, "private key", isPrivate: true) { bytes in
            try NIOSSLPrivateKey(bytes: bytes, format: .pem)
        }
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: certificates, privateKey: .privateKey(key))
        configuration.minimumTLSVersion = .tlsv12
        configuration.applicationProtocols = ["http/1.1"]
        do {
            _ = try NIOSSLContext(configuration: configuration)
        } catch {
            throw FastableError(
                .invalid, "The key ‘\(keyFile)’ does not belong to the certificate ‘\(certificateFile)’.",
                context: "\(error)")
        }
        return configuration
    }

    private static func chain(_ pem: String) throws -> [NIOSSLCertificateSource] {
        try NIOSSLCertificate.fromPEMBytes(Array(pem.utf8)).map { .certificate($0) }
    }

    private static func key(_ pem: Secret) throws -> NIOSSLPrivateKeySource {
        .privateKey(try NIOSSLPrivateKey(bytes: Array(pem.reveal().utf8), format: .pem))
    }

    private static func roots(_ pem: String) throws -> NIOSSLTrustRoots {
        .certificates(try NIOSSLCertificate.fromPEMBytes(Array(pem.utf8)))
    }

    /// Reads a file of the operator's. It may be a link, as certificate tools make them, and its key may be readable by a
    /// group; a key for everybody is refused.
    private static func pem<Value>(
        _ path: String, _ what: String, isPrivate: Bool = false, parse: ([UInt8]) throws -> Value
    ) throws -> Value {
        let limit = 16 * Limits.certificateTextBytes
        let bytes = try SmallFile.read(path, atMost: limit) { facts in
            guard !isPrivate || facts.mode & 0o007 == 0 else {
                throw FastableError(
                    .forbidden, "Everybody on this host can read the private key ‘\(path)’. Run: chmod o= '\(path)'")
            }
        }
        guard let bytes else { throw FastableError(.notFound, "There is no \(what) file ‘\(path)’.") }
        do {
            return try parse(bytes)
        } catch {
            throw FastableError(.invalid, "‘\(path)’ does not hold a \(what) in PEM form.", context: "\(error)")
        }
    }
}
