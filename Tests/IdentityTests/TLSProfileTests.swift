import FastableCore
import FastableIdentity
import FoundationEssentials
import NIOSSL
import TestSupport
import Testing

#if canImport(Glibc)
    import Glibc
#endif

/// Real handshakes over loopback: who is let in, who is refused, and by whom.
@Suite(.endsInTime) struct NodeListenerTests {
    let authority: CertificateAuthority
    let listener: TLSConfiguration

    init() throws {
        authority = try CertificateAuthority(at: now)
        listener = try TLSProfiles.nodeListener(
            try authority.issueServerCredential(names: ["localhost", "127.0.0.1"], at: now),
            clientAuthority: authority.pem)
    }

    /// A client that trusts the controller and presents whatever the test wants.
    func client(certificate: String? = nil, key: Secret? = nil) throws -> TLSConfiguration {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(authority.pem.utf8)))
        if let certificate, let key {
            configuration.certificateChain = try NIOSSLCertificate.fromPEMBytes(Array(certificate.utf8))
                .map { .certificate($0) }
            configuration.privateKey = .privateKey(
                try NIOSSLPrivateKey(bytes: Array(key.reveal().utf8), format: .pem))
        }
        return configuration
    }

    func expectRefusal(by word: String, _ client: TLSConfiguration) async throws {
        let outcome = try await connectOverLoopback(server: listener, client: client, serverName: nil)
        #expect(!outcome.served)
        #expect(outcome.peerCertificate == nil)
        #expect(outcome.serverError?.contains(word) == true, "server: \(outcome.serverError ?? "no error")")
    }

    @Test(arguments: [nil, "localhost"])
    func letsAJoinedNodeIn(name: String?) async throws {
        let identity = try makeIdentity(authority)
        let outcome = try await connectOverLoopback(
            server: listener, client: try TLSProfiles.nodeDialer(identity), serverName: name)
        #expect(outcome.served, "\(outcome)")
        let peer = try NodeCertificate(
            peerCertificateDER: try #require(outcome.peerCertificate), at: now)
        #expect(peer.nodeID == identity.nodeID)
        #expect(peer.serial == identity.serial)
    }

    @Test func refusesAClientWithoutCertificate() async throws {
        try await expectRefusal(by: "PEER_DID_NOT_RETURN_A_CERTIFICATE", try client())
    }

    @Test func refusesACertificateOfAnotherAuthority() async throws {
        let foreign = try makeIdentity(try CertificateAuthority(at: now))
        try await expectRefusal(
            by: "CERTIFICATE_VERIFY_FAILED", try client(certificate: foreign.certificatePEM, key: foreign.key.pem))
    }

    @Test(arguments: [-8 * day, 1 * day])
    func refusesACertificateOutsideItsLife(shift: Double) async throws {
        let identity = try makeIdentity(authority, at: now.addingTimeInterval(shift))
        try await expectRefusal(by: "CERTIFICATE_VERIFY_FAILED", try TLSProfiles.nodeDialer(identity))
    }

    @Test func refusesTheControllersOwnCertificateAsAClient() async throws {
        let server = try authority.issueServerCredential(names: ["localhost"], at: now)
        try await expectRefusal(
            by: "CERTIFICATE_VERIFY_FAILED", try client(certificate: server.certificatePEM, key: server.keyPEM))
    }

    @Test func refusesACertificateWithAnotherKey() async throws {
        let identity = try makeIdentity(authority)
        // The library already refuses to speak with a key that does not fit.
        let configuration = try client(certificate: identity.certificatePEM, key: NodeKey().pem)
        #expect(throws: (any Error).self) { _ = try NIOSSLContext(configuration: configuration) }
    }

    @Test func refusesOlderTLS() async throws {
        var old = try TLSProfiles.nodeDialer(try makeIdentity(authority))
        old.minimumTLSVersion = .tlsv12
        old.maximumTLSVersion = .tlsv12
        try await expectRefusal(by: "UNSUPPORTED_PROTOCOL", old)
    }
}

@Suite(.endsInTime) struct NodeDialerTests {
    let authority: CertificateAuthority
    let dialer: TLSConfiguration

    init() throws {
        authority = try CertificateAuthority(at: now)
        dialer = try TLSProfiles.nodeDialer(try makeIdentity(authority))
    }

    func expectRefusal(by word: String, server: TLSConfiguration, serverName: String?) async throws {
        let outcome = try await connectOverLoopback(server: server, client: dialer, serverName: serverName)
        #expect(!outcome.served)
        #expect(outcome.peerCertificate == nil)
        #expect(outcome.clientError?.contains(word) == true, "client: \(outcome.clientError ?? "no error")")
    }

