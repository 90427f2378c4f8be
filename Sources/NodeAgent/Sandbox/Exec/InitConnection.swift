import CLinux
import FastableCore
import FastableWire
import Glibc
import NIOCore
import NIOPosix
public import NodeLinux

/// The node's connection to the init of one container.
///
/// Frames arrive on the channel's event loop and are handled there, in order: what they change is visible to the next one.
final class InitConnection: Sendable {
    enum Event: Sendable {
        case report(InitReport)
        /// The connection is lost or broke the protocol. The last event.
        case closed
    }

    typealias Receiver = @Sendable (InitConnection, Event) -> Void

    private let channel: any Channel

    private init(channel: any Channel) { self.channel = channel }

    /// Connects and hands over the container's cgroup directory; init answers with `welcome`.
    ///
    /// - Throws: `gone` when no init listens at the path any more, otherwise `unavailable`.
    static func open(
        path: String, cgroup: borrowing NodeLinux.FileDescriptor, group: any EventLoopGroup, receive: @escaping Receiver
    ) async throws -> InitConnection {
        let hello = InitRequest.hello()
        let socket = hello.withUnsafeReadableBytes { bytes in
            fastable_init_connect(path, bytes.baseAddress, bytes.count, cgroup.number)
        }
        guard socket >= 0 else { throw refusal(Errno(-socket)) }
        do {
            let channel = try await ClientBootstrap(group: group)
                .channelOption(
                    .recvAllocator,
                    value: AdaptiveRecvByteBufferAllocator(minimum: 1024, initial: 4096, maximum: 256 * 1024)
                )
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        let connection = InitConnection(channel: channel)
                        let handler = InitFrameHandler { receive(connection, $0) }
                        try channel.pipeline.syncOperations.addHandler(handler)
                    }
                }
                .withConnectedSocket(socket).get()
            return InitConnection(channel: channel)
        } catch {
            throw FastableError(
                .unavailable, "The container does not answer. Try again.", context: "\(error)", retryAfterSeconds: 1)
        }
    }

    private static func refusal(_ error: Errno) -> FastableError {
        switch error.number {
        case ECONNREFUSED, ENOENT:
            FastableError(
                .gone, "The container has ended. Run the command again to get a new one.", context: "\(error)")
        default:
            FastableError(
                .unavailable, "The container cannot be reached. Try again.", context: "connect: \(error)",
                retryAfterSeconds: 1)
        }
    }

    var eventLoop: any EventLoop { channel.eventLoop }

    /// Sends a request. When the connection is lost instead, `closed` tells so.
    func send(_ request: ByteBuffer) { channel.writeAndFlush(request, promise: nil) }

    func close() { channel.close(promise: nil) }
}

/// The socket that a container's init inherits as file descriptor 3.
public enum InitSocket {
    /// Listens at a path on the host, which only root can connect to. Close the result once init has it: that nobody listens any
    /// more is how the end of the container is noticed.
    public static func listen(at path: String) throws(Errno) -> NodeLinux.FileDescriptor {
        try NodeLinux.FileDescriptor(checking: fastable_init_listen(path))
    }
}

/// Cuts the socket's bytes into reports.
private final class InitFrameHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private var frames = FrameStreamDecoder()
    private let deliver: (InitConnection.Event) -> Void

    init(deliver: @escaping (InitConnection.Event) -> Void) { self.deliver = deliver }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        do {
            frames.append(unwrapInboundIn(data))
            while let frame = try frames.next() { deliver(.report(try InitReport(frame))) }
        } catch {
            context.close(promise: nil)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        deliver(.closed)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
