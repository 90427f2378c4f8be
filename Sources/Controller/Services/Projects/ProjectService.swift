public import ControllerDomain
public import ControllerFleet
import ControllerStore
public import FastableCore
import FoundationEssentials
import Logging
import Synchronization

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
    let capacity: CapacityService
    let kills: KillService
    let cache = ProjectCache()
    let whereabouts = Whereabouts()
    /// New projects that get their content now.
    let filling = Mutex<Set<ProjectID>>([])
    let logger: Logger
    let limitsTurns = ProjectTurns()
    private let known = KnownProjects()
    private let archivers = Mutex(Archivers())

    /// It takes projects away and brings them back, and needs this service for it.
    private struct Archivers { weak var own: ProjectArchiver? }

    var archiver: ProjectArchiver? { archivers.withLock { $0.own } }

    func set(_ archiver: ProjectArchiver) { archivers.withLock { $0.own = archiver } }

    init(store: any Store, nodes: any NodeDirectory, capacity: CapacityService, kills: KillService, logger: Logger) {
        self.capacity = capacity
        self.kills = kills
        self.store = store
        self.nodes = nodes
        placement = ProjectPlacement(store: store, nodes: nodes, kills: kills, capacity: capacity)
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

    /// The project with its node, which is chosen at the first use. One that is archived is restored first, and the end of a move to
    /// another node is waited for.
    ///
    /// - Parameter listener: told how far that has come.
    ///
    /// Throws `unavailable` with a time to retry, at once, when the node is offline; `gone` when the node was removed; and
    /// what placement says when no node can take the project.
    ///
    /// - Parameter beforeChange: called before it is placed, brought back from the archive, or taken off a lost node.
    func placed(
        _ project: Project, telling listener: (@Sendable (OperationEvent) async throws -> Void)? = nil,
        beforeChange: () async throws -> Void = {}
    ) async throws -> PlacedProject {
        var project = project
        while true {
            if project.isAway || whereabouts.isPassed(project) {
                try await beforeChange()
                project = try await comeBack(project, telling: listener)
            }
            if project.node == nil {
                try await beforeChange()
                project = try await place(project)
            }
            guard !project.isAway else { continue }
            let client: any NodeClient
            do { client = try await self.client(of: project) } catch let error as FastableError
                where error.code == .unavailable
            {
                guard let archiver, archiver.mayLeaveLost(project) else { throw error }
                try await beforeChange()
                guard let left = try await archiver.leaveLost(project) else { throw error }
                project = left
                continue
            }
            // A project that leaves its node from here on ends this link with it, or its node knows calls that come too late.
            if !whereabouts.isPassed(project) { return PlacedProject(project: project, client: client) }
        }
    }

    private func client(of project: Project) async throws -> any NodeClient {
        guard let node = project.node else {
            throw FastableError(.internal, "The project ‘\(project.name)’ was placed without a node.")
        }
        do { return try nodes.client(for: node) } catch let error as FastableError where error.code == .unavailable {
            throw try await explainOffline(node, of: project) ?? error
        }
    }

    /// An archived project as it is on a node again.
    ///
    /// - Parameter snapshot: its content; that of its archive unless given.
    func comeBack(
        _ project: Project, from snapshot: Snapshot? = nil,
        telling listener: (@Sendable (OperationEvent) async throws -> Void)?
    ) async throws -> Project {
        guard let archiver else { throw FastableError(.unavailable, "The controller is going down. Try again later.") }
        return try await archiver.comeBack(project, from: snapshot, telling: listener)
    }

    /// Like `placed`, for calls that need the project's directories on the node and do not bring its specification: at the
    /// first use the node makes them. No container is started.
    public func prepared(
        _ project: Project, request: RequestID,
        telling listener: (@Sendable (OperationEvent) async throws -> Void)? = nil
    ) async throws -> PlacedProject {
        let placed = try await placed(project, telling: listener)
        guard !known.contains(project.id, on: placed.client.node) else { return placed }
        _ = try await placed.client.call(
            .projectPrepare, placed.project.containerSpec, returning: Empty.self, request: request,
            timeout: .seconds(Limits.nodeAnswerSeconds))
        known.insert(project.id, on: placed.client.node)
        return placed
    }

    /// How the container is; `absent` for a project that was never used.
    func status(_ project: Project, request: RequestID) async throws -> ContainerStatus {
        try await askContainer(
            .containerStatus, ProjectReference(project: project.id), of: project, request: request, otherwise: absent)
    }

    /// Asks the node about the project's container. Nothing is restored for that.
    ///
    /// - Parameter otherwise: gives the answer when there never was one, and for a project that is archived.
    func askContainer<Arguments: Codable & Sendable, Value: Codable & Sendable>(
        _ method: NodeMethod, _ arguments: Arguments, of project: Project, request: RequestID,
        timeoutSeconds: Int = Limits.nodeAnswerSeconds, otherwise: (Project) throws -> Value
    ) async throws -> Value {
        var project = project
        if whereabouts.isPassed(project) {
            project = try await store.project(.id(project.id), in: project.workspace)
        }
        guard project.node != nil, !project.isAway else { return try otherwise(project) }
        do {
            return try await client(of: project).call(
                method, arguments, returning: Value.self, request: request, timeout: .seconds(timeoutSeconds))
        } catch let error as FastableError where error.code == .notFound {
            // It was placed, and its node was not asked for anything since.
            return try otherwise(project)
        }
    }

    /// Of a project that no node has.
    func absent(_ project: Project) -> ContainerStatus {
        ContainerStatus(
            project: project.id, state: absentState(of: project), container: nil,
            image: project.image, startedAt: nil, reason: absence(of: project), limits: project.limits,
            runningExecs: 0, since: project.archive?.since)
    }

    private func absentState(of project: Project) -> ContainerState {
        switch project.archive?.state {
        case nil where project.move != nil: .stopped
        case nil: .absent
        // Its node may have the files still.
        case .removing: .stopped
        case .archived, .restoring: .archived
        }
    }

    private func absence(of project: Project) -> String {
        guard let archive = project.archive else {
            guard project.move == nil else { return "It is being moved to another node." }
            return "It was not used yet. The first command makes the container."
        }
        switch archive.state {
        case .removing: return "It is saved as the snapshot ‘\(archive.snapshot)’ and is being archived."
        case .archived:
            return
                "It is archived as the snapshot ‘\(archive.snapshot)’. The next use restores its files; what was installed outside "
                + "of /workspace has to be installed again."
        case .restoring: return archiver?.stage(of: project.id)?.message ?? "It is being restored."
        }
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
        let decision = try await placement.decide(
            PlacementDemand(project), for: project.workspace, placing: project.id)
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