    func listener(_ authority: CertificateAuthority, names: [String], at date: Date = now) throws -> TLSConfiguration {
        try TLSProfiles.nodeListener(
            try authority.issueServerCredential(names: names, at: date), clientAuthority: self.authority.pem)
    }

    @Test func refusesAControllerOfAnotherAuthority() async throws {
        let impostor = try listener(try CertificateAuthority(at: now), names: ["localhost", "127.0.0.1"])
        try await expectRefusal(by: "CERTIFICATE_VERIFY_FAILED", server: impostor, serverName: nil)
    }

    @Test(arguments: [("controller.example", "localhost"), ("localhost", nil), ("10.0.0.1", nil)])
    func refusesAnotherName(certified: String, dialled: String?) async throws {
        try await expectRefusal(
            by: "failedToValidateHostname", server: try listener(authority, names: [certified]), serverName: dialled)
    }

    /// A node that was broken into cannot play the controller to the other nodes.
    @Test func refusesANodeAsController() async throws {
        let node = try makeIdentity(authority)
        var impostor = try listener(authority, names: ["127.0.0.1"])
        impostor.certificateChain = try NIOSSLCertificate.fromPEMBytes(Array(node.certificatePEM.utf8))
            .map { .certificate($0) }
        impostor.privateKey = .privateKey(
            try NIOSSLPrivateKey(bytes: Array(node.key.pem.reveal().utf8), format: .pem))
        try await expectRefusal(by: "CERTIFICATE_VERIFY_FAILED", server: impostor, serverName: nil)
    }

    @Test func refusesOlderTLS() async throws {
        var old = try listener(authority, names: ["127.0.0.1"])
        old.minimumTLSVersion = .tlsv12
        old.maximumTLSVersion = .tlsv12
        let outcome = try await connectOverLoopback(server: old, client: dialer, serverName: nil)
        #expect(!outcome.served)
    }

    @Test func verifiesAddressesByTheConnection() {
        #expect(TLSProfiles.serverName(for: "127.0.0.1") == nil)
        #expect(TLSProfiles.serverName(for: "::1") == nil)
        #expect(TLSProfiles.serverName(for: "localhost") == "localhost")
    }
}

@Suite(.endsInTime) struct PublicAPITests {
    let authority: CertificateAuthority

    init() throws { authority = try CertificateAuthority(at: now) }

    /// The profile of files that were written with these contents and this mode.
    func profile(certificate: String, key: String, mode: UInt32 = 0o600) throws -> TLSConfiguration {
        try withTemporaryDirectory { directory in
            try AtomicFile.write(directory + "/site.pem", Array(certificate.utf8), mode: 0o644)
            try AtomicFile.write(directory + "/site.key", Array(key.utf8), mode: mode)
            return try TLSProfiles.publicAPI(
                certificateFile: directory + "/site.pem", keyFile: directory + "/site.key")
        }
    }

    @Test(arguments: [(TLSVersion.tlsv13, true), (.tlsv12, true), (.tlsv11, false)])
    func speaksCurrentTLSOnly(version: TLSVersion, accepted: Bool) async throws {
        let credential = try authority.issueServerCredential(names: ["127.0.0.1"], at: now)
        let server = try profile(certificate: credential.certificatePEM, key: credential.keyPEM.reveal())
        var client = TLSConfiguration.makeClientConfiguration()
        client.minimumTLSVersion = .tlsv1
        client.maximumTLSVersion = version
        client.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(authority.pem.utf8)))
        let outcome = try await connectOverLoopback(server: server, client: client, serverName: nil)
        #expect(outcome.served == accepted, "\(outcome)")
    }

    @Test func namesTheFileThatIsWrong() throws {
        let one = try authority.issueServerCredential(names: ["127.0.0.1"], at: now)
        let two = try authority.issueServerCredential(names: ["127.0.0.1"], at: now)
        let key = one.keyPEM.reveal()
        let mismatch = expectFailure(.invalid) { _ = try profile(certificate: two.certificatePEM, key: key) }
        #expect(mismatch?.message.contains("does not belong") == true)
        let noKey = expectFailure(.invalid) { _ = try profile(certificate: one.certificatePEM, key: "nothing") }
        #expect(noKey?.message.contains("site.key") == true)
        let noCertificate = expectFailure(.invalid) { _ = try profile(certificate: "nothing", key: key) }
        #expect(noCertificate?.message.contains("site.pem") == true)
        let open = expectFailure(.forbidden) {
            _ = try profile(certificate: one.certificatePEM, key: key, mode: 0o644)
        }
        #expect(open?.message.contains("site.key") == true)
        _ = try profile(certificate: one.certificatePEM, key: key, mode: 0o640)
        expectFailure(.notFound) {
            _ = try TLSProfiles.publicAPI(certificateFile: "/nonexistent/a.pem", keyFile: "/nonexistent/a.key")
        }
    }
}
