import FastableCore
import FastableWire
import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import NIOWebSocket

/// The WebSocket on which a command is followed and written to: one frame of the link a message.
struct AttachSocket: Sendable {
    typealias Channel = NIOAsyncChannel<WebSocketFrame, WebSocketFrame>

    let channel: Channel

    static let subprotocol = "fastable.exec.v1"

    /// Connects to `path`. A refusal is thrown as the error that the controller answers.
    static func connect(_ client: Client, path: String) async throws -> AttachSocket {
        guard let url = URL(string: client.url + path), let host = url.host, let scheme = url.scheme else {
            throw FastableError(.invalid, "‘\(client.url)’ is no usable address. Log in again: fastable login --help")
        }
        let isSecure = scheme == "https"
        let port = url.port ?? (isSecure ? 443 : 80)
        let tls = isSecure ? try NIOSSLContext(configuration: .makeClientConfiguration()) : nil
        var head = HTTPRequestHead(version: .http1_1, method: .GET, uri: path)
        head.headers = [
            "host": "\(host):\(port)", "authorization": client.authorization, "sec-websocket-protocol": subprotocol,
            "user-agent": "fastable/\(Version.text)",
        ]
        let request = head
        let upgraded: EventLoopFuture<Upgrade>
        do {
            upgraded = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connectTimeout(.seconds(10))
                .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                .connect(host: host, port: port) { channel in
                    _ = VanishedController.watch(channel)
                    return channel.eventLoop.makeCompletedFuture {
                        if let tls {
                            // An address has no name that a certificate could be checked against by this extension.
                            let name = (try? SocketAddress(ipAddress: host, port: port)) == nil ? host : nil
                            let handler = try NIOSSLClientHandler(context: tls, serverHostname: name)
                            try channel.pipeline.syncOperations.addHandler(handler)
                        }
                        return try upgrade(channel, request)
                    }
                }
        } catch let error as FastableError {
            throw error
        } catch {
            throw unreachable(client, error)
        }
        do {
            switch try await upgraded.get() {
            case .socket(let channel): return AttachSocket(channel: channel)
            case .refused(let answer):
                let (status, body) = try await answer.get()
                throw Client.problem(status, body, at: client.url)
            }
        } catch let error as FastableError {
            throw error
        } catch {
            throw unreachable(client, error)
        }
    }

    private enum Upgrade: Sendable {
        case socket(Channel)
        /// The answer that refuses it.
        case refused(EventLoopFuture<RefusalReader.Answer>)
    }

    private static func upgrade(
        _ channel: any NIOCore.Channel, _ request: HTTPRequestHead
    ) throws -> EventLoopFuture<Upgrade> {
        let upgrader = NIOTypedWebSocketClientUpgrader<Upgrade>(maxFrameSize: 2 * Limits.framePayloadBytes) {
            channel, _ in
            channel.eventLoop.makeCompletedFuture { .socket(try Channel(wrappingChannelSynchronously: channel)) }
        }
        let configuration = NIOTypedHTTPClientUpgradeConfiguration<Upgrade>(
            upgradeRequestHead: request, upgraders: [upgrader],
            notUpgradingCompletionHandler: { channel in
                channel.eventLoop.makeCompletedFuture {
                    let body = channel.eventLoop.makePromise(of: RefusalReader.Answer.self)
                    try channel.pipeline.syncOperations.addHandler(RefusalReader(body))
                    return .refused(body.futureResult)
                }
            })
        var pipeline = NIOUpgradableHTTPClientPipelineConfiguration(upgradeConfiguration: configuration)
        pipeline.leftOverBytesStrategy = .forwardBytes
        return try channel.pipeline.syncOperations.configureUpgradableHTTPClientPipeline(configuration: pipeline)
    }

    private static func unreachable(_ client: Client, _ cause: any Error) -> FastableError {
        FastableError(
            .unavailable, "No controller answers at \(client.url). Is it running? (‘make up’ starts one.)",
            context: "\(cause)")
    }
}

extension WebSocketFrame {
    /// A message with one frame of the link. Clients mask what they send.
    static func message(_ frame: Frame) -> WebSocketFrame {
        WebSocketFrame(fin: true, opcode: .binary, maskKey: .random(), data: FrameCodec.encode(frame))
    }

    static func control(_ value: JSONValue) throws -> WebSocketFrame {
        message(Frame(type: .message, stream: 1, payload: ByteBuffer(bytes: try JSON.encode(value))))
    }
}

/// Reads the answer of a server that does not take the WebSocket.
private final class RefusalReader: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart

    typealias Answer = (status: HTTPResponseStatus, body: ByteBuffer)

    private static let bytes = 256 * 1024
    private let promise: EventLoopPromise<Answer>
    private var answer: Answer = (.badGateway, ByteBuffer())

    init(_ promise: EventLoopPromise<Answer>) { self.promise = promise }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): answer.status = head.status
        case .body(let part) where answer.body.readableBytes + part.readableBytes <= Self.bytes:
            answer.body.writeImmutableBuffer(part)
        case .body, .end:
            promise.succeed(answer)
            context.close(promise: nil)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        promise.succeed(answer)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { promise.fail(error) }
}
