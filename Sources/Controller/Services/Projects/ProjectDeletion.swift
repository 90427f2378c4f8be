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
            var last: Project?
            // Page by page: projects that wait for a node which never comes back must not hide the others.
            repeat {
                let page = try await store.deletingProjects(on: node, after: last, limit: Limits.pageRows)
                await removeRest(ofAll: page)
                last = page.count < Limits.pageRows ? nil : page.last
            } while last != nil && !Task.isCancelled
        } catch {
            logger.warning("Deleted projects could not be listed.", metadata: ["error": "\(error)"])
        }
    }

    /// Each node by itself, so that one that hangs holds up only its own; and on each node several at a time, so that one project
    /// that hangs does not hold up the next.
    private func removeRest(ofAll projects: [Project]) async {
        await withTaskGroup(of: Void.self) { group in
            for projects in Dictionary(grouping: projects, by: \.node).values {
                group.addTask {
                    await withTaskGroup(of: Void.self) { group in
                        for (index, project) in projects.enumerated() {
                            if index >= Limits.projectsSweptAtOnce { await group.next() }
                            group.addTask { _ = await self.removeRest(of: project, request: RequestID()) }
                        }
                    }
                }
            }
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
