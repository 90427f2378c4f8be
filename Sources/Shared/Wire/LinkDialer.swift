import FastableCore
public import NIOCore
import NIOHTTP1
import NIOPosix
public import NIOSSL

/// Dials a `LinkListener`: TCP, TLS with the node's certificate, the WebSocket upgrade.
public enum LinkDialer {
    /// A new link, ready to `run`.
    ///
    /// `serverName` is what the peer's certificate must be for; `nil` lets the TLS library check the address itself. Throws
    /// `FastableError` with `details.stage`: `connect` (`unavailable`, `timeout`), `tls` (`unauthenticated`) or `upgrade`
    /// (the peer's own refusal with `details.status`, or `unavailable`). The cause stands in the private context.
    public static func connect(
        host: String, port: Int, serverName: String?, sslContext: NIOSSLContext, eventLoopGroup: any EventLoopGroup
    ) async throws -> MuxConnection {
        try await connect(
            host: host, port: port, serverName: serverName, sslContext: sslContext, eventLoopGroup: eventLoopGroup,
            limits: LinkLimits())
    }

    package static func connect(
        host: String, port: Int, serverName: String?, sslContext: NIOSSLContext, eventLoopGroup: any EventLoopGroup,
        limits: LinkLimits
    ) async throws -> MuxConnection {
        let authority = host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        let attempt: Attempt
        do {
            attempt = try await ClientBootstrap(group: eventLoopGroup)
                .connectTimeout(limits.timeAmount)
                .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                .channelOption(.writeBufferWaterMark, value: LinkChannel.waterMark)
                .channelOption(.recvAllocator, value: LinkChannel.reads)
                .connect(host: host, port: port) { channel in
                    channel.eventLoop.makeCompletedFuture {
                        let tls = try NIOSSLClientHandler(context: sslContext, serverHostname: serverName)
                        return try prepare(channel, tls: tls, authority: authority, timeout: limits.timeAmount)
                    }
                }
        } catch {
            throw LinkDialError.connecting(error, to: authority)
        }
        return try await attempt.result(authority: authority)
    }

    /// A connection whose handshakes are under way.
    private struct Attempt: Sendable {
        let channel: any Channel
        let link: EventLoopFuture<MuxConnection>

        func result(authority: String) async throws -> MuxConnection {
            do {
                return try await withTaskCancellationHandler {
                    try await link.get()
                } onCancel: {
                    channel.close(promise: nil)
                }
            } catch {
                channel.close(promise: nil)
                try Task.checkCancellation()
                throw LinkDialError.handshake(error, with: authority)
            }
        }
    }

    private static func prepare(
        _ channel: any Channel, tls: NIOSSLClientHandler, authority: String, timeout: TimeAmount
    ) throws -> Attempt {
        let link = channel.eventLoop.makePromise(of: MuxConnection.self)
        try channel.pipeline.syncOperations.addHandler(tls)

        let request = HTTPRequestHead(
            version: .http1_1, method: .GET, uri: LinkProtocol.path,
            headers: ["Host": authority, "Content-Length": "0"])
        let upgrade = NIOTypedHTTPClientUpgradeConfiguration<MuxConnection?>(
            upgradeRequestHead: request, upgraders: [LinkClientUpgrader()],
            notUpgradingCompletionHandler: { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(LinkRefusalReader(link: link))
                    return nil
                }
            })
        var pipeline = NIOUpgradableHTTPClientPipelineConfiguration(upgradeConfiguration: upgrade)
        // The listener may send frames right behind its answer; they belong to the link.
        pipeline.leftOverBytesStrategy = .forwardBytes
        let upgraded = try channel.pipeline.syncOperations.configureUpgradableHTTPClientPipeline(
            configuration: pipeline)

        let deadline = channel.eventLoop.scheduleTask(in: timeout) {
            link.fail(LinkDialError.handshakeTimeout(with: authority))
            channel.close(promise: nil)
        }
        upgraded.whenComplete { result in
            switch result {
            case .success(let connection?): link.succeed(connection)
            case .success(nil): break
            case .failure(let error): link.fail(error)
            }
        }
        link.futureResult.whenComplete { _ in deadline.cancel() }
        return Attempt(channel: channel, link: link.futureResult)
    }
}

/// Reads the answer of a peer that refused the upgrade.
private final class LinkRefusalReader: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart

    private let link: EventLoopPromise<MuxConnection>
    private var status = HTTPResponseStatus.internalServerError
    private var body = ByteBuffer()

    init(link: EventLoopPromise<MuxConnection>) { self.link = link }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            status = head.status
        case .body(let part):
            guard body.readableBytes + part.readableBytes <= LinkProtocol.refusalBytes else { return refuse() }
            body.writeImmutableBuffer(part)
        case .end:
            refuse()
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        refuse()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        refuse()
    }

    private func refuse() { link.fail(LinkDialError.refused(status, body: body)) }
}
