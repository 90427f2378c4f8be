import ControllerDomain
import ControllerServices
import FastableCore
import FoundationEssentials
import HTTPTypes
import HummingbirdCore
import NIOCore

/// `POST /api/tools/{operation}` and the list of operations.
struct ToolRoutes: Sendable {
    let backend: any APIBackend
    /// The answer of `GET /api/tools`; the catalogue does not change while the program runs.
    private let list: ByteBuffer

    init(_ backend: any APIBackend) throws {
        self.backend = backend
        let operations = backend.operations.map(Self.description)
        list = ByteBuffer(bytes: try JSON.encode(["operations": JSONValue.array(operations)]))
    }

    func add(to table: inout RouteTable<Route>) {
        table.bearer(.get, "/api/tools") { _, _ in Reply.json(list) }
        table.bearer(.post, "/api/tools/{operation}", run)
    }

    private func run(_ request: APIRequest, _ principal: Principal) async throws -> Reply {
        let name = request.parameter("operation")
        let input = try await request.body.collect()
        var context = request.context(principal, door: .rest)
        context.idempotencyKey = try IdempotencyKey.of(request)
        context.idempotencySeconds = try IdempotencyKey.seconds(of: request) ?? context.idempotencySeconds
        switch request.accepted.lazy.compactMap(Form.init).first ?? .json {
        case .json:
            let output = try await OperationRun.runToEnd(
                name, input: input, context: context, on: backend, for: request)
            return Reply.json(output)
        case .events:
            // What was told once is not told again.
            context.collectsFound = false
            let run = OperationRun.start(name, input: input, context: context, on: backend, for: request)
            return try await events(run, request)
        case .frames:
            context.collectsOutput = false
            let run = OperationRun.start(name, input: input, context: context, on: backend, for: request)
            return try await frames(run, request)
        }
    }

    /// The form of the answer that the client asks for.
    private enum Form: String {
        case json = "application/json"
        case events = "text/event-stream"
        case frames = "application/vnd.fastable.frames"
    }

    private func events(_ run: OperationRun, _ request: APIRequest) async throws -> Reply {
        let first = try await run.beginning(request)
        let loop = request.eventLoop
        var reply = Reply.stream(type: EventStream.mediaType) { output in
            var events = ToolEventWriter()
            try await run.forEachBatch(startingWith: first, on: loop, quietAfter: EventStream.keepAliveTime) { items in
                var buffer = items.isEmpty ? EventStream.keepAlive : ByteBuffer()
                for item in items { events.write(item, to: &buffer) }
                try await output.write(buffer)
            }
        }
        reply.headers[.accelBuffering] = "no"
        return reply
    }

    private func frames(_ run: OperationRun, _ request: APIRequest) async throws -> Reply {
        let first = try await run.beginning(request)
        let loop = request.eventLoop
        return Reply.stream(type: ToolFrameWriter.mediaType) { output in
            var frames = ToolFrameWriter()
            try await run.forEachBatch(startingWith: first, on: loop, quietAfter: nil) { items in
                for item in items { frames.write(item) }
                try await output.write(contentsOf: frames.takeParts())
            }
        }
    }

    private static func description(_ operation: Operation) -> JSONValue {
        [
            "name": .string(operation.name), "title": .string(operation.title), "summary": .string(operation.summary),
            "scope": .string(operation.scope.rawValue), "visibleToAgents": .bool(operation.visibleToAgents),
            "annotations": operation.annotations.json, "inputSchema": operation.inputSchema.json,
            "outputSchema": operation.outputSchema.json,
        ]
    }
}

extension Operation.Annotations {
    /// All hints are given: their defaults in MCP are the pessimistic ones.
    var json: JSONValue {
        [
            "readOnlyHint": .bool(isReadOnly), "destructiveHint": .bool(isDestructive),
            "idempotentHint": .bool(isIdempotent), "openWorldHint": .bool(isOpenWorld),
        ]
    }
}
