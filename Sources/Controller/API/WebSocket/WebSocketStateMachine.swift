import FastableWire
package import NIOCore
package import NIOWebSocket

/// What one end of a WebSocket, the server's, does when frames come, time passes, and its route is done. Does no I/O.
package struct WebSocketStateMachine {
    package enum Action: Sendable, Equatable {
        /// One whole message.
        case deliver(ByteBuffer)
        /// No message of the client counts any more.
        case deliverEnd
        case sendPing
        /// After it nothing is sent. Tell `closeWasSent` when the network has taken it.
        case sendClose(WebSocketClose)
        case closeChannel
    }

    private struct Closing {
        var until: NIODeadline
        var isSent = false
        var isAnswered: Bool
    }

    private enum State {
        case open
        /// The client said goodbye; what it sent before is still being carried out.
        case leaving(WebSocketErrorCode, until: NIODeadline)
        /// We said goodbye.
        case closing(Closing)
        case closed
    }

    private let settings: WebSocketSettings
    private var state = State.open
    private var lastHeard: NIODeadline
    private var nextPing: NIODeadline
    private var message: (bytes: ByteBuffer, fragments: Int)?
    /// The last ping. RFC 6455 allows to answer only the newest one, so a flood of pings queues nothing.
    private var unansweredPing: ByteBuffer?

    package init(_ settings: WebSocketSettings, now: NIODeadline) {
        self.settings = settings
        lastHeard = now
        nextPing = now + settings.pingInterval
    }

    /// Messages may be sent.
    package var isOpen: Bool { if case .open = state { true } else { false } }

    /// What still comes is dropped.
    package var isClosing: Bool { if case .closing = state { true } else { false } }

    /// When `tick` wants to be called; `nil` when it is over.
    package var deadline: NIODeadline? {
        switch state {
        case .open: min(nextPing, lastHeard + settings.silence)
        case .leaving(_, let until): until
        case .closing(let closing): closing.until
        case .closed: nil
        }
    }

    /// The answer to the newest ping, once.
    package mutating func takePong() -> ByteBuffer? {
        defer { unansweredPing = nil }
        return isOpen ? unansweredPing : nil
    }

    // MARK: the client

    /// Bytes came, also when they do not make a whole frame yet: a slow network is not a silent one.
    package mutating func heard(now: NIODeadline) { lastHeard = now }

    package mutating func received(_ frame: WebSocketFrame, now: NIODeadline) -> [Action] {
        switch state {
        case .leaving, .closed: return []
        case .closing(let closing): return frame.opcode == .connectionClose ? answered(closing) : []
        case .open: break
        }
        guard frame.maskKey != nil else { return violation("Frames of a client must be masked.", now) }
        guard frame.reservedBits.isEmpty else { return violation("No extension was agreed on.", now) }
        switch frame.opcode {
        case .binary, .continuation: return data(frame, now)
        case .text: return close(WebSocketClose(.unacceptableData, "Messages are binary: one frame each."), now: now)
        case .ping:
            unansweredPing = WebSocketFraming.payload(of: frame)
            return []
        case .pong: return []
        case .connectionClose: return leave(frame, now)
        default: return violation("The frame has an unknown opcode.", now)
        }
    }

    /// What came is no WebSocket frame, or a larger one than is taken.
    package mutating func decodingFailed(_ error: NIOWebSocketError, now: NIODeadline) -> [Action] {
        switch error {
        case .invalidFrameLength: close(tooLarge, now: now)
        case .fragmentedControlFrame, .multiByteControlFrameLength: violation("The control frame is malformed.", now)
        }
    }

    /// The connection ended without a goodbye.
    package mutating func clientHasGone() { state = .closed }

    private mutating func data(_ frame: WebSocketFrame, _ now: NIODeadline) -> [Action] {
        guard (frame.opcode == .continuation) == (message != nil) else {
            return violation("The fragments of a message are not in order.", now)
        }
        var (bytes, fragments) = message ?? (ByteBuffer(), 0)
        guard bytes.readableBytes + frame.length <= settings.messageBytes else { return close(tooLarge, now: now) }
        guard fragments < settings.messageFragments else {
            return close(.refusal("The message has too many fragments."), now: now)
        }
        if fragments == 0 {
            bytes = WebSocketFraming.payload(of: frame)
        } else {
            bytes.writeImmutableBuffer(WebSocketFraming.payload(of: frame))
        }
        message = frame.fin ? nil : (bytes, fragments + 1)
        return frame.fin ? [.deliver(bytes)] : []
    }

    private mutating func leave(_ frame: WebSocketFrame, _ now: NIODeadline) -> [Action] {
        var payload = WebSocketFraming.payload(of: frame)
        let number = payload.readInteger(as: UInt16.self)
        guard payload.readableBytes == 0 || number != nil, number.map(Self.mayBeSent) ?? true else {
            return violation("The close frame is malformed.", now)
        }
        let code = number.map { WebSocketErrorCode(codeNumber: Int($0)) } ?? .normalClosure
        state = .leaving(code, until: now + settings.abortTime)
        return [.deliverEnd]
    }

    /// RFC 6455, section 7.4: other codes are reserved, or stand for what is never sent.
    private static func mayBeSent(_ code: UInt16) -> Bool {
        switch code {
        case 1000...1003, 1007...1014, 3000...4999: true
        default: false
        }
    }

    private var tooLarge: WebSocketClose {
        WebSocketClose(.messageTooLarge, "A message has at most \(settings.messageBytes) bytes.")
    }

    private mutating func violation(_ reason: String, _ now: NIODeadline) -> [Action] {
        close(.violation(reason), now: now)
    }

    // MARK: this end

    /// The route has sent everything it had to say.
    package mutating func routeEnded(now: NIODeadline) -> [Action] {
        switch state {
        case .open:
            // It may have a lot to read before it sees the goodbye.
            state = .closing(Closing(until: now + settings.silence, isAnswered: false))
            return [.sendClose(.normal), .deliverEnd]
        case .leaving(let code, _): return answerGoodbye(code, now)
        case .closing, .closed: return []
        }
    }

    /// Ends it at once, whatever waits to be sent.
    package mutating func close(_ close: WebSocketClose, now: NIODeadline) -> [Action] {
        switch state {
        case .open:
            message = nil
            state = .closing(Closing(until: now + settings.abortTime, isAnswered: false))
            return [.sendClose(close), .deliverEnd]
        case .leaving(let code, _): return answerGoodbye(code, now)
        case .closing, .closed: return []
        }
    }

    package mutating func closeWasSent(now: NIODeadline) -> [Action] {
        guard case .closing(var closing) = state else { return [] }
        guard !closing.isAnswered else { return finish() }
        closing.isSent = true
        closing.until = min(closing.until, now + settings.closeTime)
        state = .closing(closing)
        return []
    }

    private mutating func answerGoodbye(_ code: WebSocketErrorCode, _ now: NIODeadline) -> [Action] {
        state = .closing(Closing(until: now + settings.abortTime, isAnswered: true))
        return [.sendClose(WebSocketClose(code, ""))]
    }

    private mutating func answered(_ closing: Closing) -> [Action] {
        guard !closing.isSent else { return finish() }
        var closing = closing
        closing.isAnswered = true
        state = .closing(closing)
        return []
    }

    private mutating func finish() -> [Action] {
        state = .closed
        return [.closeChannel]
    }

    // MARK: the clock

    /// `isListening` tells that the client could be heard: time in which this end does not read, or the client does not, is no
    /// silence of the client.
    package mutating func tick(now: NIODeadline, isListening: Bool) -> [Action] {
        switch state {
        case .open:
            if !isListening { lastHeard = now }
            guard now < lastHeard + settings.silence else {
                return close(
                    WebSocketClose(.goingAway, "Nothing came for too long, not even an answer to a ping."), now: now)
            }
            guard now >= nextPing else { return [] }
            nextPing = now + settings.pingInterval
            return isListening ? [.sendPing] : []
        case .leaving(let code, let until): return now >= until ? answerGoodbye(code, now) : []
        case .closing(let closing): return now >= closing.until ? finish() : []
        case .closed: return []
        }
    }
}
