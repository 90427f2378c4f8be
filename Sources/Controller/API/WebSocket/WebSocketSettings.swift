import FastableCore
import FastableWire
package import NIOCore
package import NIOWebSocket

/// The bounds of one WebSocket. The product uses the defaults; tests use small ones.
package struct WebSocketSettings: Sendable {
    package var pingInterval = TimeAmount.seconds(Int64(Limits.socketPingSeconds))
    package var silence = TimeAmount.seconds(Int64(Limits.socketSilenceSeconds))
    /// How long the client may take to answer a goodbye that it can read …
    package var closeTime = TimeAmount.seconds(Int64(Limits.socketCloseSeconds))
    /// … and how long one that broke a rule, or that must go.
    package var abortTime = TimeAmount.seconds(Int64(Limits.socketAbortSeconds))
    /// One message is one frame of the link.
    package var messageBytes = Limits.framePayloadBytes + FrameHeader.byteCount
    package var messageFragments = Limits.socketMessageFragments

    package init() {}
}

/// What a close frame says, and why a WebSocket ends.
package struct WebSocketClose: Error, Sendable, Equatable {
    package var code: WebSocketErrorCode
    package var reason: String

    package init(_ code: WebSocketErrorCode, _ reason: String) {
        self.code = code
        self.reason = reason
    }

    /// What came is not in the form that was agreed on.
    static func violation(_ reason: String) -> WebSocketClose { WebSocketClose(.protocolError, reason) }
    /// What came is understood and not taken.
    static func refusal(_ reason: String) -> WebSocketClose { WebSocketClose(.policyViolation, reason) }

    static let normal = WebSocketClose(.normalClosure, "")
    static let stopping = WebSocketClose(
        .goingAway, "The controller is stopping. Attach again, at the offsets you have reached.")

    /// A control frame has room for 125 bytes, two of which are the code.
    package var payload: ByteBuffer {
        var payload = ByteBuffer()
        payload.write(webSocketErrorCode: code)
        for character in reason {
            let text = String(character)
            guard payload.readableBytes + text.utf8.count <= 125 else { break }
            payload.writeString(text)
        }
        return payload
    }
}
