import ControllerDomain
import FastableCore
import FoundationEssentials
import HTTPTypes
import NIOCore

/// Health, metrics, the API's description, and the door for new nodes.
struct SystemRoutes: Sendable {
    let backend: any APIBackend
    let openAPI: ByteBuffer

    func add(to table: inout RouteTable<Route>) {
        // The process answers: nothing else is looked at, so that a full disk does not make a supervisor restart it for ever.
        table.open(.get, "/health") { _ in Reply.json(Data(#"{"status":"ok"}"#.utf8)) }
        table.open(.get, "/ready", ready)
        table.open(.get, "/openapi.json") { _ in Reply.json(openAPI) }
        // Metrics tell what a fleet does. A peer address proves nothing behind a proxy on the same machine, so they need a token.
        table.bearer(.get, "/metrics") { _, principal in
            try Access.authorize(principal, .admin)
            let text = await backend.metricsText()
            return Reply.bytes(type: "text/plain; version=0.0.4; charset=utf-8", ByteBuffer(string: text))
        }
        table.open(.post, "/api/nodes/enroll") { request in
            let body = try await request.body.collect(limit: Limits.controlMessageBytes)
            return Reply.json(
                try await backend.enroll(body, remoteAddress: request.remoteAddress, requestID: request.id))
        }
    }

    private func ready(_ request: APIRequest) async throws -> Reply {
        let readiness = await backend.readiness()
        var reply = Reply.json(try JSON.encode(readiness))
        if !readiness.storeWritable { reply.status = FastableError.Code.unavailable.status }
        return reply
    }
}
