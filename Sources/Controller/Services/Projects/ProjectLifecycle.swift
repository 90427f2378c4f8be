import ControllerDomain
import ControllerFleet
import ControllerStore
import FastableCore
import FoundationEssentials
import Logging

/// Suspending, waking and stopping containers, and when that happens by itself.
extension ProjectService {
    func suspend(_ project: Project, force: Bool, request: RequestID) async throws -> ContainerStatus {
        try await askContainer(
            .containerSuspend, ContainerSuspend(project: project.id, force: force), of: project, request: request)
            ?? Self.absent(project)
    }

    func resume(_ project: Project, request: RequestID) async throws -> ContainerStatus {
        try await askContainer(.containerResume, ProjectReference(project: project.id), of: project, request: request)
            ?? Self.absent(project)
    }

    func stop(_ project: Project, by principal: Principal, request: RequestID) async throws -> ContainerStatus {
        let reason = "It was stopped by ‘\(principal.name.shortened)’. It is made again on next use; files are kept."
        return try await askContainer(
            .containerStop, ContainerStop(project: project.id, reason: reason), of: project, request: request,
            timeoutSeconds: Limits.containerStopSeconds + Limits.nodeAnswerSeconds) ?? Self.absent(project)
    }

    func explain(_ project: Project, request: RequestID) async throws -> ContainerExplanation {
        try await askContainer(.containerExplain, ProjectReference(project: project.id), of: project, request: request)
            ?? Self.unused(project)
    }

    func keepAwake(_ project: Project, _ wish: ContainerKeepAwake, request: RequestID) async throws
        -> ContainerExplanation
    {
        if let explanation: ContainerExplanation = try await askContainer(
            .containerKeepAwake, wish, of: project, request: request)
        {
            return explanation
        }
        guard wish.seconds == 0 else {
            throw FastableError(
                .conflict, "No container runs that could be kept awake. Start it first with devcontainer.ensure.")
        }
        return Self.unused(project)
    }

    private static func unused(_ project: Project) -> ContainerExplanation {
        let status = absent(project)
        return ContainerExplanation(
            project: project.id, state: status.state, since: nil, reason: status.reason, text: status.reason,
            idleSince: nil, awakeBecause: [], next: nil, policy: project.lifecyclePolicy)
    }

    // MARK: settings

    /// Stores a project's own settings and tells its node. `false` when that is away: it is told when it is back.
    func setLifecycle(
        _ lifecycle: LifecyclePolicy, of project: Project, request: RequestID
    ) async throws -> (Project, applied: Bool) {
        let changed = try await store.setLifecycle(lifecycle, of: project.id, in: project.workspace)
        cache.forget(project)
        return (changed, await sendLifecycle(of: changed, request: request))
    }

    /// The same for all projects of a workspace, whose nodes are told in the background.
    func setLifecycle(_ lifecycle: LifecyclePolicy, of workspace: WorkspaceID) async throws -> Workspace {
        let changed = try await store.setLifecycle(lifecycle, of: workspace)
        cache.forgetAll()
        let connected = nodes.connectedNodes().map(\.id)
        Task { for node in connected { await self.sendLifecycles(to: node) } }
        return changed
    }

    /// Tells a node what was changed while it could not be told. Takes no input but what is stored.
    func sendLifecycles(to node: NodeID) async {
        do {
            var last: ProjectID?
            while !Task.isCancelled {
                let page = try await store.unsentLifecycles(on: node, after: last, limit: Limits.pageRows)
                for project in page {
                    // With the link the rest is lost, too; the next one is told all of it.
                    guard await sendLifecycle(of: project, request: RequestID()) else { return }
                }
                guard page.count == Limits.pageRows else { return }
                last = page.last?.id
            }
        } catch {
            logger.warning("Changed settings could not be listed.", metadata: ["error": "\(error)"])
        }
    }

    private func sendLifecycle(of project: Project, request: RequestID) async -> Bool {
        do {
            let policy = ContainerPolicy(project: project.id, policy: project.lifecyclePolicy)
            // A node that has nothing of the project gets the settings with its first use.
            let _: Empty? = try await askContainer(.containerPolicy, policy, of: project, request: request)
            try await store.lifecycleWasSent(project)
            return true
        } catch {
            logger.info(
                "Changed settings wait for their node.", metadata: ["project": "\(project.id)", "error": "\(error)"])
            return false
        }
    }
}
