import FastableWire
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import Synchronization

/// Hummingbird's HTTP/1.1 connection with a `ConnectionWatch` around its request loop.
struct WatchedHTTPChannel: ServerChildChannel, HTTPChannelHandler {
    /// A connection that was accepted.
    ///
    /// A server that stops drops what it accepted and did not begin to serve, and NIO ends the process when the
    /// writer of such a connection goes without being finished (apple/swift-nio#2813). So it is finished here.
    final class Value: ServerChildChannelValue {
        let watch = ConnectionWatch()
        private let base: HTTP1Channel.Value
        private let isServed = Atomic(false)

        var channel: any Channel { base.channel }

        init(_ base: HTTP1Channel.Value) { self.base = base }

        /// For whoever serves it to its end.
        func take() -> HTTP1Channel.Value {
            isServed.store(true, ordering: .relaxed)
            return base
        }

        deinit {
            guard !isServed.load(ordering: .relaxed) else { return }
            Task { [base] in try? await base.executeThenClose { _, _ in } }
        }
    }

    let base: HTTP1Channel
    let sockets: WebSocketSettings

    var responder: HTTPChannelHandler.Responder { base.responder }

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        base.setup(channel: channel, logger: logger).flatMapThrowing { value in
            let value = Value(value)
            VanishedPeer.watch(channel)
            let pipeline = channel.pipeline.syncOperations
            let decoder = try pipeline.handler(type: ByteToMessageHandler<HTTPRequestDecoder>.self)
            try pipeline.addHandler(ConnectionHandler(watch: value.watch, sockets: sockets), position: .after(decoder))
            return value
        }
    }

    func handle(value: Value, logger: Logger) async {
        await ConnectionWatch.$current.withValue(value.watch) {
            await withTaskExecutorPreference(LoopExecutor.on(value.channel.eventLoop)) {
                await base.handle(value: value.take(), logger: logger)
            }
        }
    }
}
