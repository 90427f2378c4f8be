import Logging
import NIOCore
import Synchronization

/// The way to a container's init, over whichever connection there is. Everything that init says is handled on one event
/// loop, so that reports about one exec never overtake each other, also across connections.
final class InitLink: Sendable {
    let eventLoop: any EventLoop
    let logger: Logger
    private let connection = Mutex<InitConnection?>(nil)

    init(eventLoop: any EventLoop, logger: Logger) {
        self.eventLoop = eventLoop
        self.logger = logger
    }

    func use(_ new: InitConnection?) { connection.withLock { $0 = new } }

    var isInUse: Bool { connection.withLock { $0 != nil } }

    /// Sends a request; without a connection it is left out, and what init holds is asked for when there is one again.
    func send(_ request: ByteBuffer) { connection.withLock { $0 }?.send(request) }

    func close() {
        let last = connection.withLock { connection in
            defer { connection = nil }
            return connection
        }
        last?.close()
    }
}
