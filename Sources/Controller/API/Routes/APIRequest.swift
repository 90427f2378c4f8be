import ControllerDomain
import ControllerServices
package import FastableCore
import FoundationEssentials
import HTTPTypes
import HummingbirdCore
import NIOCore
import NIOFoundationEssentialsCompat

/// One HTTP request on its way to its route.
package struct APIRequest: Sendable {
    package let id: RequestID
    let head: HTTPRequest
    let query: String?
    let parameters: [String: String]
    let body: BodyReader
    let watch: ConnectionWatch
    let channel: any Channel
    /// Where it is handled: on its connection's event loop, unless its body is so large that reading it would make others wait.
    let executor: (any TaskExecutor)?
    /// The address of the other end, which may be a proxy.
    let remoteAddress: String

    var headers: HTTPFields { head.headerFields }

    /// For timers that belong to this request.
    var eventLoop: any EventLoop { channel.eventLoop }

    func parameter(_ name: String) -> String { parameters[name] ?? "" }

    /// All values of a header, one for each time it was sent.
    func values(of name: HTTPField.Name) -> [String] { headers[fields: name].map(\.value) }

    func queryParameters(_ allowed: Set<String>) throws -> QueryParameters {
        try QueryParameters(query, allowed: allowed)
    }

    /// The media types of `Accept`, in the order the client wrote them, without parameters.
    var accepted: [String] {
        headers[values: .accept].flatMap { value in
            value.split(separator: ",").map { part in
                String(part.prefix { $0 != ";" }).trimmed.lowercased()
            }
        }
    }

    /// Ends the WebSocket that this request has become, whatever waits to be sent.
    func closeSocket(_ close: WebSocketClose) {
        channel.triggerUserOutboundEvent(close, promise: nil)
    }

    func context(_ principal: Principal, door: Door) -> OperationContext {
        OperationContext(principal: principal, requestID: id, door: door)
    }
}

extension String {
    /// Without spaces and tabs at both ends.
    var trimmed: String {
        let isText: (UInt8) -> Bool = { $0 != UInt8(ascii: " ") && $0 != UInt8(ascii: "\t") }
        guard let first = utf8.firstIndex(where: isText), let last = utf8.lastIndex(where: isText) else { return "" }
        return String(self[first...last])
    }
}
