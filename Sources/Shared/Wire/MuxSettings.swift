import FastableCore

/// Which end of the link a machine is: it decides whose stream ids are odd.
package enum MuxRole: Sendable {
    /// The node. Opens odd streams.
    case dialer
    /// The controller. Opens even streams.
    case listener

    var firstStream: UInt32 { self == .dialer ? 1 : 2 }

    /// Whether this end opens the streams of that number.
    func owns(_ stream: UInt32) -> Bool { stream & 1 == (self == .dialer ? 1 : 0) }
}

/// The bounds of one link. The product uses the defaults; tests use small ones to reach every edge quickly.
package struct MuxSettings: Sendable {
    package var framePayloadBytes = Limits.framePayloadBytes
    package var chunkBytes = Limits.frameChunkBytes
    package var messageBytes = min(Limits.controlMessageBytes, Limits.framePayloadBytes)
    /// At least twice `messageBytes`: credit comes back in halves, and a message needs its credit at once.
    package var windowBytes = Limits.streamWindowBytes
    package var streamsPerOpener = Limits.streamsPerLink
    package var sendBufferBytes = Limits.linkSendBufferBytes
    package var queuedEvents = Limits.streamQueuedEvents
    package var queuedControlFrames = Limits.linkQueuedControlFrames
    package var recentStreams = Limits.linkRecentStreams
    package var pingInterval = Duration.seconds(Limits.pingIntervalSeconds)
    package var silence = Duration.seconds(Limits.linkSilenceSeconds)
    package var handlersEnd = Duration.seconds(Limits.linkHandlersEndSeconds)

    package init() {}
}
