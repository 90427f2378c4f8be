import Glibc
package import NIOCore
import Synchronization

/// A channel's socket for senders that are not on its event loop. What the socket does not take at once is left to the channel, and
/// everything after it too until the channel has sent it: bytes never overtake each other.
package final class DirectSocket: Sendable {
    private struct State {
        /// A descriptor of our own, so that its number cannot become another file's; -1 when there is none.
        var socket: CInt
        /// For the channel to take.
        var rest: ByteBuffer?
        /// What the channel took and has not sent yet.
        var inChannel = 0
    }

    private let state: Mutex<State>

    /// Without a descriptor for the copy everything is left to the channel.
    package init(copying socket: CInt) {
        state = Mutex(State(socket: fcntl(socket, F_DUPFD_CLOEXEC, 3)))
    }

    deinit { close() }

    /// Sends from the caller's thread what the socket takes, and the rest through its channel. Nobody is told of a failure: the channel
    /// ends then.
    package func send(_ bytes: ByteBuffer, through channel: any Channel) {
        guard leavesRest(of: bytes) else { return }
        channel.eventLoop.execute {
            guard let rest = self.takeRest() else { return }
            channel.writeAndFlush(rest).whenComplete { _ in self.state.withLock { $0.inChannel -= 1 } }
        }
    }

    /// `true` when the channel is to be asked to take what is left.
    private func leavesRest(of bytes: ByteBuffer) -> Bool {
        state.withLock { state in
            var bytes = bytes
            if state.rest == nil, state.inChannel == 0 { Self.send(&bytes, to: state.socket) }
            guard bytes.readableBytes > 0 else { return false }
            // Whoever left the first of it has asked.
            guard state.rest == nil else {
                state.rest?.writeBuffer(&bytes)
                return false
            }
            state.rest = bytes
            return true
        }
    }

    private func takeRest() -> ByteBuffer? {
        state.withLock { state in
            if state.rest != nil { state.inChannel += 1 }
            return state.rest.take()
        }
    }

    /// From here on the channel alone has the connection.
    package func close() {
        state.withLock { state in
            if state.socket >= 0 { Glibc.close(state.socket) }
            state.socket = -1
        }
    }

    private static func send(_ bytes: inout ByteBuffer, to socket: CInt) {
        guard socket >= 0 else { return }
        // An error is the channel's to find, when it sends the same.
        let sent = bytes.withUnsafeReadableBytes {
            Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_DONTWAIT | MSG_NOSIGNAL))
        }
        if sent > 0 { bytes.moveReaderIndex(forwardBy: sent) }
    }
}
