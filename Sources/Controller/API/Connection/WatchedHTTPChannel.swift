import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1

/// Hummingbird's HTTP/1.1 connection with a `ConnectionWatch` around its request loop.
struct WatchedHTTPChannel: ServerChildChannel, HTTPChannelHandler {
    struct Value: ServerChildChannelValue {
        let base: HTTP1Channel.Value
        let watch: ConnectionWatch
        var channel: any Channel { base.channel }
    }

    let base: HTTP1Channel
    let sockets: WebSocketSettings

    var responder: HTTPChannelHandler.Responder { base.responder }

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        base.setup(channel: channel, logger: logger).flatMapThrowing { value in
            let watch = ConnectionWatch()
            VanishedPeer.watch(channel)
            let pipeline = channel.pipeline.syncOperations
            let decoder = try pipeline.handler(type: ByteToMessageHandler<HTTPRequestDecoder>.self)
            try pipeline.addHandler(ConnectionHandler(watch: watch, sockets: sockets), position: .after(decoder))
            return Value(base: value, watch: watch)
        }
    }

    func handle(value: Value, logger: Logger) async {
        await ConnectionWatch.$current.withValue(value.watch) {
            await base.handle(value: value.base, logger: logger)
        }
    }
}
