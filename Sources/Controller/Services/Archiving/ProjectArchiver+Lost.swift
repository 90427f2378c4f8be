import ControllerDomain
import ControllerFleet
import ControllerStore
import FastableCore
import FoundationEssentials
import Logging

/// Projects whose node is lost.
extension ProjectArchiver {
    /// Whether a look at the store is worth it.
    func mayLeaveLost(_ known: Project) -> Bool { known.node.map(conditions.isLost) ?? true }

    /// The project as it is once it has left its lost node: archived in its last good snapshot, and restored by whoever uses it. `nil` when
    /// it waits for its node.
    ///
    /// One that was just to be given up for a move or its archive leaves as well: its content is in a snapshot, and nothing of it ran any more.
    ///
    /// - Throws: why it cannot leave, although its workspace wants that.
    func leaveLost(_ known: Project) async throws -> Project? {
        let project = try await store.project(.id(known.id), in: known.workspace)
        guard let node = project.node, project.archive?.state != .restoring else { return project }
        guard conditions.isLost(node), project.lifecyclePolicy.onNodeLost == .restore else { return nil }
        guard let snapshot = try await newestSnapshot(of: project) else {
            throw FastableError(
                .unavailable,
                "The node of the project ‘\(project.name)’ is lost, and there is no snapshot from which it could be started elsewhere: it "
                    + "waits for its node.", retryAfterSeconds: 60)
        }
        let left: Project
        do {
            left = try await store.leaveUnsaved(project, to: snapshot.id, isForced: false, at: .nowMilliseconds)
        } catch let error as FastableError where error.code == .conflict {
            // It has just come back.
            guard conditions.isLost(node) else { return nil }
            throw FastableError(
                .unavailable,
                "The node of the project ‘\(project.name)’ is lost, and was not known to stop it by itself before: the project waits for "
                    + "its node.", context: "\(error)", retryAfterSeconds: 60)
        }
        projects.forget(left)
        await note("project.left_lost_node", left)
        logger.notice(
            "A project leaves its lost node.",
            metadata: ["project": "\(left.id)", "node": "\(node)", "snapshot": "\(snapshot.id)"])
        return left
    }

    /// Throws `unavailable` while a container of the project may still run where it was: its node is not lost, and has not said that it has
    /// put everything away. The store decides by the same rule.
    func requireEnd(of remains: ProjectRemains, _ project: Project) async throws {
        let node = try await store.node(.id(remains.node))
        guard node.scheduling != .removed, node.told != .lost else { return }
        throw FastableError(
            .unavailable,
            "The node ‘\(node.name)’ must put away what it has of the project ‘\(project.name)’ before that is started elsewhere, and has "
                + "not answered yet.", retryAfterSeconds: 5)
    }

    private func newestSnapshot(of project: Project) async throws -> Snapshot? {
        try await store.snapshots(of: project.id, in: project.workspace, before: nil, limit: Limits.pageRows)
            .first { $0.state == .verified }
    }

    /// Takes a project off a node that cannot give its content, as somebody wants by its name: it goes on from its newest good snapshot, and
    /// what the node has is set aside. Only as the project's one work, and only when its node answers: its container ends before.
    func forceAway(_ project: Project, isUrgent: Bool, instead failure: FastableError) async throws -> Project {
        guard let node = project.node else { return project }
        guard let snapshot = try await newestSnapshot(of: project) else {
            throw FastableError(
                failure.code, "\(failure.message) There is no snapshot either, so it cannot be moved by force.")
        }
        projects.whereabouts.leaves(project.id)
        do {
            let source = PlacedProject(project: project, client: try projects.nodes.client(for: node))
            _ = try await stop(source, isUrgent: isUrgent)
            let left = try await store.leaveUnsaved(
                project, to: snapshot.id, isForced: true, at: .nowMilliseconds)
            projects.forget(left)
            // What was on its way to it is refused once its node has heard that, and it is not restored before.
            await sweepRemains(of: left.id)
            projects.whereabouts.settles(left.id, stay: left.stay)
            await note("project.moved_unsaved", left)
            logger.warning(
                "A project leaves its node without its content, by force.",
                metadata: [
                    "project": "\(left.id)", "node": "\(node)", "snapshot": "\(snapshot.id)", "error": "\(failure)",
                ])
            return left
        } catch {
            projects.whereabouts.settles(project.id, stay: project.stay)
            throw error
        }
    }
}
