public import FastableCore
public import NIOCore
import NIOHTTP1
import NIOPosix
public import NIOSSL

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// Accepts the links that nodes dial: TLS, then a check of the certificate, then the WebSocket upgrade.
///
/// `Identity` is what the check makes of a certificate.
public final class LinkListener<Identity: Sendable>: Sendable {
    /// Who may connect. Gets the certificate (DER) that TLS has verified against the authority. What it throws is told to the
    /// peer (the public message) and to `onRefused`.
    public typealias Authorize = @Sendable (_ peerCertificateDER: [UInt8]) async throws -> Identity
    /// A connection that did not become a link, for the log and the counters: failed TLS, refused certificate, other requests.
    public typealias OnRefused = @Sendable (_ remoteAddress: SocketAddress?, _ reason: FastableError) -> Void

    struct Arrival: Sendable {
        let connection: MuxConnection
        let identity: Identity
        let remoteAddress: SocketAddress?
    }

    /// Where the listener is bound, with the real port when 0 was asked for.
    public let localAddress: SocketAddress

    private let server: any Channel
    private let arrivals: AsyncStream<Arrival>
    private let book: LinkBook<Identity>

    private init(
        server: any Channel, localAddress: SocketAddress, arrivals: AsyncStream<Arrival>, book: LinkBook<Identity>
    ) {
        self.server = server
        self.localAddress = localAddress
        self.arrivals = arrivals
        self.book = book
    }

    /// Binds the address and begins to accept. Throws `conflict` when the port is taken, otherwise `unavailable`.
    public static func bind(
        host: String, port: Int, sslContext: NIOSSLContext, eventLoopGroup: any EventLoopGroup,
        authorize: @escaping Authorize, onRefused: @escaping OnRefused
    ) async throws -> LinkListener {
        try await bind(
            host: host, port: port, sslContext: sslContext, eventLoopGroup: eventLoopGroup, authorize: authorize,
            onRefused: onRefused, limits: LinkLimits())
    }

    package static func bind(
        host: String, port: Int, sslContext: NIOSSLContext, eventLoopGroup: any EventLoopGroup,
        authorize: @escaping Authorize, onRefused: @escaping OnRefused, limits: LinkLimits
    ) async throws -> LinkListener {
        let (arrivals, continuation) = AsyncStream.makeStream(of: Arrival.self)
        let book = LinkBook(arrivals: continuation, limit: limits.connections)
        do {
            let server = try await ServerBootstrap(group: eventLoopGroup)
                .serverChannelOption(.backlog, value: 512)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
                .childChannelOption(.writeBufferWaterMark, value: LinkChannel.waterMark)
                .childChannelOption(.recvAllocator, value: LinkChannel.reads)
                .childChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        let remoteAddress = channel.remoteAddress
                        let admission = LinkAdmission(authorize: authorize) { onRefused(remoteAddress, $0) }
                        let tls = NIOSSLServerHandler(context: sslContext)
                        try prepare(channel, tls: tls, admission: admission, book: book, timeout: limits.timeAmount)
                    }
                }
                .bind(host: host, port: port).get()
            guard let address = server.localAddress else {
                throw FastableError(.internal, "The node listener has no address.")
            }
            return LinkListener(server: server, localAddress: address, arrivals: arrivals, book: book)
        } catch {
            throw bindError(error, host: host, port: port)
        }
    }

    /// Hands every accepted link to `onLink` in a child task, until `shutdown` is called or the task is cancelled.
    ///
    /// A link is closed when its `onLink` returns. Returns when every `onLink` has returned.
    public func run(
        onLink: @escaping @Sendable (MuxConnection, Identity, _ remoteAddress: SocketAddress?) async -> Void
    ) async {
        await withTaskCancellationHandler {
            await withDiscardingTaskGroup { group in
                for await arrival in arrivals {
                    group.addTask {
                        await onLink(arrival.connection, arrival.identity, arrival.remoteAddress)
                        arrival.connection.close(reason: "The controller is done with this link.")
                    }
                }
            }
        } onCancel: {
            beginShutdown()
        }
        await shutdown()
    }

    /// Stops accepting, then closes every link (the nodes are told) and waits until their connections are closed.
    public func shutdown() async {
        beginShutdown()
        try? await server.closeFuture.get()
        await book.waitUntilEmpty()
    }

    /// Connections now open, handshakes included.
    public var connectionCount: Int { book.count }

    private func beginShutdown() {
        server.close(promise: nil)
        book.close()
    }
}

extension LinkListener {
    private static func prepare(
        _ channel: any Channel, tls: NIOSSLServerHandler, admission: LinkAdmission<Identity>, book: LinkBook<Identity>,
        timeout: TimeAmount
    ) throws {
        guard book.enter(channel) else {
            admission.refuse(
                FastableError(.limit, "The node listener has too many connections or is shutting down."))
            channel.close(promise: nil)
            return
        }
        try channel.pipeline.syncOperations.addHandlers([tls, LinkHandshakeWatch(admission: admission)])
        let upgrade = NIOTypedHTTPServerUpgradeConfiguration<MuxConnection?>(
            upgraders: [LinkServerUpgrader(admission: admission)],
            notUpgradingCompletionHandler: { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(LinkRefusalWriter(admission: admission))
                    return nil
                }
            })
        var pipeline = NIOUpgradableHTTPServerPipelineConfiguration(upgradeConfiguration: upgrade)
        pipeline.enablePipelining = false
        let upgraded = try channel.pipeline.syncOperations.configureUpgradableHTTPServerPipeline(
            configuration: pipeline)

        let deadline = channel.eventLoop.scheduleTask(in: timeout) {
            admission.refuse(FastableError(.timeout, "The node did not finish TLS and the upgrade in time."))
            channel.close(promise: nil)
        }
        channel.closeFuture.whenComplete { _ in deadline.cancel() }
        upgraded.whenSuccess { connection in
            guard let connection else { return }
            deadline.cancel()
            guard let identity = admission.upgraded() else { return connection.close(reason: "Refused.") }
            book.upgrade(
                channel,
                Arrival(connection: connection, identity: identity, remoteAddress: channel.remoteAddress))
        }
    }

    private static func bindError(_ cause: any Error, host: String, port: Int) -> FastableError {
        if let known = cause as? FastableError { return known }
        if let system = cause as? IOError, system.errnoCode == EADDRINUSE {
            return FastableError(
                .conflict, "Port \(port) on \(host) is taken. Stop the other program or choose another port.",
                context: "\(cause)")
        }
        return FastableError(
            .unavailable, "The node listener cannot be bound to \(host), port \(port). Check the address.",
            context: "\(cause)")
    }
}
