import HummingbirdCore
import NIOCore
import NIOHTTP1
import NIOWebSocket

extension ConnectionHandler {
    /// Sends the answer, then puts the WebSocket in the place of HTTP. Nothing was read behind the request, and nothing is until
    /// the HTTP decoder is gone.
    func becomeWebSocket(
        _ context: ChannelHandlerContext, answer: HTTPResponseHead, _ promise: EventLoopPromise<Void>?
    ) {
        context.writeAndFlush(wrapOutboundOut(.head(answer)), promise: promise)
        let pipeline = context.pipeline.syncOperations
        let socket = WebSocketHandler(sockets)
        let removed = context.eventLoop.makePromise(of: Void.self)
        do {
            let decoder = WebSocketFrameDecoder(maxFrameSize: sockets.messageBytes)
            try pipeline.addHandlers(
                [ByteToMessageHandler(decoder), socket], position: .before(self))
            pipeline.removeHandler(try pipeline.handler(type: HTTPResponseEncoder.self), promise: nil)
            // Its deadline is that of a request that does not arrive.
            pipeline.removeHandler(try pipeline.handler(type: HTTPConnectionStateHandler.self), promise: nil)
            let http = try pipeline.handler(type: ByteToMessageHandler<HTTPRequestDecoder>.self)
            pipeline.removeHandler(http, promise: removed)
        } catch {
            removed.fail(error)
        }
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        removed.futureResult.whenComplete { result in
            let (handler, context) = bound.value
            guard case .success = result else { return context.close(promise: nil) }
            handler.resumeReading(context)
            // The server began to stop while the request was on its way.
            if handler.isQuiescing { context.triggerUserOutboundEvent(WebSocketClose.stopping, promise: nil) }
        }
    }
}
