import ControllerDomain
import HTTPTypes

/// A route says who may use it; the responder authenticates, so that no handler can forget to.
enum Route: Sendable {
    /// For everybody: `/health`, and joining with a join token.
    case open(@Sendable (APIRequest) async throws -> Reply)
    /// For the holder of a bearer token. The operation behind it checks scope and workspace.
    case bearer(@Sendable (APIRequest, Principal) async throws -> Reply)
    /// The same for a WebSocket, which pages in browsers open too: its origin is checked, and the token may come as a subprotocol.
    case socket(@Sendable (APIRequest, Principal) async throws -> Reply)
}

extension RouteTable<Route> {
    mutating func open(
        _ method: HTTPRequest.Method, _ pattern: String,
        _ handle: @escaping @Sendable (APIRequest) async throws -> Reply
    ) {
        add(method, pattern, .open(handle))
    }

    mutating func bearer(
        _ method: HTTPRequest.Method, _ pattern: String,
        _ handle: @escaping @Sendable (APIRequest, Principal) async throws -> Reply
    ) {
        add(method, pattern, .bearer(handle))
    }

    mutating func socket(
        _ pattern: String, _ handle: @escaping @Sendable (APIRequest, Principal) async throws -> Reply
    ) {
        add(.get, pattern, .socket(handle))
    }
}
