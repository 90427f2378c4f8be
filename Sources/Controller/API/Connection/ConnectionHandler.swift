import NIOCore
import NIOHTTP1

/// Sits behind the HTTP decoder and does what the server library leaves out:
///
/// - tells the `ConnectionWatch` when the client goes away;
/// - answers `Expect: 100-continue` when the request's handler begins to read the body;
/// - carries out `Connection: close` of an answer whose request body was not read: the answer goes out, then the sending side is
///   closed, and the rest arrives and is dropped for a moment. Closing at once would reset the connection and could destroy the
///   answer on its way.
final class ConnectionHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    static let lingerTime = TimeAmount.seconds(2)

    private let watch: ConnectionWatch
    private var closesAfterEnd = false

    init(watch: ConnectionWatch) { self.watch = watch }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if case .head(let head) = unwrapInboundIn(data) {
            let expects = head.headers[canonicalForm: "expect"].contains { $0.lowercased() == "100-continue" }
            watch.expectContinue(expects ? sendContinue(context) : nil)
        }
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch unwrapOutboundIn(data) {
        case .head(let head):
            let options = head.headers[canonicalForm: "connection"]
            closesAfterEnd = options.contains { $0.lowercased() == "close" }
            context.write(data, promise: promise)
        case .body:
            context.write(data, promise: promise)
        case .end where closesAfterEnd:
            context.writeAndFlush(data, promise: promise)
            context.close(mode: .output, promise: nil)
            let channel = context.channel
            context.eventLoop.scheduleTask(in: Self.lingerTime) { channel.close(promise: nil) }
        case .end:
            context.write(data, promise: promise)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .some(.inputClosed) = event as? ChannelEvent { watch.clientHasGone() }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        watch.clientHasGone()
        context.fireChannelInactive()
    }

    private func sendContinue(_ context: ChannelHandlerContext) -> @Sendable () -> Void {
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        return {
            bound.eventLoop.execute {
                let head = HTTPResponseHead(version: .http1_1, status: .continue)
                let part = NIOAny(HTTPServerResponsePart.head(head))
                bound.value.writeAndFlush(part, promise: nil)
            }
        }
    }
}
