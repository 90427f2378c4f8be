import ControllerDomain
import ControllerServices
import FastableCore
import FoundationEssentials
import HTTPTypes
import NIOCore

/// What became of a command, its output from any offset, and following it.
struct ExecRoutes: Sendable {
    let backend: any APIBackend

    static let status = "/api/execs/{exec}"
    static let output = "/api/execs/{exec}/output"
    static let attach = "/api/execs/{exec}/attach"

    private static let byteType = "application/octet-stream"

    func add(to table: inout RouteTable<Route>) {
        table.bearer(.get, Self.status) { request, principal in
            let exec = try self.exec(request)
            let context = request.context(principal, door: .rest)
            return Reply.json(try JSON.encode(try await backend.execStatus(exec, context: context)))
        }
        table.bearer(.get, Self.output) { request, principal in
            let form = request.accepted.first { [Self.byteType, EventStream.mediaType].contains($0) }
            if form == EventStream.mediaType { return try await events(request, principal) }
            return try await bytes(request, principal)
        }
        table.socket(Self.attach, attach)
    }

    /// One stream, byte for byte. Where bytes are missing it fails and tells where to go on.
    private func bytes(_ request: APIRequest, _ principal: Principal) async throws -> Reply {
        let query = try request.queryParameters(["stream", "offset", "tail", "follow", "follower"])
        let stream = try stream(query) ?? .stdout
        let offset = try query.offset("offset")
        let output = try await backend.execOutput(
            try exec(request), stream: stream,
            from: try tail(query) ?? .at(stream == .stdout ? ExecOffsets(stdout: offset) : ExecOffsets(stderr: offset)),
            follow: try query.flag("follow"), follower: try follower(query),
            context: request.context(principal, door: .rest))
        var reply = BytePump.reply(output.bytes, type: Self.byteType, for: request)
        reply.headers[.streamOffset] = "\(output.firstOffset)"
        return reply
    }

    /// Both streams, or the one that is named, as server-sent events to the command's end.
    private func events(_ request: APIRequest, _ principal: Principal) async throws -> Reply {
        let query = try request.queryParameters([
            "stream", "offset", "tail", "follow", "follower", "stdout", "stderr",
        ])
        let follows = try query.flag("follow")
        guard follows || query["follow"] == nil else {
            throw FastableError(
                .invalid, "Events follow a command to its end. Ask for bytes to get what is there now.",
                details: ["field": "follow"])
        }
        let stream = try stream(query)
        let tail = try tail(query)
        var offsets = try self.offsets(query)
        switch (stream, query["offset"]) {
        case (nil, .some):
            throw FastableError(
                .invalid,
                "The query parameter ‘offset’ needs ‘stream’; for both streams there are ‘stdout’ and ‘stderr’.",
                details: ["field": "offset"])
        case (.stdout, .some): offsets.stdout = try query.offset("offset")
        case (.stderr, .some): offsets.stderr = try query.offset("offset")
        case (_, nil): break
        }
        var start = tail ?? .at(offsets)
        if let last = try ExecEventID(request.headers[.lastEventID]) {
            // The end was seen. This answer tells a browser not to come again.
            guard !last.isEnd else { return Reply(.noContent) }
            start = .at(last.offsets)
        }
        let attachment = try await backend.execAttach(
            try exec(request), from: start, input: nil, only: stream, follower: try follower(query),
            context: request.context(principal, door: .rest))
        return ExecEventStream.reply(attachment, for: request)
    }

    private func attach(_ request: APIRequest, _ principal: Principal) async throws -> Reply {
        guard let handshake = try WebSocketHandshake(request, subprotocol: AttachSession.subprotocol) else {
            return ErrorResponse.upgradeRequired(requestID: request.id)
        }
        let query = try request.queryParameters(["stdout", "stderr", "tail", "stdin", "follower"])
        let input = try input(query)
        let context = request.context(principal, door: .rest)
        let exec = try exec(request)
        let attachment = try await backend.execAttach(
            exec, from: try tail(query) ?? .at(try offsets(query)), input: input, only: nil,
            follower: try follower(query), context: context)
        let session = AttachSession(attachment: attachment, input: input, request: request) { signal in
            let wish: JSONValue = ["execId": .string(exec.description), "signal": .string(signal.rawValue)]
            _ = try await backend.run("shell.kill", input: try JSON.encode(wish), context: context)
        }
        return Reply(.switchingProtocols, headers: handshake.headers, body: .socket { await session.serve(&$0) })
    }

    // MARK: parts of a request

    private func stream(_ query: QueryParameters) throws -> ExecStreamName? {
        guard let name = query["stream"] else { return nil }
        guard let stream = ExecStreamName(rawValue: name) else {
            throw FastableError(
                .invalid, "The query parameter ‘stream’ must be stdout or stderr.", details: ["field": "stream"])
        }
        return stream
    }

    private func offsets(_ query: QueryParameters) throws -> ExecOffsets {
        ExecOffsets(stdout: try query.offset("stdout"), stderr: try query.offset("stderr"))
    }

    /// The end of what is there. With a place of its own a stream has two beginnings.
    private func tail(_ query: QueryParameters) throws -> OutputStart? {
        guard query["tail"] != nil else { return nil }
        for other in ["offset", "stdout", "stderr"] where query[other] != nil {
            throw FastableError(
                .invalid,
                "The query parameters ‘tail’ and ‘\(other)’ each tell where to begin. Leave one of them out.",
                details: ["field": "tail"])
        }
        return .last(try query.offset("tail"))
    }

    /// The name that a follower gives itself, to be known when it comes again.
    private func follower(_ query: QueryParameters) throws -> String? {
        guard let name = query["follower"] else { return nil }
        guard (1...Limits.nameBytes).contains(name.utf8.count) else {
            throw FastableError(
                .invalid, "The query parameter ‘follower’ must have 1 to \(Limits.nameBytes) bytes.",
                details: ["field": "follower"])
        }
        return name
    }

    private func input(_ query: QueryParameters) throws -> ExecInputStart? {
        guard let text = query["stdin"] else { return nil }
        if text == "append" { return .appending }
        guard let offset = UInt64(text) else {
            throw FastableError(
                .invalid, "The query parameter ‘stdin’ must be an offset in bytes, or ‘append’.",
                details: ["field": "stdin"])
        }
        return .at(offset)
    }

    /// An id of another form cannot exist.
    private func exec(_ request: APIRequest) throws -> ExecID {
        let text = request.parameter("exec")
        guard let exec = ExecID(text) else { throw FastableError.missing(.exec, text) }
        return exec
    }
}
