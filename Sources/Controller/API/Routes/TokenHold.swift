import ControllerDomain
import ControllerServices
import FastableCore
import FoundationEssentials
import NIOCore

/// Ends an answer that goes on, or a WebSocket, when the token that opened it is revoked or expires.
///
/// To everything behind it this is a client that went away: what it reads ends at once, and a command that was run for it is
/// killed. An answer without an end is broken off, so that it does not look whole.
struct TokenHold: Sendable {
    private let token: TokenID
    private let streams: OpenStreams
    private let number: UInt64
    private let expiry: Scheduled<Void>?

    private init(_ principal: Principal, _ streams: OpenStreams, _ request: APIRequest, isSocket: Bool) {
        @Sendable func end(_ why: String) {
            let said = request.eventLoop.makePromise(of: Void.self)
            if isSocket {
                request.channel.triggerUserOutboundEvent(WebSocketClose.refusal(why), promise: said)
            } else {
                said.fail(ChannelError.eof)
            }
            said.futureResult.whenComplete { result in
                // Without a WebSocket, or when it is none yet, there is no way to say why.
                if case .failure = result { request.channel.close(promise: nil) }
                request.watch.clientHasGone()
            }
        }
        token = principal.token
        self.streams = streams
        number = streams.open(principal.token) { end("The token was revoked.") }
        expiry = principal.expiresAt.map { moment in
            let milliseconds = Int64(max(0, moment.timeIntervalSinceNow * 1000).rounded(.up))
            return request.eventLoop.scheduleTask(in: .milliseconds(milliseconds)) { end("The token has expired.") }
        }
    }

    private func release() {
        expiry?.cancel()
        streams.close(token, number)
    }

    /// The route, whose long answers end with their token. The ones that are given at once need no end.
    static func guarding(_ route: Route, _ streams: OpenStreams) -> Route {
        switch route {
        case .open: route
        case .bearer(let handle):
            .bearer { request, principal in
                guarding(try await handle(request, principal), of: request, principal, streams)
            }
        case .socket(let handle):
            .socket { request, principal in
                guarding(try await handle(request, principal), of: request, principal, streams)
            }
        }
    }

    private static func guarding(
        _ reply: Reply, of request: APIRequest, _ principal: Principal, _ streams: OpenStreams
    ) -> Reply {
        var reply = reply
        switch reply.body {
        case .bytes: break
        case .stream(let length, let write):
            reply.body = .stream(length: length) { output in
                let hold = TokenHold(principal, streams, request, isSocket: false)
                defer { hold.release() }
                try await write(&output)
            }
        case .socket(let serve):
            reply.body = .socket { client in
                let hold = TokenHold(principal, streams, request, isSocket: true)
                defer { hold.release() }
                await serve(&client)
            }
        }
        return reply
    }
}
