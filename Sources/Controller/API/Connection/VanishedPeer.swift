import FastableCore
package import NIOCore

/// Notices clients that vanished without closing their connection: a laptop out of reach, a host without power. By itself the kernel
/// takes a quarter of an hour for it while there is something to send, and so long a command may have to wait for its reader.
///
/// A client that is there and only does not read is left alone: its kernel answers for it.
package enum VanishedPeer {
    /// The beginning of Linux's `struct tcp_info` (linux/tcp.h), as far as it counts here.
    package struct Facts: Sendable {
        package var state: UInt8 = 0
        var congestionState: UInt8 = 0
        var retransmissions: UInt8 = 0
        /// Questions to a peer that takes nothing, since its last answer.
        package var probes: UInt8 = 0
        var backoff: UInt8 = 0
        var options: UInt8 = 0
        var windowScales: UInt8 = 0
        var flags: UInt8 = 0
        var timeouts: (UInt32, UInt32) = (0, 0)
        var segmentBytes: (UInt32, UInt32) = (0, 0)
        /// Segments that were sent and not acknowledged yet.
        package var unacknowledged: UInt32 = 0
        var selectivelyAcknowledged: UInt32 = 0
        var lost: UInt32 = 0
        var retransmitted: UInt32 = 0
        var forwardAcknowledged: UInt32 = 0
        var lastDataSentMilliseconds: UInt32 = 0
        var lastAcknowledgementSentMilliseconds: UInt32 = 0
        var lastDataReceivedMilliseconds: UInt32 = 0
        /// Since the peer has last said anything.
        package var lastAcknowledgementMilliseconds: UInt32 = 0

        package init() {}

        package var saysVanished: Bool {
            probes >= Limits.apiVanishedProbes
                || unacknowledged > 0 && lastAcknowledgementMilliseconds >= UInt32(Limits.apiVanishedSeconds) * 1000
        }
    }

    package static func facts(of channel: any Channel) -> EventLoopFuture<Facts>? {
        (channel as? any SocketOptionProvider)?.unsafeGetSocketOption(level: .tcp, name: .tcp_info)
    }

    /// Looks from time to time until the connection is closed, and closes it when nobody is at its other end.
    static func watch(_ channel: any Channel) {
        guard channel is any SocketOptionProvider else { return }
        let pause = TimeAmount.seconds(Int64(Limits.apiVanishedCheckSeconds))
        let task = channel.eventLoop.scheduleRepeatedTask(initialDelay: pause, delay: pause) { _ in
            facts(of: channel)?.whenSuccess { if $0.saysVanished { channel.close(promise: nil) } }
        }
        channel.closeFuture.whenComplete { _ in task.cancel() }
        // The same where there is nothing to send: see tcp(7) for TCP_KEEPIDLE, TCP_KEEPINTVL and TCP_KEEPCNT.
        let settings: [(CInt, Int)] = [(4, Limits.apiVanishedSeconds / 2), (5, 10), (6, 3)]
        channel.setOption(.socketOption(.so_keepalive), value: 1).whenSuccess {
            for (name, value) in settings {
                _ = channel.setOption(.tcpOption(.init(rawValue: name)), value: value)
            }
        }
    }
}
