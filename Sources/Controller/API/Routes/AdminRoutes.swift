import ControllerDomain
import ControllerServices
import FastableCore
import FoundationEssentials
import HTTPTypes

/// The operator's switches of path B under paths of their own, as scripts and other systems know them. The operations behind them
/// are those of the catalogue.
struct AdminRoutes: Sendable {
    static let disable = "/api/admin/path-b/disable"
    static let enable = "/api/admin/path-b/enable"
    static let idleSweep = "/api/admin/path-b/idle-sweep"

    let backend: any APIBackend

    func add(to table: inout RouteTable<Route>) {
        table.bearer(.post, Self.disable) { request, principal in
            let body = try await request.body.collect()
            // The reason is optional, and with it the whole body.
            return try await run("admin_disable", body.isEmpty ? Data("{}".utf8) : body, request, principal)
        }
        table.bearer(.post, Self.enable) { request, principal in
            try await run("admin_enable", Data("{}".utf8), request, principal)
        }
        table.bearer(.post, Self.idleSweep) { request, principal in
            let text = try request.queryParameters(["minutes"])["minutes"]
            var input: [String: JSONValue] = [:]
            if let text {
                guard let minutes = Int64(text) else {
                    throw FastableError(
                        .invalid, "‘minutes’ must be a whole number.", details: ["field": "minutes"])
                }
                input["minutes"] = .integer(minutes)
            }
            return try await run("admin_idle_sweep", try JSON.encode(input), request, principal)
        }
    }

    private func run(
        _ operation: String, _ input: Data, _ request: APIRequest, _ principal: Principal
    ) async throws -> Reply {
        var context = request.context(principal, door: .rest)
        context.idempotencyKey = try IdempotencyKey.of(request)
        return Reply.json(try await backend.run(operation, input: input, context: context))
    }
}
