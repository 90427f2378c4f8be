import Crypto
import FastableCore
import FoundationEssentials
import HTTPTypes

/// The opening handshake of RFC 6455, as far as HTTP has not done it.
struct WebSocketHandshake {
    /// Browsers cannot set headers, so a page offers its token as one more subprotocol. It is never chosen, and so never sent back.
    private static let tokenPrefix = "fastable.token."
    private static let keyBytes = 16

    /// Headers of the answer `101 Switching Protocols`.
    let headers: HTTPFields

    /// `nil` when the request cannot become a WebSocket as it stands. Throws `invalid` naming what is wrong with one that could.
    init?(_ request: APIRequest, subprotocol: String) throws {
        guard request.watch.mayBecomeWebSocket, request.headers[.secWebSocketVersion] == "13" else { return nil }
        guard let key = request.headers[.secWebSocketKey], Data(base64Encoded: key)?.count == Self.keyBytes else {
            throw FastableError(.invalid, "‘Sec-WebSocket-Key’ must be 16 bytes in base64.")
        }
        guard Self.offers(request.headers).contains(subprotocol) else {
            throw FastableError(.invalid, "Offer the subprotocol ‘\(subprotocol)’ (Sec-WebSocket-Protocol).")
        }
        headers = [
            .connection: "upgrade", .upgrade: "websocket", .secWebSocketAccept: Self.accept(key),
            .secWebSocketProtocol: subprotocol,
        ]
    }

    /// The token that a page sends as a subprotocol.
    static func token(_ headers: HTTPFields) -> Secret? {
        let token = offers(headers).first { $0.hasPrefix(tokenPrefix) }
        return token.map { Secret(String($0.dropFirst(tokenPrefix.count))) }
    }

    private static func offers(_ headers: HTTPFields) -> [String] {
        headers[values: .secWebSocketProtocol].flatMap { $0.split(separator: ",").map { String($0).trimmed } }
    }

    private static func accept(_ key: String) -> String {
        let text = key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        return Data(Insecure.SHA1.hash(data: Data(text.utf8))).base64EncodedString()
    }
}
