import FastableCore
import Foundation
import NIOCore
import NIOPosix
import NIOSSL
import Testing

/// What a hostile program sends behind a correct upgrade.
enum RawFrame: String, Sendable {
    /// Announces more than a frame may have, and sends on.
    case tooLarge
    case unmasked, text
    /// A correct WebSocket message whose content is no frame of the link.
    case garbage

    private var bytes: [UInt8] {
        switch self {
        case .tooLarge:
            [0x82, 0xff, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0] + [UInt8](repeating: 7, count: 400_000)
        case .unmasked: [0x82, 0x04, 1, 2, 3, 4]
        case .text: [0x81, 0x84, 0, 0, 0, 0, 1, 2, 3, 4]
        case .garbage: [0x82, 0x80 | 64, 0, 0, 0, 0] + [UInt8](repeating: 0xee, count: 64)
        }
    }

    private static let upgrade = """
        GET /link HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
        Sec-WebSocket-Protocol: fastable.link.v1\r\n\r\n
        """

    /// Returns when the controller has closed the connection.
    func send(to controller: TestController, context: NIOSSLContext) async throws {
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(host: "127.0.0.1", port: controller.nodePort) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        NIOSSLClientHandler(context: context, serverHostname: nil))
                    return try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
                }
            }
        try await channel.executeThenClose { inbound, outbound in
            try await outbound.write(ByteBuffer(string: Self.upgrade))
            var answer = ""
            // A connection that is cut in the middle of a write ends with an error, which is as good.
            do {
                for try await part in inbound {
                    let isFirst = answer.isEmpty
                    answer += String(buffer: part)
                    if isFirst { try await outbound.write(ByteBuffer(bytes: bytes)) }
                }
            } catch {}
            #expect(answer.hasPrefix("HTTP/1.1 101"), "\(answer.prefix(200))")
        }
    }
}
