import ControllerDomain
import ControllerFleet
import ControllerStore
import FastableCore
import FoundationEssentials
import Logging

/// Suspending, waking and stopping containers, and when that happens by itself.
extension ProjectService {
    func suspend(_ project: Project, force: Bool, request: RequestID) async throws -> ContainerStatus {
        noting(
            try await askContainer(
                .containerSuspend, ContainerSuspend(project: project.id, force: force), of: project, request: request,
                otherwise: absent), of: project)
    }

    func resume(_ project: Project, request: RequestID) async throws -> ContainerStatus {
        let admission = try await admitted(project)
        let status = try await askContainer(
            .containerResume, ProjectReference(project: project.id), of: project, request: request, otherwise: absent)
        admission?.release(status)
        return status
    }

    /// Before its container may be woken where it is; `nil` when no node has it.
    private func admitted(_ project: Project) async throws -> Admission? {
        guard let node = project.node, !project.isAway else { return nil }
        return try await capacity.admit(project, on: node)
    }

    private func noting(_ status: ContainerStatus, of project: Project) -> ContainerStatus {
        if let node = project.node { capacity.note(status, on: node) }
        return status
    }

    func stop(_ project: Project, by principal: Principal, request: RequestID) async throws -> ContainerStatus {
        let reason = "It was stopped by ‘\(principal.name.shortened)’. It is made again on next use; files are kept."
        return noting(
            try await askContainer(
                .containerStop, ContainerStop(project: project.id, reason: reason), of: project, request: request,
                timeoutSeconds: Limits.containerStopSeconds + Limits.nodeAnswerSeconds, otherwise: absent), of: project)
    }

    /// Ends the container before its content is saved: what its processes would write afterwards would be lost.
    func stopToSave(_ project: Project, isForced: Bool, _ context: OperationContext) async throws {
        do {
            _ = try await stop(project, by: context.principal, request: context.requestID)
        } catch let error as FastableError where isForced || error.code == .unavailable || error.code == .gone {
            // Where its node is, and what to do, is told by what saves the content.
        }
    }

    func explain(_ project: Project, request: RequestID) async throws -> ContainerExplanation {
        var explanation = try await askContainer(
            .containerExplain, ProjectReference(project: project.id), of: project, request: request, otherwise: unused)
        // As it is by now: what it was asked for may be older.
        let fresh = try await store.project(.id(project.id), in: project.workspace)
        archiver?.complete(&explanation, of: fresh)
        return explanation
    }

    func keepAwake(_ project: Project, _ wish: ContainerKeepAwake, request: RequestID) async throws
        -> ContainerExplanation
    {
        let admission = try await wish.seconds > 0 ? admitted(project) : nil
        defer { admission?.release() }
        return try await askContainer(.containerKeepAwake, wish, of: project, request: request) { project in
            guard wish.seconds == 0 else {
                throw FastableError(
                    .conflict, "No container runs that could be kept awake. Start it first with devcontainer.ensure.")
            }
            return unused(project)
        }
    }

    private func unused(_ project: Project) -> ContainerExplanation {
        let status = absent(project)
        return ContainerExplanation(
            project: project.id, state: status.state, since: status.since, reason: status.reason, text: status.reason,
            idleSince: nil, awakeBecause: [], next: nil, policy: project.lifecyclePolicy)
    }

    // MARK: settings

    /// Stores a project's own settings and tells its node. `false` when that is away: it is told when it is back.
    func setLifecycle(
        _ lifecycle: LifecyclePolicy, of project: Project, request: RequestID
    ) async throws -> (Project, applied: Bool) {
        let changed = try await store.setLifecycle(lifecycle, of: project.id, in: project.workspace)
        cache.forget(project)
        archiver?.lookAgain()
        return (changed, await sendLifecycle(of: changed, request: request))
    }

    /// The same for all projects of a workspace, whose nodes are told in the background.
    func setLifecycle(_ lifecycle: LifecyclePolicy, of workspace: WorkspaceID) async throws -> Workspace {
        let changed = try await store.setLifecycle(lifecycle, of: workspace)
        cache.forgetAll()
        archiver?.lookAgain()
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

    func sendLifecycle(of project: Project, request: RequestID) async -> Bool {
        do {
            let policy = ContainerPolicy(
                project: project.id, policy: project.lifecyclePolicy, limits: project.limits,
                supervised: project.containerSpec.supervised, revision: project.lifecycleRevision)
            // A node that has nothing of the project gets the settings with its first use.
            _ = try await askContainer(.containerPolicy, policy, of: project, request: request) { _ in Empty() }
            try await store.lifecycleWasSent(project)
            return true
        } catch {
            logger.info(
                "Changed settings wait for their node.", metadata: ["project": "\(project.id)", "error": "\(error)"])
            return false
        }
    }
}
