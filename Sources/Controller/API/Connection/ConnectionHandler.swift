import NIOCore
import NIOHTTP1

/// Sits behind the HTTP decoder and does what the server library leaves out:
///
/// - tells the `ConnectionWatch` when the client goes away;
/// - answers `Expect: 100-continue` when the request's handler begins to read the body;
/// - turns the connection into a WebSocket when the answer says so (`ConnectionHandler+Upgrade.swift`);
/// - carries out `Connection: close` of an answer whose request body was not read: the answer goes out, then the sending side is
///   closed, and the rest arrives and is dropped as long as some of it comes now and then, within bounds. Closing at once would reset
///   the connection and could destroy the answer on its way.
final class ConnectionHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    /// So long nothing may come of what is dropped, …
    static let lingerTime = TimeAmount.seconds(10)
    /// … and it goes on for so many times that.
    static let lingerRounds = 3

    let sockets: WebSocketSettings
    var upgrade = UpgradeStateMachine()
    /// The server takes no more requests.
    var isQuiescing = false
    /// Somebody asked for more bytes while reads were held back.
    private var wantsRead = false
    private let watch: ConnectionWatch
    private var closesAfterEnd = false
    /// Something has come since the last look at what is dropped.
    private var hasHeard = false

    init(watch: ConnectionWatch, sockets: WebSocketSettings) {
        self.watch = watch
        self.sockets = sockets
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        hasHeard = true
        switch unwrapInboundIn(data) {
        case .head(let head):
            let expects = head.headers[canonicalForm: "expect"].contains { $0.lowercased() == "100-continue" }
            watch.requestBegan(
                sendContinue: expects ? sendContinue(context) : nil, mayBecomeWebSocket: upgrade.began(head))
        case .body: break
        case .end: if upgrade.requestEnded() == .hold { return }
        }
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch unwrapOutboundIn(data) {
        case .head(var head):
            switch upgrade.answerBegan(head.status) {
            case .upgrade: return becomeWebSocket(context, answer: head, promise)
            case .passAsLast(let releasesEnd):
                head.headers.replaceOrAdd(name: "connection", value: "close")
                if releasesEnd {
                    context.fireChannelRead(wrapInboundOut(.end(nil)))
                    context.fireChannelReadComplete()
                }
            case .pass: break
            }
            let options = head.headers[canonicalForm: "connection"]
            closesAfterEnd = options.contains { $0.lowercased() == "close" }
            context.write(wrapOutboundOut(.head(head)), promise: promise)
        case .body:
            context.write(data, promise: promise)
        case .end:
            upgrade.answerEnded()
            guard closesAfterEnd else { return context.write(data, promise: promise) }
            context.writeAndFlush(data, promise: promise)
            context.close(mode: .output, promise: nil)
            linger(context.channel, rounds: Self.lingerRounds)
        }
    }

    private func linger(_ channel: any Channel, rounds: Int) {
        hasHeard = false
        let handler = NIOLoopBound(self, eventLoop: channel.eventLoop)
        channel.eventLoop.scheduleTask(in: Self.lingerTime) {
            guard handler.value.hasHeard, rounds > 1, channel.isActive else { return channel.close(promise: nil) }
            handler.value.linger(channel, rounds: rounds - 1)
        }
    }

    func read(context: ChannelHandlerContext) {
        wantsRead = upgrade.holdsReads
        if !wantsRead { context.read() }
    }

    /// Does a read that was held back.
    func resumeReading(_ context: ChannelHandlerContext) {
        guard wantsRead else { return }
        wantsRead = false
        context.read()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is ChannelShouldQuiesceEvent { isQuiescing = true }
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
