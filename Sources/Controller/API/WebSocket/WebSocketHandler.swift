import FastableWire
import NIOCore
import NIOHTTP1
import NIOWebSocket

/// Carries a WebSocket on a connection that was HTTP.
///
/// To the route it looks like one request that goes on: each message of the client is a piece of the request's body, each piece
/// of the answer's body is a message to the client, and the answer's end says goodbye. So the backpressure of bodies, in both
/// directions, is that of the WebSocket.
final class WebSocketHandler: ChannelDuplexHandler {
    typealias InboundIn = WebSocketFrame
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = ByteBuffer

    /// Up to this a payload is copied behind its header: cheaper than a TLS record of its own for the header.
    private static let copiedBytes = 8 * 1024

    private var machine: WebSocketStateMachine
    private var timer: (task: Scheduled<Void>, deadline: NIODeadline)?
    /// The channel was asked for more bytes, so the client can be heard.
    private var isReadPending = false

    init(_ settings: WebSocketSettings) { machine = WebSocketStateMachine(settings, now: .now()) }

    func handlerAdded(context: ChannelHandlerContext) { arm(context) }

    func handlerRemoved(context: ChannelHandlerContext) { disarm() }

    func channelInactive(context: ChannelHandlerContext) {
        machine.clientHasGone()
        disarm()
        context.fireChannelInactive()
    }

    // MARK: from the client

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        perform(machine.received(unwrapInboundIn(data), now: .now()), context)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        isReadPending = false
        machine.heard(now: .now())
        answerPing(context)
        context.fireChannelReadComplete()
        listenForGoodbye(context)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch error {
        case let error as NIOWebSocketError: perform(machine.decodingFailed(error, now: .now()), context)
        // What follows a frame that could not be decoded.
        case is ByteToMessageDecoderError: break
        default: context.close(promise: nil)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is ChannelShouldQuiesceEvent: close(.stopping, context)
        case ChannelEvent.inputClosed:
            machine.clientHasGone()
            context.fireUserInboundEventTriggered(event)
            context.close(promise: nil)
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    // MARK: from the route

    func read(context: ChannelHandlerContext) {
        isReadPending = true
        context.read()
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch unwrapOutboundIn(data) {
        case .body(.byteBuffer(let message)) where machine.isOpen: write(.binary, message, context, promise)
        case .end:
            perform(machine.routeEnded(now: .now()), context)
            promise?.succeed()
        case .head, .body: promise?.fail(ChannelError.outputClosed)
        }
    }

    func triggerUserOutboundEvent(context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?) {
        guard let close = event as? WebSocketClose else {
            return context.triggerUserOutboundEvent(event, promise: promise)
        }
        self.close(close, context)
        promise?.succeed()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        answerPing(context)
        context.fireChannelWritabilityChanged()
    }

    private func close(_ close: WebSocketClose, _ context: ChannelHandlerContext) {
        perform(machine.close(close, now: .now()), context)
    }

    // MARK: what the machine wants

    private func perform(_ actions: [WebSocketStateMachine.Action], _ context: ChannelHandlerContext) {
        for action in actions {
            switch action {
            case .deliver(let message): context.fireChannelRead(wrapInboundOut(.body(message)))
            case .deliverEnd:
                context.fireChannelRead(wrapInboundOut(.end(nil)))
                context.fireChannelReadComplete()
            case .sendPing:
                write(.ping, ByteBuffer(), context, nil)
                context.flush()
            case .sendClose(let close): send(close, context)
            case .closeChannel: context.close(promise: nil)
            }
        }
        arm(context)
    }

    private func send(_ close: WebSocketClose, _ context: ChannelHandlerContext) {
        let sent = context.eventLoop.makePromise(of: Void.self)
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        sent.futureResult.whenSuccess {
            let (handler, context) = bound.value
            handler.perform(handler.machine.closeWasSent(now: .now()), context)
        }
        write(.connectionClose, close.payload, context, sent)
        context.flush()
        listenForGoodbye(context)
    }

    /// The route reads no more, so nobody else asks the channel for the client's answer.
    private func listenForGoodbye(_ context: ChannelHandlerContext) {
        if machine.isClosing { context.read() }
    }

    private func answerPing(_ context: ChannelHandlerContext) {
        guard context.channel.isWritable, let payload = machine.takePong() else { return }
        write(.pong, payload, context, nil)
        context.flush()
    }

    private func write(
        _ opcode: WebSocketOpcode, _ payload: ByteBuffer, _ context: ChannelHandlerContext,
        _ promise: EventLoopPromise<Void>?
    ) {
        let isCopied = payload.readableBytes <= Self.copiedBytes
        var frame = context.channel.allocator.buffer(capacity: 16 + (isCopied ? payload.readableBytes : 0))
        WebSocketFraming.writeHeader(opcode, payloadBytes: payload.readableBytes, masked: false, into: &frame)
        if isCopied {
            frame.writeImmutableBuffer(payload)
            context.write(wrapOutboundOut(frame), promise: promise)
        } else {
            context.write(wrapOutboundOut(frame), promise: nil)
            context.write(wrapOutboundOut(payload), promise: promise)
        }
    }

    // MARK: the clock

    /// Sees to it that `tick` is called when the machine wants it, or a little earlier.
    private func arm(_ context: ChannelHandlerContext) {
        guard let deadline = machine.deadline else { return disarm() }
        if let timer, timer.deadline <= deadline { return }
        disarm()
        let task = context.eventLoop.assumeIsolated().scheduleTask(deadline: deadline) {
            self.timer = nil
            let isListening = self.isReadPending && context.channel.isWritable
            self.perform(self.machine.tick(now: .now(), isListening: isListening), context)
        }
        timer = (task, deadline)
    }

    private func disarm() {
        timer?.task.cancel()
        timer = nil
    }
}
