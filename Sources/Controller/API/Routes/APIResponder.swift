import ControllerDomain
import FastableCore
import FastableWire
import FoundationEssentials
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1

/// What Hummingbird makes for each request.
struct APIRequestContext: InitializableFromSource {
    let channel: any Channel
    init(source: ApplicationRequestContextSource) { channel = source.channel }
}

/// Takes every request to its route, makes errors into answers, and writes one log line for each.
struct APIResponder: HTTPResponder {
    typealias Context = APIRequestContext

    let routes: RouteTable<Route>
    let origins: OriginRule
    let authenticate: @Sendable (Secret?) async throws -> Principal
    let logger: Logger

    func respond(to request: Request, context: APIRequestContext) async throws -> Response {
        guard Self.isSmall(request) else {
            return try await withTaskExecutorPreference(globalConcurrentExecutor) {
                try await respond(to: request, context, on: nil)
            }
        }
        return try await respond(to: request, context, on: LoopExecutor.on(context.channel.eventLoop))
    }

    private static func isSmall(_ request: Request) -> Bool {
        guard request.headers[.transferEncoding] == nil else { return false }
        guard let length = request.headers[.contentLength] else { return true }
        return Int(length).map { $0 <= Limits.loopRequestBytes } ?? false
    }

    private func respond(
        to request: Request, _ context: APIRequestContext, on executor: (any TaskExecutor)?
    ) async throws -> Response {
        let watch = ConnectionWatch.current ?? ConnectionWatch()
        let body = BodyReader(request.body, head: request.head, watch: watch)
        var record = RequestRecord(request)
        var reply: Reply
        do {
            reply = try await answer(request, body, watch, context, executor, &record)
        } catch let error as HTTPParserError {
            // What follows on this connection cannot be understood: the server answers 400 itself and closes.
            throw error
        } catch {
            let failure = FastableError.unexpected(error, doing: "answering the request")
            record.failure = failure
            reply = ErrorResponse.reply(failure, requestID: record.id)
        }
        if body.leavesRest { reply.headers[.connection] = "close" }
        return response(reply, record, on: context.channel.eventLoop)
    }

    private func answer(
        _ request: Request, _ body: BodyReader, _ watch: ConnectionWatch, _ context: APIRequestContext,
        _ executor: (any TaskExecutor)?, _ record: inout RequestRecord
    ) async throws -> Reply {
        let method = request.head.method
        switch try routes.match(method, request.uri.path) {
        case .notFound:
            throw FastableError(
                .notFound,
                "There is nothing at ‘\(request.uri.path.prefix(200))’. `GET /openapi.json` lists the paths.",
                details: ["path": .string(String(request.uri.path.prefix(200)))])
        case .wrongMethod(let pattern, let allowed):
            record.route = pattern
            return ErrorResponse.wrongMethod(allowed: allowed, requestID: record.id)
        case .found(let route, let pattern, let parameters):
            record.route = pattern
            let apiRequest = APIRequest(
                id: record.id, head: request.head, query: request.uri.query, parameters: parameters, body: body,
                watch: watch, channel: context.channel, executor: executor,
                remoteAddress: context.channel.remoteAddress?.ipAddress ?? "unknown")
            switch route {
            case .open(let handle): return try await handle(apiRequest)
            case .bearer(let handle):
                let principal = try await authenticate(BearerToken.read(request.headers))
                record.token = principal.token
                return try await handle(apiRequest, principal)
            case .socket(let handle):
                try origins.check(apiRequest.values(of: .origin))
                let token = BearerToken.read(request.headers) ?? WebSocketHandshake.token(request.headers)
                let principal = try await authenticate(token)
                record.token = principal.token
                return try await handle(apiRequest, principal)
            }
        }
    }

    private func response(_ reply: Reply, _ record: RequestRecord, on loop: any EventLoop) -> Response {
        var headers = reply.headers
        headers[.requestID] = record.id.description
        headers[.xContentTypeOptions] = "nosniff"
        if headers[.cacheControl] == nil { headers[.cacheControl] = "no-store" }
        let logger = logger
        switch reply.body {
        case .bytes(let bytes):
            record.logSoon(reply.status, to: logger, on: loop)
            return Response(status: reply.status, headers: headers, body: ResponseBody(byteBuffer: bytes))
        case .stream(let length, let write):
            let body = ResponseBody(contentLength: length) { writer in
                do {
                    try await write(&writer)
                    try await writer.finish(nil)
                    record.log(reply.status, to: logger)
                } catch {
                    record.log(reply.status, brokenBy: error, to: logger)
                    throw error
                }
            }
            return Response(status: reply.status, headers: headers, body: body)
        case .socket(let serve):
            let body = ResponseBody { client in
                await serve(&client)
                record.log(reply.status, to: logger)
            }
            return Response(status: reply.status, headers: headers, body: body)
        }
    }
}

/// The `Authorization` header.
enum BearerToken {
    /// `nil` when there is none, or one of another kind.
    static func read(_ headers: HTTPFields) -> Secret? {
        guard let parts = headers[.authorization]?.split(separator: " ", maxSplits: 1), parts.count == 2,
            parts[0].lowercased() == "bearer"
        else { return nil }
        return Secret(String(parts[1]).trimmed)
    }
}
