import FastableCore
import FastableIdentity
import FastableWire
import FoundationEssentials
import NIOCore
import NIOPosix
import NIOSSL
import Synchronization
import TestSupport
import Testing

/// An authority, a listener on loopback and nodes that dial it.
struct LinkWorld: Sendable {
    let authority: CertificateAuthority
    let listener: LinkListener<NodeID>
    let refusals: Refusals

    final class Refusals: Sendable {
        private let all = Mutex<[FastableError]>([])
        var list: [FastableError] { all.withLock { $0 } }
        func add(_ error: FastableError) { all.withLock { $0.append(error) } }
    }

    var port: Int { listener.localAddress.port ?? 0 }

    /// Runs a listener while `body` runs.
    static func run(
        names: [String] = ["127.0.0.1"],
        limits: LinkLimits = .patient,
        authorize: @escaping @Sendable (NodeID) async throws -> Void = { _ in },
        onLink: @escaping @Sendable (MuxConnection, NodeID) async -> Void = { connection, _ in
            try? await connection.run(accept: echo)
        },
        _ body: @Sendable (LinkWorld) async throws -> Void
    ) async throws {
        let authority = try CertificateAuthority(at: Date())
        let credential = try authority.issueServerCredential(names: names, at: Date())
        let tls = try TLSProfiles.nodeListener(credential, clientAuthority: authority.pem)
        let refusals = Refusals()
        let listener = try await LinkListener<NodeID>.bind(
            host: "127.0.0.1", port: 0, sslContext: try NIOSSLContext(configuration: tls),
            eventLoopGroup: MultiThreadedEventLoopGroup.singleton,
            authorize: { certificate in
                let node = try NodeCertificate(peerCertificateDER: certificate, at: Date()).nodeID
                try await authorize(node)
                return node
            },
            onRefused: { address, error in
                #expect(address?.ipAddress == "127.0.0.1")
                refusals.add(error)
            }, limits: limits)
        let world = LinkWorld(authority: authority, listener: listener, refusals: refusals)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await listener.run { connection, node, _ in await onLink(connection, node) } }
            do { try await body(world) } catch {
                await listener.shutdown()
                throw error
            }
            await listener.shutdown()
        }
        #expect(listener.connectionCount == 0)
    }

    func identity(_ node: NodeID = NodeID(), by other: CertificateAuthority? = nil) throws -> NodeIdentity {
        try makeIdentity(node, by: other ?? authority)
    }

    func dial(_ identity: NodeIdentity) async throws -> MuxConnection {
        try await dial(tls: try TLSProfiles.nodeDialer(identity))
    }

    /// The answer to a request in plain text, read until the listener closes.
    func ask(_ request: String) async throws -> String {
        let context = try NIOSSLContext(configuration: try TLSProfiles.nodeDialer(try identity()))
        let answer = MultiThreadedEventLoopGroup.singleton.any().makePromise(of: String.self)
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandlers(
                        NIOSSLClientHandler(context: context, serverHostname: nil), AnswerReader(answer))
                }
            }
            .connect(host: "127.0.0.1", port: port).get()
        channel.writeAndFlush(text(request), promise: nil)
        return try await answer.futureResult.get()
    }

    func dial(tls: TLSConfiguration, serverName: String? = nil) async throws -> MuxConnection {
        try await LinkDialer.connect(
            host: "127.0.0.1", port: port, serverName: serverName,
            sslContext: try NIOSSLContext(configuration: tls),
            eventLoopGroup: MultiThreadedEventLoopGroup.singleton, limits: .patient)
    }
}

extension LinkLimits {
    /// A busy machine needs its time for the cryptography.
    static var patient: LinkLimits {
        var limits = LinkLimits()
        limits.timeout = .seconds(300)
        return limits
    }
}

/// A node that the authority has let in.
func makeIdentity(_ node: NodeID, by authority: CertificateAuthority) throws -> NodeIdentity {
    let key = NodeKey()
    let issued = try authority.signNode(node, signingRequest: try key.signingRequest(), at: Date())
    return try NodeIdentity(key: key, certificatePEM: issued.pem, authorityPEM: authority.pem)
}

