import ControllerDomain
import ControllerFleet
import ControllerStore
import FastableCore
import FoundationEssentials
import Logging
import Synchronization

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
        // What is archived is on no node, or is about to leave one.
        if !force, project.node != nil, project.archive == nil { _ = try await placed(project) }
        let marked = try await store.markProjectDeleting(project.id, in: project.workspace, at: .nowMilliseconds)
        return await removeDeleted(marked, request: request)
    }

    /// Removes what is left of a project that was marked just now.
    @discardableResult
    func removeDeleted(_ project: Project, request: RequestID = RequestID()) async -> Removal {
        forget(project)
        whereabouts.settles(project.id, stay: project.stay)
        return await removeRest(of: project, request: request)
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

    /// Makes a project and fills it. One that is not filled, for whatever reason, is removed; also when this program was killed meanwhile.
    func create(
        _ project: Project, request: RequestID, fill: () async throws -> Void
    ) async throws {
        filling.withLock { _ = $0.insert(project.id) }
        defer { filling.withLock { _ = $0.remove(project.id) } }
        try await store.createProject(project, isFilling: true)
        do {
            try await fill()
            try await store.projectIsFilled(project.id)
        } catch {
            // Also after a cancellation: nobody should find half of it later.
            await Task { _ = try? await delete(project, force: true, request: request) }.value
            throw error
        }
    }

    /// Whether it is new and gets its content now.
    func isFilling(_ project: ProjectID) -> Bool { filling.withLock { $0.contains(project) } }

    /// At the start of the program: what an earlier one had begun to make.
    func removeUnfilled() async {
        do {
            for project in try await store.fillingProjects(limit: Limits.pageRows) {
                // In this order: one that is being made now, and was not a moment ago, has been filled since.
                guard !filling.withLock({ $0.contains(project.id) }),
                    try await store.fillingProjects(limit: Limits.pageRows).contains(where: { $0.id == project.id })
                else { continue }
                logger.notice("A project that was never filled is removed.", metadata: ["project": "\(project.id)"])
                _ = try await delete(project, force: true, request: RequestID())
            }
        } catch {
            logger.warning("Projects that were never filled cannot be removed.", metadata: ["error": "\(error)"])
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
