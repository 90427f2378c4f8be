import ControllerDomain
import ControllerServices
import FastableCore
import FoundationEssentials
import HTTPTypes
import NIOCore

/// What became of a command, and its output from any offset.
struct ExecRoutes: Sendable {
    let backend: any APIBackend

    static let status = "/api/execs/{exec}"
    static let output = "/api/execs/{exec}/output"

    func add(to table: inout RouteTable<Route>) {
        table.bearer(.get, Self.status) { request, principal in
            let exec = try self.exec(request)
            let context = request.context(principal, door: .rest)
            return Reply.json(try JSON.encode(try await backend.execStatus(exec, context: context)))
        }
        table.bearer(.get, Self.output, output)
    }

    private func output(_ request: APIRequest, _ principal: Principal) async throws -> Reply {
        let query = try request.queryParameters(["stream", "offset", "follow"])
        let name = query["stream"] ?? ExecStreamName.stdout.rawValue
        guard let stream = ExecStreamName(rawValue: name) else {
            throw FastableError(
                .invalid, "The query parameter ‘stream’ must be stdout or stderr.", details: ["field": "stream"])
        }
        let output = try await backend.execOutput(
            try exec(request), stream: stream, offset: try query.offset("offset"), follow: try query.flag("follow"),
            context: request.context(principal, door: .rest))
        var reply = BytePump.reply(output.bytes, type: "application/octet-stream", for: request)
        reply.headers[.streamOffset] = "\(output.firstOffset)"
        return reply
    }

    /// An id of another form cannot exist.
    private func exec(_ request: APIRequest) throws -> ExecID {
        let text = request.parameter("exec")
        guard let exec = ExecID(text) else { throw FastableError.missing(.exec, text) }
        return exec
    }
}
