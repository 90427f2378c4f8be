import ControllerDomain
import ControllerFleet
import ControllerStore
import FastableCore
import FoundationEssentials
import Logging

extension ProjectService {
    enum Removal: Sendable {
        case done
        /// The node will be told when it is back.
        case pending
    }

    /// Deletes a project with its container and all its files.
    ///
    /// Its name is free at once. Throws `unavailable` when its node is offline and `force` is not set; with it, the record
    /// waits and the node removes the rest when it is back.
    func delete(_ project: Project, force: Bool, request: RequestID) async throws -> Removal {
        if !force, project.node != nil { _ = try await placed(project) }
        let marked = try await store.markProjectDeleting(project.id, in: project.workspace, at: .nowMilliseconds)
        forget(project)
        return await removeRest(of: marked, request: request)
    }

    /// Removes what waits for removal on one node, or on all. Called when a node connects and from time to time; takes no
    /// input but what is stored.
    func sweepDeleted(on node: NodeID? = nil) async {
        do {
            let waiting = try await store.deletingProjects(on: node, limit: Limits.pageRows)
            // Each node by itself: one that hangs holds up only its own.
            await withDiscardingTaskGroup { group in
                for projects in Dictionary(grouping: waiting, by: \.node).values {
                    group.addTask {
                        for project in projects { _ = await self.removeRest(of: project, request: RequestID()) }
                    }
                }
            }
        } catch {
            logger.warning("Deleted projects could not be listed.", metadata: ["error": "\(error)"])
        }
    }

    private func removeRest(of project: Project, request: RequestID) async -> Removal {
        do {
            if let node = project.node, try await store.node(.id(node)).scheduling != .removed {
                _ = try await nodes.client(for: node).call(
                    .projectDelete, ProjectReference(project: project.id), returning: Empty.self, request: request,
                    timeout: .seconds(Limits.projectDeleteSeconds + Limits.nodeAnswerSeconds))
            }
            try await store.removeProject(project.id)
            return .done
        } catch {
            logger.info(
                "The rest of a deleted project waits for its node.",
                metadata: ["project": "\(project.id)", "error": "\(error)"])
            return .pending
        }
    }
}
