import FastableCore
import NIOCore
import NIOWebSocket

/// Runs a link on its event loop: WebSocket frames in, bytes out, the clock.
///
/// Outgoing frames are taken from the machine only while the channel is writable, a burst at a time with one flush each, so
/// what waits for a slow network waits in its sender and not in memory. A payload is written as it is, without a copy.
final class MuxChannelHandler: ChannelInboundHandler {
    typealias InboundIn = WebSocketFrame
    typealias OutboundOut = ByteBuffer

    private let core: MuxCore
    private let role: MuxRole
    private let payloadLimit: Int
    private var context: ChannelHandlerContext?
    private var timer: Scheduled<Void>?
    /// The last WebSocket ping. RFC 6455 allows to answer only the newest one, so a flood of pings queues nothing.
    private var unansweredPing: ByteBuffer?
    private var isDraining = false
    private var isClosing = false

    /// Bytes between two flushes, and bursts before other links of the same loop get their turn.
    private static let burstBytes = 256 * 1024
    private static let burstsPerTurn = 8
    /// Up to this a payload is copied behind its header: cheaper than a TLS record of its own for the header.
    private static let copiedPayloadBytes = 8 * 1024

    init(core: MuxCore, role: MuxRole, payloadLimit: Int) {
        self.core = core
        self.role = role
        self.payloadLimit = payloadLimit
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        let loop = context.eventLoop
        let handler = NIOLoopBound(self, eventLoop: loop)
        core.attach { loop.execute { handler.value.drain() } }
        tick()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        leave("the channel was taken apart")
    }

    func channelInactive(context: ChannelHandlerContext) {
        leave("the connection was closed")
        context.fireChannelInactive()
    }

    private func leave(_ reason: String) {
        core.linkLost(reason)
        core.detach()
        timer?.cancel()
        timer = nil
        context = nil
    }

    // MARK: incoming

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isClosing else { return }
        let frame = unwrapInboundIn(data)
        guard (frame.maskKey != nil) == (role == .listener), frame.reservedBits.isEmpty else {
            return core.violation("a WebSocket frame with wrong mask or reserved bits")
        }
        switch frame.opcode {
        case .binary:
            receive(frame)
        case .ping:
            unansweredPing = WebSocketFraming.payload(of: frame)
        case .pong:
            break
        case .connectionClose:
            core.linkLost("the other end closed the WebSocket")
        default:
            core.violation("a WebSocket frame of opcode \(frame.opcode)")
        }
    }

    private func receive(_ frame: WebSocketFrame) {
        guard frame.fin else { return core.violation("a fragmented WebSocket message") }
        do {
            core.receive(
                try FrameCodec.decode(message: WebSocketFraming.payload(of: frame), payloadLimit: payloadLimit))
        } catch {
            core.violation("a malformed frame (\(error))")
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        // Also when the bytes do not make a whole frame yet: a slow network is not a silent one.
        core.heard()
        drain()
        context.fireChannelReadComplete()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if error is NIOWebSocketError {
            core.violation("a malformed WebSocket frame (\(error))")
        } else {
            core.linkLost("\(error)")
        }
        drain()
    }

    // MARK: the clock

    private func tick() {
        guard let context, !isClosing else { return }
        let pause = core.tick()
        let delay = TimeAmount.nanoseconds(max(1_000_000, pause.nanoseconds))
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: delay) { self.tick() }
        drain()
    }

    // MARK: outgoing

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        drain()
        context.fireChannelWritabilityChanged()
    }

    /// Sends what the machine has, as far as the network takes it.
    private func drain() {
        // A flush can report writability while it runs, and so call this again.
        guard let context, !isDraining, !isClosing else { return }
        isDraining = true
        if let ping = unansweredPing, context.channel.isWritable {
            unansweredPing = nil
            context.writeAndFlush(
                wrapOutboundOut(WebSocketFraming.pongFrame(ping, masked: role == .dialer)), promise: nil)
        }
        for _ in 0..<Self.burstsPerTurn where context.channel.isWritable {
            let frames = core.takeFrames(upTo: Self.burstBytes)
            guard !frames.isEmpty else { break }
            write(frames, context)
            context.flush()
        }
        isDraining = false
        if let ended = core.sent(isWritable: context.channel.isWritable) { sayGoodbye(ended, context) }
    }

    private func write(_ frames: [Frame], _ context: ChannelHandlerContext) {
        var batch = context.channel.allocator.buffer(capacity: 1024)
        for frame in frames {
            let payloadBytes = frame.payload.readableBytes
            WebSocketFraming.writeHeader(
                .binary, payloadBytes: FrameHeader.byteCount + payloadBytes, masked: role == .dialer, into: &batch)
            FrameCodec.encode(FrameHeader(of: frame), into: &batch)
            if payloadBytes <= Self.copiedPayloadBytes {
                batch.writeImmutableBuffer(frame.payload)
            } else {
                context.write(wrapOutboundOut(batch), promise: nil)
                context.write(wrapOutboundOut(frame.payload), promise: nil)
                batch = context.channel.allocator.buffer(capacity: 1024)
            }
        }
        if batch.readableBytes > 0 { context.write(wrapOutboundOut(batch), promise: nil) }
    }

    /// The link is over: `goaway` if the peer does not know yet, the WebSocket's close, then the channel's.
    private func sayGoodbye(_ ended: MuxStateMachine.Ended, _ context: ChannelHandlerContext) {
        isClosing = true
        timer?.cancel()
        core.detach()
        write(core.takeFrames(upTo: Self.burstBytes), context)
        let code: WebSocketErrorCode
        switch ended {
        case .locally: code = .goingAway
        case .broken: code = .normalClosure
        case .violated: code = .protocolError
        }
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        context.writeAndFlush(wrapOutboundOut(WebSocketFraming.closeFrame(code, masked: role == .dialer)))
            .whenComplete { _ in bound.value.close(promise: nil) }
        // A peer that does not read must not keep the channel.
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: .seconds(Int64(Limits.linkCloseSeconds))) {
            bound.value.close(promise: nil)
        }
    }
}

extension Duration {
    fileprivate var nanoseconds: Int64 {
        let (seconds, attoseconds) = components
        return seconds * 1_000_000_000 + attoseconds / 1_000_000_000
    }
}
