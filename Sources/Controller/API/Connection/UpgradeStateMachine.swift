package import NIOHTTP1

/// What becomes of a request that asks for another protocol (`Upgrade`). Does no I/O.
///
/// The HTTP decoder stops behind such a request, whatever its answer will be, and would hold what follows in memory. So the
/// connection is not read until the answer is there, and ends with it unless the answer is an upgrade.
package struct UpgradeStateMachine {
    private enum State {
        case none
        /// The request's body is still to come.
        case arriving(isWebSocket: Bool)
        /// The request is complete. A WebSocket's is held open: its body will be the messages.
        case waiting(isWebSocket: Bool)
        case refused
        case upgraded
    }

    package enum EndAction: Sendable, Equatable { case pass, hold }

    package enum AnswerAction: Sendable, Equatable {
        case pass
        /// The answer is the last on this connection; the request's end must be passed on when it is held.
        case passAsLast(releasesEnd: Bool)
        case upgrade
    }

    private var state = State.none
    private var unanswered = 0

    package init() {}

    /// The decoder has stopped; reading on would only fill memory.
    package var holdsReads: Bool {
        switch state {
        case .waiting, .refused: true
        case .none, .arriving, .upgraded: false
        }
    }

    /// A request begins. Gives whether it may become a WebSocket: not behind others that wait for their answers.
    package mutating func began(_ head: HTTPRequestHead) -> Bool {
        unanswered += 1
        guard Self.stopsDecoder(head) else { return false }
        let isWebSocket = unanswered == 1 && Self.asksForWebSocket(head)
        state = .arriving(isWebSocket: isWebSocket)
        return isWebSocket
    }

    package mutating func requestEnded() -> EndAction {
        guard case .arriving(let isWebSocket) = state else { return .pass }
        state = .waiting(isWebSocket: isWebSocket)
        return isWebSocket ? .hold : .pass
    }

    package mutating func answerBegan(_ status: HTTPResponseStatus) -> AnswerAction {
        guard unanswered == 1 else { return .pass }
        switch state {
        case .waiting(isWebSocket: true) where status == .switchingProtocols:
            state = .upgraded
            return .upgrade
        case .waiting(let isWebSocket):
            state = .refused
            return .passAsLast(releasesEnd: isWebSocket)
        case .arriving:
            state = .refused
            return .passAsLast(releasesEnd: false)
        case .none, .refused, .upgraded: return .pass
        }
    }

    package mutating func answerEnded() { unanswered -= 1 }

    /// When `llhttp` takes what follows for another protocol.
    private static func stopsDecoder(_ head: HTTPRequestHead) -> Bool {
        head.method == .CONNECT
            || head.headers.contains(name: "upgrade")
                && head.headers[canonicalForm: "connection"].contains { $0.lowercased() == "upgrade" }
    }

    /// A request whose end says nothing: it has no body that its route could wait for.
    private static func asksForWebSocket(_ head: HTTPRequestHead) -> Bool {
        head.method == .GET && head.version == .http1_1
            && head.headers[canonicalForm: "upgrade"].contains { $0.lowercased() == "websocket" }
            && head.headers[canonicalForm: "content-length"].allSatisfy { $0 == "0" }
            && !head.headers.contains(name: "transfer-encoding")
    }
}
