import ControllerDomain
import ControllerFleet
import ControllerStore
import FastableCore
import Logging

/// Programs that run whenever a project's container does.
extension ProjectService {
    /// Starts a dev server, and the container when it does not run. Returns when its node has told it to run, or why it cannot.
    func startDevServer(
        _ name: String, _ wish: SupervisedProcess?, isAnew: Bool, of project: Project, _ context: OperationContext
    ) async throws -> (Project, SupervisedStatus?) {
        // A wish that no node can carry out now is not kept.
        _ = try await placed(project, telling: context.events)
        let changed = try await changeDevServers(of: project) { try $0.start(name, wish, isAnew: isAnew, revision: $1) }
        let placed = try await placed(changed, telling: context.events)
        _ = try await ensure(placed, request: context.requestID, telling: context.events)
        guard await sendLifecycle(of: placed.project, request: context.requestID) else {
            throw FastableError(
                .unavailable, "It is stored, and its node could not be told: it starts as soon as that is back.",
                retryAfterSeconds: 5)
        }
        return (placed.project, try await devServers(of: placed.project, context).first { $0.name == name })
    }

    /// - Returns: `applied` is `false` when the node is away: it is told when it is back.
    func stopDevServer(
        _ name: String, forgets: Bool, of project: Project, _ context: OperationContext
    ) async throws -> (Project, run: SupervisedStatus?, applied: Bool) {
        let run = project.node == nil ? nil : try? await devServers(of: project, context).first { $0.name == name }
        let changed = try await changeDevServers(of: project) { list, _ in try list.stop(name, forgets: forgets) }
        return (changed, run, await sendLifecycle(of: changed, request: context.requestID))
    }

    /// How they are on the project's node.
    func devServers(of project: Project, _ context: OperationContext) async throws -> [SupervisedStatus] {
        try await status(project, request: context.requestID).supervised ?? []
    }

    private func changeDevServers(
        of project: Project, _ change: @escaping @Sendable (inout [SupervisedProcess], Int) throws -> Void
    ) async throws -> Project {
        defer { cache.forget(project) }
        return try await store.setSupervised(of: project.id, in: project.workspace, change)
    }
}
