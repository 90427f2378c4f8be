import ControllerDomain
import ControllerFleet
import ControllerStore
import FastableCore
import FoundationEssentials
import Logging

/// New values for some limits of a project.
struct LimitsChange: Sendable {
    var cpus: Double?
    var memoryBytes: Int?
    var pids: Int?
    var diskBytes: Int?

    var isEmpty: Bool { cpus == nil && memoryBytes == nil && pids == nil && diskBytes == nil }

    func applied(to limits: ResourceLimits) -> ResourceLimits {
        ResourceLimits(
            cpus: cpus ?? limits.cpus, memoryBytes: memoryBytes ?? limits.memoryBytes, pids: pids ?? limits.pids,
            diskBytes: diskBytes ?? limits.diskBytes)
    }
}

/// What a project's container may use.
extension ProjectService {
    /// Stores new limits and puts them in force, or neither of both.
    ///
    /// - Returns: `applied` is `false` when the node is away: it is told when it is back.
    /// - Throws: `conflict` with the numbers when the container uses more already, `limit` when its workspace may not have it, and
    ///   `unavailable` when its node has no room for it.
    func setLimits(
        _ change: LimitsChange, of project: Project, request: RequestID
    ) async throws -> (Project, applied: Bool) {
        try await limitsTurns.run(project.id) {
            let before = try await self.store.project(.id(project.id), in: project.workspace)
            let limits = try change.applied(to: before.limits).validated()
            guard limits != before.limits else { return (before, true) }
            let admission = try await self.capacity.admit(limits, for: before)
            defer { admission?.release() }
            let changed = try await self.keep(limits, of: before)
            do {
                let wish = ContainerLimits(
                    project: project.id, limits: limits, revision: changed.lifecycleRevision)
                _ = try await self.askContainer(
                    .containerLimits, wish, of: changed, request: request, otherwise: self.absent)
                // With its number the node has to have all other settings, too.
                _ = await self.sendLifecycle(of: changed, request: request)
                return (changed, true)
            } catch let error as FastableError where error.code == .conflict {
                // The node has changed nothing, and it is asked for nothing else from now on.
                _ = try await self.keep(before.limits, of: changed)
                throw error
            } catch {
                self.logger.info(
                    "Changed limits wait for their node.", metadata: ["project": "\(project.id)", "error": "\(error)"])
                return (changed, false)
            }
        }
    }

    /// For new projects of a workspace.
    func setDisk(_ bytes: Int?, of workspace: WorkspaceID) async throws -> Workspace {
        try await store.setDisk(bytes, of: workspace)
    }

    /// Limits of a new project, which has the disk that its workspace gives unless it says otherwise.
    func withDisk(_ limits: ResourceLimits, in workspace: WorkspaceID) async throws -> ResourceLimits {
        guard limits.diskBytes == nil else { return limits }
        var limits = limits
        limits.diskBytes = try await store.workspace(workspace).diskBytes
        return limits
    }

    private func keep(_ limits: ResourceLimits, of project: Project) async throws -> Project {
        defer { cache.forget(project) }
        return try await store.setLimits(
            limits, of: project.id, in: project.workspace, replacing: project.lifecycleRevision)
    }
}
