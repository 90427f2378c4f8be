import AsyncHTTPClient
import ControllerAPI
import FastableCore
import FastableIdentity
import FastableWire
import FoundationEssentials
import NIOCore
import NIOSSL
import TestSupport
import Testing

@Suite(.endsInTime) struct TLSTests {
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

    @Test func socketsSpeakTLS() async throws {
        var configuration = TestServer.configuration()
        configuration.tls = server
        var trusting = TLSConfiguration.makeClientConfiguration()
        trusting.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(authority.pem.utf8)))
        trusting.certificateVerification = .noHostnameVerification
        let tls = trusting
        try await withServer(configuration, scheme: "https", client: .init(tlsConfiguration: trusting)) { server in
            server.backend.node.onAttach { command in
                try await command.start()
                while case .data(_, let bytes)? = try await command.stream.next() { try await command.print(bytes) }
                try await command.end()
            }
            try await echo(server, tls)
        }
    }

    private func echo(_ server: TestServer, _ tls: TLSConfiguration) async throws {
        let client = try await SocketClient.open(server, "?stdin=append", tls: tls)
        _ = try await client.nextMessage()
        for size in [1, 100, 10_000, 200_000] {
            let bytes = ByteBuffer(repeating: UInt8(truncatingIfNeeded: size), count: size)
            try await client.send(.stdin(bytes))
            let echo = try await client.read(size)
            #expect(echo == bytes)
        }
        try await client.send(.endOfInput)
        let last = try await client.nextMessage()
        #expect(last["result"]?["exitCode"] == 0)
        let closed = try await client.nextClose()
        #expect(closed.code == 1000)
        #expect(await client.next() == nil)
    }

    @Test func withTLSAnyAddressWillDo() throws {
        var configuration = TestServer.configuration()
        configuration.host = "0.0.0.0"
        configuration.tls = server
        _ = try APIServer(configuration, backend: TestBackend(), logger: .quiet)
    }
}