@Suite(.endsInTime) struct LinkTests {
    @Test func aNodeDialsAndStreamsFlowBothWays() async throws {
        let node = NodeID()
        let seen = Mutex<NodeID?>(nil)
        try await LinkWorld.run(onLink: { connection, identity in
            seen.withLock { $0 = identity }
            try? await connection.run(accept: echo)
        }) { world in
            let link = try await world.dial(try world.identity(node))
            let running = Task { try await link.run(accept: echo) }
            let stream = try await link.open(text("{}"))
            try await stream.send(message: text("hello"))
            #expect(try await stream.next() == .message(text("hello")))
            let bytes = pattern(5_000_000)
            let send = Task {
                try await stream.send(data: bytes, channel: 0)
                try await stream.finish()
            }
            #expect(try await readAll(stream) == bytes)
            try await send.value
            #expect(seen.withLock { $0 } == node)
            link.close(reason: "over")
            try await running.value
        }
    }

    @Test func theListenerMaySpeakFirst() async throws {
        try await LinkWorld.run(onLink: { connection, _ in
            async let running: Void = connection.run(accept: { _ in })
            let stream = try? await connection.open(text("first"))
            let answer = try? await stream?.next()
            #expect(answer == .message(text("first")))
            connection.close(reason: "over")
            try? await running
        }) { world in
            let link = try await world.dial(try world.identity())
            await expectFailure(.unavailable) {
                try await link.run { stream in
                    try? await stream.send(message: stream.opening)
                    _ = try? await stream.next()
                }
            }
        }
    }

