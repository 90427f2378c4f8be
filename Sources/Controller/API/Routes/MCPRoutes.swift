import ControllerDomain
import ControllerServices
import FastableCore
import FoundationEssentials
import HTTPTypes
import HummingbirdCore
import NIOCore

/// `POST /api/mcp`: both eras of the Model Context Protocol on one endpoint.
struct MCPRoutes: Sendable {
    let backend: any APIBackend
    let origins: OriginRule
    private let answers: MCPAnswer
    private let tools: ByteBuffer
    private let running = RunningCalls()

    init(_ backend: any APIBackend, origins: OriginRule, programVersion: String) throws {
        self.backend = backend
        self.origins = origins
        answers = try MCPAnswer(programVersion: programVersion)
        tools = try MCPTools.list(backend.operations)
    }

    func add(to table: inout RouteTable<Route>) {
        // GET and DELETE answer 405 by themselves: there is no stream of the server's own, and no session to end.
        table.bearer(.post, "/api/mcp", post)
    }

    private func post(_ request: APIRequest, _ principal: Principal) async throws -> Reply {
        try origins.check(request.values(of: .origin))
        let headers = MCPHeaders(
            protocolVersion: request.values(of: .mcpProtocolVersion), method: request.values(of: .mcpMethod),
            name: request.values(of: .mcpName))
        let body = try await request.body.collect()
        do throws(MCPFailure) {
            switch try MCPReader.read(body, headers: headers) {
            case .notification(let notification):
                return accept(notification, request, principal)
            case .request(let message):
                return try await answer(message, request, principal)
            }
        } catch {
            return Reply.json(try MCPAnswer.failure(error), error.status)
        }
    }

    private func accept(_ notification: MCPNotification, _ request: APIRequest, _ principal: Principal) -> Reply {
        switch notification {
        case .cancelled(let id):
            running.cancel(.init(token: principal.token, session: session(of: request), request: id))
        case .other: break
        }
        return Reply(.accepted)
    }

    /// A session only separates the request ids of a token's clients, so it is not stored: its name is the id of the request that
    /// began it, and it needs no end.
    private func session(of request: APIRequest) -> RequestID? {
        request.headers[.mcpSession].flatMap { RequestID($0) }
    }

    private func answer(
        _ message: MCPRequest, _ request: APIRequest, _ principal: Principal
    ) async throws(MCPFailure) -> Reply {
        do {
            switch message.call {
            case .discover: return Reply.json(try answers.discovery(message))
            case .initialize:
                var reply = Reply.json(try answers.initialization(message))
                reply.headers[.mcpSession] = request.id.description
                return reply
            case .ping: return Reply.json(answers.result(message, members: ByteBuffer()))
            case .listTools: return Reply.json(answers.toolList(message, tools: tools))
            case .callTool(let call): return try await answer(message, call, request, principal)
            }
        } catch let failure as MCPFailure {
            throw failure
        } catch {
            return Reply.json(answers.toolFailure(message, FastableError.unexpected(error, doing: "answering")))
        }
    }

    // MARK: tool calls

    private func answer(
        _ message: MCPRequest, _ call: MCPToolCall, _ request: APIRequest, _ principal: Principal
    ) async throws -> Reply {
        guard backend.operations.contains(where: { $0.name == call.name && $0.visibleToAgents }) else {
            throw MCPFailure(
                .invalidParams, "There is no tool ‘\(call.name.prefix(128))’. ‘tools/list’ lists them.", id: message.id,
                isModern: message.revision.isModern)
        }
        let isModern = message.revision.isModern
        let mayStream = request.accepted.contains(EventStream.mediaType)
        let token = mayStream ? call.progressToken : nil
        var context = request.context(principal, door: .mcp)
        context.idempotencyKey = call.idempotencyKey
        let run = OperationRun.start(
            call.name, input: call.arguments, context: context, on: backend,
            for: request, wantsEvents: token != nil, abandonment: isModern ? .cancels : .goesOnUnheard)
        let key = RunningCalls.Key(token: principal.token, session: session(of: request), request: message.id)
        let ticket = isModern ? nil : running.register(key) { run.cancel() }
        if let ticket { run.whenEnded { running.remove(key, serial: ticket) } }
        let stream = CallStream(answers: answers, message: message, token: token, mayStream: mayStream, run: run)
        return try await stream.reply(request)
    }
}

/// The answer of one tool call: a JSON object when it comes soon and nobody asked for progress, a stream of events otherwise.
private struct CallStream: Sendable {
    let answers: MCPAnswer
    let message: MCPRequest
    let token: MCPRequestID?
    let mayStream: Bool
    let run: OperationRun

    func reply(_ request: APIRequest) async throws -> Reply {
        // A client that wants no progress gets one object, unless the call takes so long that the silence could end the connection.
        let deadline = NIODeadline.now() + EventStream.keepAliveTime
        var progress = MCPProgress()
        while true {
            let patience = mayStream ? max(deadline - .now(), .zero) : nil
            switch try await run.queue.next(on: request.eventLoop, within: patience) {
            case .quiet, .finished: return streamed(progress, first: nil, on: request.eventLoop)
            case .elements(let items):
                if case .outcome(let outcome)? = items.last { return Reply.json(result(outcome)) }
                for case .event(let event) in items { progress.add(event) }
                if let text = progress.takeMessage() {
                    return streamed(progress, first: text, on: request.eventLoop)
                }
            }
        }
    }

    private func result(_ outcome: Result<Data, FastableError>) -> ByteBuffer {
        switch outcome {
        case .success(let output): answers.toolResult(message, output: output)
        case .failure(let error): answers.toolFailure(message, error)
        }
    }

    private func streamed(_ begun: MCPProgress, first: String?, on loop: any EventLoop) -> Reply {
        var reply = Reply.stream(type: EventStream.mediaType) { output in
            do {
                try await write(begun, first: first, to: &output, on: loop)
            } catch {
                run.readerHasGone()
                throw error
            }
        }
        reply.headers[.accelBuffering] = "no"
        return reply
    }

    private func write(
        _ begun: MCPProgress, first: String?, to output: inout any ResponseBodyWriter, on loop: any EventLoop
    ) async throws {
        var progress = begun
        if let first { try await output.write(event(progress, first)) }
        var earliest = NIODeadline.now() + MCPProgress.interval
        while true {
            switch try await run.queue.next(on: loop, notBefore: earliest, within: EventStream.keepAliveTime) {
            case .finished: return
            case .quiet: try await output.write(EventStream.keepAlive)
            case .elements(let items):
                for item in items {
                    switch item {
                    case .event(let event): progress.add(event)
                    case .outcome(let outcome):
                        if let text = progress.takeMessage() { try await output.write(event(progress, text)) }
                        try await output.write(Self.event(result(outcome)))
                        return
                    }
                }
                if let text = progress.takeMessage() { try await output.write(event(progress, text)) }
                earliest = NIODeadline.now() + MCPProgress.interval
            }
        }
    }

    /// Without a token there is nobody to tell: an empty piece, which writes nothing.
    private func event(_ progress: MCPProgress, _ text: String) -> ByteBuffer {
        guard let token else { return ByteBuffer() }
        return Self.event(MCPAnswer.progress(token, count: progress.count, message: text))
    }

    private static func event(_ message: ByteBuffer) -> ByteBuffer {
        var buffer = ByteBufferAllocator().buffer(capacity: message.readableBytes + 64)
        EventStream.write(event: "message", data: message, to: &buffer)
        return buffer
    }
}
