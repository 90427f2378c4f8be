import NIOCore
import NIOPosix
import Synchronization

/// Passes connections on to a port of this machine; of the first ones the answers get lost on their way.
final class LossyProxy: Sendable {
    private let channel: any Channel

    var url: String { "http://127.0.0.1:\(channel.localAddress?.port ?? 0)" }

    static func with<Value: Sendable>(
        _ port: Int, losses: Int, _ body: (LossyProxy) async throws -> Value
    ) async throws -> Value {
        let proxy = try await LossyProxy(port, losses: losses)
        let result: Result<Value, any Error>
        do { result = .success(try await body(proxy)) } catch { result = .failure(error) }
        try await proxy.channel.close()
        return try result.get()
    }

    private init(_ port: Int, losses: Int) async throws {
        let left = Mutex(losses)
        channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { client in
                let isLossy = left.withLock { left in
                    left -= 1
                    return left >= 0
                }
                return ClientBootstrap(group: client.eventLoop).connect(host: "127.0.0.1", port: port).flatMap {
                    server in
                    client.eventLoop.makeCompletedFuture {
                        try server.pipeline.syncOperations.addHandler(Forwarder(to: client, isLossy: isLossy))
                        try client.pipeline.syncOperations.addHandler(Forwarder(to: server, isLossy: false))
                    }
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
    }
}

private final class Forwarder: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let other: any Channel
    private let isLossy: Bool

    init(to other: any Channel, isLossy: Bool) {
        self.other = other
        self.isLossy = isLossy
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isLossy else { return other.close(promise: nil) }
        other.writeAndFlush(unwrapInboundIn(data), promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) { other.close(promise: nil) }
}
