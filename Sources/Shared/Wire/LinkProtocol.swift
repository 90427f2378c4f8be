import FastableCore
import NIOCore
import NIOHTTP1
import NIOWebSocket

/// The names that both ends of a link agree on.
enum LinkProtocol {
    static let path = "/link"
    static let subprotocol = "fastable.link.v1"
    static let subprotocolHeader = "Sec-WebSocket-Protocol"
    /// Longest body of a refusal that a dialer reads.
    static let refusalBytes = 16 * 1024
}

/// The bounds of making links. The product uses the defaults; tests use small ones.
package struct LinkLimits: Sendable {
    /// For TCP, and again for TLS and the upgrade together.
    package var timeout = Duration.seconds(Limits.linkConnectSeconds)
    package var connections = Limits.linksPerListener

    package init() {}

    var timeAmount: TimeAmount { TimeAmount(timeout) }
}

/// Channel options that both ends of a link use.
enum LinkChannel {
    /// Enough that a flush seldom finds the channel unwritable, and little enough that a ping is not stuck behind seconds of
    /// data on a slow network.
    static let waterMark = ChannelOptions.Types.WriteBufferWaterMark(low: 128 * 1024, high: 512 * 1024)
    static let reads = AdaptiveRecvByteBufferAllocator(minimum: 2048, initial: 16 * 1024, maximum: 256 * 1024)
}

/// The dialer's half of the upgrade: NIO's handshake, then our pipeline instead of NIO's.
struct LinkClientUpgrader: NIOTypedHTTPClientProtocolUpgrader {
    /// `nil` when the peer refused; its answer is then read by the handler that was put in place.
    typealias UpgradeResult = MuxConnection?

    private let handshake = NIOTypedWebSocketClientUpgrader<Void>(
        upgradePipelineHandler: { channel, _ in channel.eventLoop.makeSucceededVoidFuture() })

    var supportedProtocol: String { handshake.supportedProtocol }
    var requiredUpgradeHeaders: [String] { handshake.requiredUpgradeHeaders }

    func addCustom(upgradeRequestHeaders: inout HTTPHeaders) {
        handshake.addCustom(upgradeRequestHeaders: &upgradeRequestHeaders)
        upgradeRequestHeaders.add(name: LinkProtocol.subprotocolHeader, value: LinkProtocol.subprotocol)
    }

    func shouldAllowUpgrade(upgradeResponse: HTTPResponseHead) -> Bool {
        handshake.shouldAllowUpgrade(upgradeResponse: upgradeResponse)
            && upgradeResponse.headers[LinkProtocol.subprotocolHeader] == [LinkProtocol.subprotocol]
    }

    func upgrade(channel: any Channel, upgradeResponse: HTTPResponseHead) -> EventLoopFuture<MuxConnection?> {
        channel.eventLoop.makeCompletedFuture { try MuxConnection.attach(to: channel, role: .dialer) }
    }
}

/// The listener's half of the upgrade, for one connection.
struct LinkServerUpgrader<Identity: Sendable>: NIOTypedHTTPServerProtocolUpgrader {
    /// `nil` when the connection was refused.
    typealias UpgradeResult = MuxConnection?

    private let handshake: NIOTypedWebSocketServerUpgrader<Void>

    init(admission: LinkAdmission<Identity>) {
        handshake = NIOTypedWebSocketServerUpgrader<Void>(
            shouldUpgrade: { channel, request in admission.decide(on: request, channel: channel) },
            upgradePipelineHandler: { channel, _ in channel.eventLoop.makeSucceededVoidFuture() })
    }

    var supportedProtocol: String { handshake.supportedProtocol }
    var requiredUpgradeHeaders: [String] { handshake.requiredUpgradeHeaders }

    func buildUpgradeResponse(
        channel: any Channel, upgradeRequest: HTTPRequestHead, initialResponseHeaders: HTTPHeaders
    ) -> EventLoopFuture<HTTPHeaders> {
        handshake.buildUpgradeResponse(
            channel: channel, upgradeRequest: upgradeRequest, initialResponseHeaders: initialResponseHeaders)
    }

    func upgrade(channel: any Channel, upgradeRequest: HTTPRequestHead) -> EventLoopFuture<MuxConnection?> {
        channel.eventLoop.makeCompletedFuture { try MuxConnection.attach(to: channel, role: .listener) }
    }
}
