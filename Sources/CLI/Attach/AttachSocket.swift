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
        let upgraded: EventLoopFuture<Channel?>
        do {
            upgraded = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connectTimeout(.seconds(10))
                .channelOption(.socketOption(.tcp_nodelay), value: 1)
                .connect(host: host, port: port) { channel in
                    channel.eventLoop.makeCompletedFuture {
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
            guard let channel = try await upgraded.get() else { throw try await refusal(client, path) }
            return AttachSocket(channel: channel)
        } catch let error as FastableError {
            throw error
        } catch {
            throw unreachable(client, error)
        }
    }

    private static func upgrade(
        _ channel: any NIOCore.Channel, _ request: HTTPRequestHead
    ) throws -> EventLoopFuture<Channel?> {
        let upgrader = NIOTypedWebSocketClientUpgrader<Channel?>(maxFrameSize: 2 * Limits.framePayloadBytes) {
            channel, _ in
            channel.eventLoop.makeCompletedFuture { try Channel(wrappingChannelSynchronously: channel) }
        }
        let configuration = NIOTypedHTTPClientUpgradeConfiguration<Channel?>(
            upgradeRequestHead: request, upgraders: [upgrader],
            notUpgradingCompletionHandler: { channel in
                channel.close(promise: nil)
                return channel.eventLoop.makeSucceededFuture(nil)
            })
        var pipeline = NIOUpgradableHTTPClientPipelineConfiguration(upgradeConfiguration: configuration)
        pipeline.leftOverBytesStrategy = .forwardBytes
        return try channel.pipeline.syncOperations.configureUpgradableHTTPClientPipeline(configuration: pipeline)
    }

    /// Why there was no upgrade: the ordinary answer of the same path tells.
    private static func refusal(_ client: Client, _ path: String) async throws -> FastableError {
        do {
            _ = try await client.send(client.request(.GET, path), timeout: .seconds(10))
        } catch let error as FastableError {
            return error
        }
        return FastableError(.internal, "What answers at \(client.url) does not take WebSocket connections.")
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
