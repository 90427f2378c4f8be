import AsyncHTTPClient
import ControllerAPI
import FastableCore
import FastableIdentity
import FoundationEssentials
import NIOSSL
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(1))) struct TLSTests {
    private let authority: CertificateAuthority
    private let server: TLSConfiguration

    init() throws {
        authority = try CertificateAuthority(at: Date())
        let credential = try authority.issueServerCredential(names: ["127.0.0.1"], at: Date())
        let chain = try NIOSSLCertificate.fromPEMBytes(Array(credential.certificatePEM.utf8))
        let key = try NIOSSLPrivateKey(bytes: Array(credential.keyPEM.reveal().utf8), format: .pem)
        server = .makeServerConfiguration(
            certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(key))
    }

    @Test func speaksTLS() async throws {
        var configuration = TestServer.configuration()
        configuration.tls = server
        var trusting = TLSConfiguration.makeClientConfiguration()
        trusting.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(authority.pem.utf8)))
        try await withServer(configuration, scheme: "https", client: .init(tlsConfiguration: trusting)) { server in
            let answer = try await server.tool("test.echo", #"{"text":"secret"}"#)
            #expect(answer.status == 200)
            let waiting = Task { try await server.tool("test.wait", "{}") }
            #expect(await server.backend.probe.saw("began"))
            waiting.cancel()
            #expect(await server.backend.probe.saw("cancelled"), "the client's going away is seen through TLS")
        }
    }

    @Test func withTLSAnyAddressWillDo() throws {
        var configuration = TestServer.configuration()
        configuration.host = "0.0.0.0"
        configuration.tls = server
        _ = try APIServer(configuration, backend: TestBackend(), logger: .quiet)
    }
}
