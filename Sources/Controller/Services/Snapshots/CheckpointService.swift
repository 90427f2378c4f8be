import ControllerDomain
import ControllerFleet
import ControllerStore
import FastableCore
import FastableWire
import FoundationEssentials
import NIOCore
import NIOFoundationEssentialsCompat

/// Copies of workspaces on their own nodes: checkpoints, the way back to one, and new projects made of them.
struct CheckpointService: Sendable {
    let projects: ProjectService
    let transfers: TransferService

    func create(_ project: Project, note: String, context: OperationContext) async throws -> TreeWorkResult {
        let placed = try await projects.prepared(project, request: context.requestID, telling: context.events)
        let request = CheckpointCreate(id: CheckpointID(), note: note)
        return try await follow(try await transfers.open(.checkpointCreate, request, placed, context), context)
    }

    /// Newest first; none for a project that was never used.
    func list(_ project: Project, context: OperationContext) async throws -> [CheckpointInfo] {
        guard project.node != nil else { return [] }
        let placed = try await projects.prepared(project, request: context.requestID, telling: context.events)
        return try await placed.client.call(
            .checkpointList, ProjectReference(project: project.id), returning: CheckpointListResult.self,
            request: context.requestID, timeout: .seconds(Limits.nodeAnswerSeconds)
        ).checkpoints
    }

    /// - Parameter id: the newest one when it is `nil`.
    func rollBack(
        _ project: Project, to id: String?, context: OperationContext
    ) async throws -> (checkpoint: CheckpointID, result: TreeWorkResult) {
        try await projects.kills.checkStart(project)
        let checkpoint = try await checkpoint(id, of: project, context)
        let placed = try await projects.prepared(project, request: context.requestID, telling: context.events)
        let request = CheckpointRollback(id: checkpoint, keepAs: CheckpointID())
        let stream = try await transfers.open(.checkpointRollback, request, placed, context)
        return (checkpoint, try await follow(stream, context))
    }

    func remove(_ id: String, of project: Project, context: OperationContext) async throws {
        guard let checkpoint = CheckpointID(id) else { throw FastableError.missing(.checkpoint, id) }
        let placed = try await projects.prepared(project, request: context.requestID, telling: context.events)
        _ = try await placed.client.call(
            .checkpointRemove,
            FileCall(project: project.id, arguments: CheckpointReference(id: checkpoint)), returning: Empty.self,
            request: context.requestID, timeout: .seconds(Limits.projectDeleteSeconds))
    }

    /// Makes a new project with the content of another one, on that one's node and with its settings. Throws what placement says when
    /// the node takes no more; the new project does not exist then.
    func fork(
        _ source: Project, as name: String, at id: String?, context: OperationContext
    ) async throws -> Project {
        try await projects.kills.checkStart(source)
        let placed = try await projects.prepared(source, request: context.requestID, telling: context.events)
        let checkpoint = id == nil ? nil : try await checkpoint(id, of: source, context)
        let limits = try await projects.withDisk(source.limits, in: source.workspace)
        let project = try Project(
            id: ProjectID(), workspace: source.workspace, name: name, image: source.image, limits: limits,
            environment: source.environment, node: placed.client.node, origin: source.origin,
            createdAt: .nowMilliseconds
        ).validated()
        _ = try await projects.placement.decide(
            PlacementDemand(project), for: source.workspace, on: placed.client.node
        ).requireNode()
        try await projects.create(project, request: context.requestID) {
            let request = ProjectFork(source: source.id, checkpoint: checkpoint, target: project.containerSpec)
            _ = try await follow(
                try await placed.client.open(.projectFork, request, request: context.requestID), context)
        }
        return project
    }

    private func checkpoint(
        _ text: String?, of project: Project, _ context: OperationContext
    ) async throws -> CheckpointID {
        if let text {
            guard let id = CheckpointID(text) else { throw FastableError.missing(.checkpoint, text) }
            return id
        }
        guard let newest = try await list(project, context: context).first else {
            throw FastableError(
                .notFound,
                "The project ‘\(project.name)’ has no checkpoint yet. `fastable project checkpoint` makes one.")
        }
        return newest.id
    }

    private func follow(_ stream: MuxStream, _ context: OperationContext) async throws -> TreeWorkResult {
        while let event = try await stream.next() {
            guard case .message(let payload) = event else { continue }
            switch try JSON.decode(NodeReply<TreeWorkEvent>.self, from: Data(buffer: payload)).get() {
            case .finished(let result): return result
            case .progress(let progress):
                try await context.events?(
                    .progress(
                        message: "Copied \(progress.entries) files, \(progress.contentBytes / (1024 * 1024)) MiB.",
                        fraction: nil))
            }
        }
        throw FastableError(.internal, "The node ended the copy without an answer. Try again.")
    }
}