    @Test func aForeignCertificateIsRefusedAndReported() async throws {
        try await LinkWorld.run { world in
            let foreign = try CertificateAuthority(at: Date())
            // It trusts our authority, but its own certificate is another's.
            var tls = try TLSProfiles.nodeDialer(try world.identity(by: foreign))
            tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(world.authority.pem.utf8)))
            let error = await expectFailure(.unauthenticated) { _ = try await world.dial(tls: tls) }
            #expect(error?.details["stage"] == "tls")
            try await eventually("the refusal is reported") { world.refusals.list.count == 1 }
            #expect(world.refusals.list.first?.code == .unauthenticated)
            #expect(world.refusals.list.first?.context?.contains("CERTIFICATE_VERIFY_FAILED") == true)
        }
    }

    @Test func noCertificateIsRefusedAndReported() async throws {
        try await LinkWorld.run { world in
            var tls = try TLSProfiles.nodeDialer(try world.identity())
            tls.certificateChain = []
            tls.privateKey = nil
            let error = await expectFailure(.unauthenticated) { _ = try await world.dial(tls: tls) }
            #expect(error?.details["stage"] == "tls")
            try await eventually("the refusal is reported") { world.refusals.list.count == 1 }
            #expect(world.refusals.list.first?.code == .unauthenticated)
        }
    }

    @Test func aForeignListenerIsRefusedByTheDialer() async throws {
        try await LinkWorld.run { world in
            let foreign = try CertificateAuthority(at: Date())
            let error = await expectFailure(.unauthenticated) {
                _ = try await world.dial(try world.identity(by: foreign))
            }
            #expect(error?.details["stage"] == "tls")
        }
    }

    @Test func theListenersNameIsVerified() async throws {
        try await LinkWorld.run(names: ["controller.example"]) { world in
            let tls = try TLSProfiles.nodeDialer(try world.identity())
            let link = try await world.dial(tls: tls, serverName: "controller.example")
            link.close(reason: "over")
            for name in ["other.example", nil] {
                let error = await expectFailure(.unauthenticated) {
                    _ = try await world.dial(tls: tls, serverName: name)
                }
                #expect(error?.details["stage"] == "tls")
            }
            for name in ["10.1.2.3", ""] {
                await expectFailure(.invalid) { _ = try await world.dial(tls: tls, serverName: name) }
            }
        }
    }

    @Test(arguments: [
        (FastableError.Code.forbidden, 403), (.conflict, 409), (.unauthenticated, 401), (.unavailable, 503),
    ])
    func aRefusalOfTheHookIsToldToTheNode(code: FastableError.Code, status: Int) async throws {
        try await LinkWorld.run(authorize: { _ in
            throw FastableError(code, "Join this node again.", context: "secret")
        }) { world in
            let error = await expectFailure(code) { _ = try await world.dial(try world.identity()) }
            #expect(error?.message == "Join this node again.")
            #expect(error?.details["status"] == .integer(Int64(status)))
            #expect(error?.context?.contains("secret") != true)
            try await eventually("the refusal is reported") { world.refusals.list.count == 1 }
            #expect(world.refusals.list.first?.context == "secret")
        }
    }

    @Test func nobodyListens() async throws {
        // Nobody else may get it meanwhile.
        let port = try ReservedPort()
        let authority = try CertificateAuthority(at: Date())
        let identity = try makeIdentity(NodeID(), by: authority)
        let context = try NIOSSLContext(configuration: try TLSProfiles.nodeDialer(identity))
        let error = await expectFailure(.unavailable) {
            _ = try await LinkDialer.connect(
                host: "127.0.0.1", port: port.number, serverName: nil, sslContext: context,
                eventLoopGroup: MultiThreadedEventLoopGroup.singleton)
        }
        withExtendedLifetime(port) {}
        #expect(error?.details["stage"] == "connect")
    }

    @Test func aTakenPortIsNamed() async throws {
        try await LinkWorld.run { world in
            let credential = try world.authority.issueServerCredential(names: ["127.0.0.1"], at: Date())
            let tls = try TLSProfiles.nodeListener(credential, clientAuthority: world.authority.pem)
            let error = await expectFailure(.conflict) {
                _ = try await LinkListener<NodeID>.bind(
                    host: "127.0.0.1", port: world.port, sslContext: try NIOSSLContext(configuration: tls),
                    eventLoopGroup: MultiThreadedEventLoopGroup.singleton, authorize: { _ in NodeID() },
                    onRefused: { _, _ in })
            }
            #expect(error?.message.contains("\(world.port)") == true)
        }
    }

    @Test func aConnectionThatIsNoTLSIsReported() async throws {
        try await LinkWorld.run { world in
            let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connect(host: "127.0.0.1", port: world.port).get()
            try await channel.writeAndFlush(text("GET /link HTTP/1.1\r\n\r\n")).get()
            try await eventually("the refusal is reported") { world.refusals.list.count == 1 }
            try await channel.closeFuture.get()
        }
    }

    /// Requests that do not become a link; all but the first with the headers of a WebSocket handshake.
    static let otherRequests = [
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /link HTTP/1.1\r\n" + handshake + "Sec-WebSocket-Protocol: fastable.link.v1\r\n\r\n",
        "GET /other HTTP/1.1\r\n" + handshake + "Sec-WebSocket-Protocol: fastable.link.v1\r\n\r\n",
        "GET /link HTTP/1.1\r\n" + handshake + "\r\n",
        "GET /link HTTP/1.1\r\n" + handshake + "Sec-WebSocket-Protocol: fastable.link.v9\r\n\r\n",
        "GET /link HTTP/1.1\r\n" + handshake
            + "Sec-WebSocket-Protocol: fastable.link.v1\r\nContent-Length: 2\r\n\r\nhi",
        // Without `Connection: upgrade` the HTTP parser would go on and find a second request.
        "GET /link HTTP/1.1\r\n" + handshake.replacing("Connection: upgrade\r\n", with: "")
            + "Sec-WebSocket-Protocol: fastable.link.v1\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
    ]

    private static let handshake =
        "Host: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        + "Sec-WebSocket-Version: 13\r\n"

    @Test(arguments: otherRequests)
    func otherRequestsGet404(request: String) async throws {
        try await LinkWorld.run { world in
            let answer = try await world.ask(request)
            #expect(answer.hasPrefix("HTTP/1.1 404"), "\(answer)")
            #expect(world.refusals.list.map(\.code) == [.notFound])
        }
    }

    @Test func bytesBehindTheUpgradeRequestBelongToTheLink() async throws {
        try await LinkWorld.run(
            authorize: { _ in try await Task.sleep(for: .milliseconds(50)) },
            onLink: { connection, _ in
                let error = await expectFailure(.unavailable) { try await connection.run(accept: { _ in }) }
                #expect(error?.context?.contains("violation") == true)
            }
        ) { world in
            let answer = try await world.ask(
                "GET /link HTTP/1.1\r\n" + Self.handshake
                    + "Sec-WebSocket-Protocol: fastable.link.v1\r\n\r\nGET /\(String(repeating: "x", count: 100)) HTTP/1.1\r\n\r\n"
            )
            #expect(answer.hasPrefix("HTTP/1.1 101"), "\(answer)")
        }
    }

    @Test func aHandshakeThatDoesNotEndIsCutOff() async throws {
        var limits = LinkLimits()
        limits.timeout = .milliseconds(100)
        try await LinkWorld.run(limits: limits) { world in
            let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connect(host: "127.0.0.1", port: world.port).get()
            try await channel.closeFuture.get()
            #expect(world.refusals.list.map(\.code) == [.timeout])
        }
    }

    @Test func aListenerThatNeverAnswersIsGivenUp() async throws {
        let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .bind(host: "127.0.0.1", port: 0).get()
        var limits = LinkLimits()
        limits.timeout = .seconds(2)
        let authority = try CertificateAuthority(at: Date())
        let identity = try makeIdentity(NodeID(), by: authority)
        let context = try NIOSSLContext(configuration: try TLSProfiles.nodeDialer(identity))
        let port = server.localAddress?.port ?? 0
        let error = await expectFailure(.timeout) {
            _ = try await LinkDialer.connect(
                host: "127.0.0.1", port: port, serverName: nil, sslContext: context,
                eventLoopGroup: MultiThreadedEventLoopGroup.singleton, limits: limits)
        }
        #expect(error?.details["stage"] == "upgrade")
        let dial = Task {
            try await LinkDialer.connect(
                host: "127.0.0.1", port: port, serverName: nil, sslContext: context,
                eventLoopGroup: MultiThreadedEventLoopGroup.singleton)
        }
        try await Task.sleep(for: .milliseconds(20))
        dial.cancel()
        await #expect(throws: CancellationError.self) { _ = try await dial.value }
        try await server.close().get()
    }

    @Test func oneConnectionMoreThanTheLimitIsRefused() async throws {
        var limits = LinkLimits.patient
        limits.connections = 2
        try await LinkWorld.run(limits: limits) { world in
            let links = try await [world.dial(try world.identity()), world.dial(try world.identity())]
            await #expect(throws: FastableError.self) { _ = try await world.dial(try world.identity()) }
            try await eventually("the refusal is reported") { world.refusals.list.map(\.code) == [.limit] }
            links[0].sever()
            try await eventually("there is room again") { world.listener.connectionCount == 1 }
            let next = try await world.dial(try world.identity())
            #expect(next.isOpen && links[1].isOpen)
        }
    }

    @Test func shutdownTellsTheNodesAndWaits() async throws {
        try await LinkWorld.run { world in
            let links = try await [world.dial(try world.identity()), world.dial(try world.identity())]
            #expect(world.listener.connectionCount == 2)
            let running = links.map { link in Task { try await link.run(accept: { _ in }) } }
            await world.listener.shutdown()
            #expect(world.listener.connectionCount == 0)
            for task in running {
                let error = await expectFailure(.unavailable) { try await task.value }
                #expect(error?.context?.contains("shutting down") == true)
            }
            let identity = try world.identity()
            await expectFailure(.unavailable) { _ = try await world.dial(identity) }
        }
    }
}

/// Collects what a connection sends until it is closed.
private final class AnswerReader: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let answer: EventLoopPromise<String>
    private var bytes = ByteBuffer()

    init(_ answer: EventLoopPromise<String>) { self.answer = answer }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { bytes.writeImmutableBuffer(unwrapInboundIn(data)) }

    func channelInactive(context: ChannelHandlerContext) {
        answer.succeed(String(decoding: bytes.readableBytesView, as: UTF8.self))
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
