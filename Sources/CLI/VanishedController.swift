import NIOCore
import NIOPosix

/// Notices a controller that vanished without closing its connections: a laptop that was closed, a network that changed, a host without
/// power. By itself a connection on which nothing is sent waits for it for ever.
enum VanishedController {
    /// tcp(7): TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT in seconds, and TCP_USER_TIMEOUT in milliseconds, for what was sent.
    private static let settings: [(name: CInt, value: Int)] = [(4, 20), (5, 10), (6, 3), (18, 50_000)]

    /// The kernel asks the other end from time to time, and ends the connection within a minute when nobody answers.
    static func watch(_ channel: any Channel) -> EventLoopFuture<Void> {
        var done = channel.setOption(.socketOption(.so_keepalive), value: 1)
        for (name, value) in settings {
            done = done.flatMap { channel.setOption(.tcpOption(.init(rawValue: name)), value: value) }
        }
        // A connection that is no TCP connection has no such options.
        return done.recover { _ in }
    }
}
