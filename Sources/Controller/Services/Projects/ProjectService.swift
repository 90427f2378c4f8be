public import ControllerDomain
public import ControllerFleet
import ControllerStore
public import FastableCore
import FoundationEssentials
import Logging

/// A project and the link to the node that has it.
public struct PlacedProject: Sendable {
    public var project: Project
    public var client: any NodeClient
}

/// Projects: their records, their places, and their ends.
public final class ProjectService: Sendable {
    let store: any Store
    let nodes: any NodeDirectory
    let placement: ProjectPlacement
    let kills: KillService
    let cache = ProjectCache()
    let logger: Logger
    private let known = KnownProjects()

    init(store: any Store, nodes: any NodeDirectory, placement: ProjectPlacement, kills: KillService, logger: Logger) {
        self.kills = kills
        self.store = store
        self.nodes = nodes
        self.placement = placement
        self.logger = logger
    }

    /// The caller's project with this id or name. Throws `not_found` naming it, also when it is another workspace's, and
    /// `gone` when it is being deleted.
    public func resolve(_ text: String, for principal: Principal) async throws -> Project {
        let key = ProjectCache.Key(workspace: principal.workspace, text: text)
        let (cached, changes) = cache.look(key)
        if let cached { return cached }
        let project = try await store.project(ProjectKey(text), in: principal.workspace)
        cache.remember(project, as: key, ifUnchangedSince: changes)
        return project
    }

    /// The project with its node, which is chosen at the first use.
    ///
    /// Throws `unavailable` with a time to retry, at once, when the node is offline; `gone` when the node was removed; and
    /// what placement says when no node can take the project.
    public func placed(_ project: Project) async throws -> PlacedProject {
        var project = project
        if project.node == nil { project = try await place(project) }
        guard let node = project.node else {
            throw FastableError(.internal, "The project ‘\(project.name)’ was placed without a node.")
        }
        do {
            return PlacedProject(project: project, client: try nodes.client(for: node))
        } catch let error as FastableError where error.code == .unavailable {
            throw try await explainOffline(node, of: project) ?? error
        }
    }

    /// Like `placed`, for calls that need the project's directories on the node and do not bring its specification: at the
    /// first use the node makes them. No container is started.
    public func prepared(_ project: Project, request: RequestID) async throws -> PlacedProject {
        let placed = try await placed(project)
        guard !known.contains(project.id, on: placed.client.node) else { return placed }
        _ = try await placed.client.call(
            .projectPrepare, placed.project.containerSpec, returning: Empty.self, request: request,
            timeout: .seconds(Limits.nodeAnswerSeconds))
        known.insert(project.id, on: placed.client.node)
        return placed
    }

    /// Makes the container unless it runs, and tells how it is.
    func ensure(_ placed: PlacedProject, request: RequestID) async throws -> ContainerStatus {
        try await kills.checkStart(placed.project)
        return try await placed.client.call(
            .containerEnsure, placed.project.containerSpec, returning: ContainerStatus.self, request: request,
            timeout: .seconds(Limits.containerStartSeconds + Limits.nodeAnswerSeconds))
    }

    /// How the container is; `absent` for a project that was never used.
    func status(_ project: Project, request: RequestID) async throws -> ContainerStatus {
        try await askContainer(.containerStatus, ProjectReference(project: project.id), of: project, request: request)
            ?? Self.absent(project)
    }

    /// Asks the node about the project's container; `nil` when there never was one.
    func askContainer<Arguments: Codable & Sendable, Value: Codable & Sendable>(
        _ method: NodeMethod, _ arguments: Arguments, of project: Project, request: RequestID,
        timeoutSeconds: Int = Limits.nodeAnswerSeconds
    ) async throws -> Value? {
        guard project.node != nil else { return nil }
        let placed = try await placed(project)
        do {
            return try await placed.client.call(
                method, arguments, returning: Value.self, request: request, timeout: .seconds(timeoutSeconds))
        } catch let error as FastableError where error.code == .notFound {
            // It was placed, and its node was not asked for anything since.
            return nil
        }
    }

    static func absent(_ project: Project) -> ContainerStatus {
        ContainerStatus(
            project: project.id, state: .absent, container: nil, image: project.image, startedAt: nil,
            reason: "It was not used yet. The first command makes the container.", limits: project.limits,
            runningExecs: 0)
    }

    /// Names of the nodes that are not removed.
    func nodeNames() async throws -> [NodeID: String] {
        Dictionary(try await store.nodes().map { ($0.id, $0.name) }) { first, _ in first }
    }

    func forget(_ project: Project) {
        cache.forget(project)
        known.remove(project.id)
    }

    /// A new link of a node says nothing about what the host behind it has.
    func nodeConnected(_ node: NodeID) { known.removeAll(on: node) }

    private func place(_ project: Project) async throws -> Project {
        let decision = try await placement.decide(PlacementDemand(project), for: project.workspace)
        let chosen = try decision.requireNode()
        // When two requests race here, both go on with the winner's choice.
        let placed = try await store.placeProject(project.id, on: chosen)
        forget(project)
        logger.info(
            "A project was placed.",
            metadata: [
                "project": "\(project.id)", "node": "\(placed.node ?? chosen)",
                "reasons": "\(decision.reasons.prefix(5).joined(separator: "; "))",
            ])
        return placed
    }

    private func explainOffline(_ node: NodeID, of project: Project) async throws -> FastableError? {
        let record = try await store.node(.id(node))
        guard record.scheduling == .removed else { return nil }
        return FastableError(
            .gone,
            "The node ‘\(record.name)’ that had the project ‘\(project.name)’ was removed. Its files are still on that "
                + "host's disk. `fastable project delete --force` forgets the project.")
    }
}
