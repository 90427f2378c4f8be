import NIOCore
import NIOPosix
import NIOSSL

/// What came of one connection over loopback.
struct TLSOutcome: Sendable {
    /// The server's bytes reached the client: both ends accepted each other.
    var served: Bool
    /// The certificate that the server saw, in DER form.
    var peerCertificate: [UInt8]?
    var clientError: String?
    var serverError: String?
}

/// One real connection on 127.0.0.1: the client sends a byte, the server echoes it if the handshake lets it through.
func connectOverLoopback(
    server: TLSConfiguration, client: TLSConfiguration, serverName: String?
) async throws -> TLSOutcome {
    let group = MultiThreadedEventLoopGroup.singleton
    let serverContext = try NIOSSLContext(configuration: server)
    let clientContext = try NIOSSLContext(configuration: client)
    let serverEnd = group.next().makePromise(of: ServerReport.self)
    let clientEnd = group.next().makePromise(of: ClientReport.self)

    let listener = try await ServerBootstrap(group: group)
        .childChannelInitializer { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandlers(
                    NIOSSLServerHandler(context: serverContext), EchoOnce(report: serverEnd))
            }
        }
        .bind(host: "127.0.0.1", port: 0).get()
    let dialled = try await ClientBootstrap(group: group)
        .channelInitializer { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandlers(
                    NIOSSLClientHandler(context: clientContext, serverHostname: serverName),
                    SendOnce(report: clientEnd))
            }
        }
        .connect(to: listener.localAddress ?? SocketAddress(unixDomainSocketPath: "/")).get()

    let atClient = try await clientEnd.futureResult.get()
    // After TLS 1.3's handshake the client may have been served nothing yet while the server has already refused.
    try? await dialled.close().get()
    let atServer = try await serverEnd.futureResult.get()
    try await listener.close().get()
    return TLSOutcome(
        served: atClient.served, peerCertificate: atServer.certificate, clientError: atClient.error,
        serverError: atServer.error)
}

private struct ClientReport: Sendable {
    var served = false
    var error: String?
}

private struct ServerReport: Sendable {
    var certificate: [UInt8]?
    var error: String?
}

private final class EchoOnce: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private let promise: EventLoopPromise<ServerReport>
    private var report = ServerReport()

    init(report promise: EventLoopPromise<ServerReport>) { self.promise = promise }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let certificate = try? context.pipeline.syncOperations.nioSSL_peerCertificate()
        report.certificate = try? certificate?.toDERBytes()
        context.writeAndFlush(data, promise: nil)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        report.error = report.error ?? "\(error)"
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        promise.succeed(report)
        context.fireChannelInactive()
    }
}

private final class SendOnce: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private let promise: EventLoopPromise<ClientReport>
    private var report = ClientReport()

    init(report promise: EventLoopPromise<ClientReport>) { self.promise = promise }

    func channelActive(context: ChannelHandlerContext) {
        context.writeAndFlush(NIOAny(ByteBuffer(bytes: [42])), promise: nil)
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        report.served = true
        promise.succeed(report)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        report.error = report.error ?? "\(error)"
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        promise.succeed(report)
        context.fireChannelInactive()
    }
}
