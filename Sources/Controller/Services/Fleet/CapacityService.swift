import ControllerDomain
import ControllerFleet
import ControllerStore
import FastableCore
import Synchronization

/// Lets containers start and wake as long as their nodes can promise what they may use, and their workspaces may have it.
final class CapacityService: Sendable {
    private let store: any Store
    private let nodes: any NodeDirectory
    let policy: PlacementPolicy
    private let book = Mutex(CapacityBook())

    init(store: any Store, nodes: any NodeDirectory, policy: PlacementPolicy) {
        self.store = store
        self.nodes = nodes
        self.policy = policy
    }

    // MARK: what is known

    func reported(_ node: NodeID, _ report: NodeReport) { book.withLock { $0.take(report, of: node) } }

    /// It is lost or removed.
    func forget(_ node: NodeID) { book.withLock { $0.forget(node) } }

    /// What a node has just said of a container.
    func note(_ status: ContainerStatus, on node: NodeID) {
        book.withLock { $0.note(status.project, status.state, on: node) }
    }

    /// What each node has promised. Nodes of which nothing is known are left out.
    func loads(for workspace: WorkspaceID) async throws -> [NodeID: NodeLoad] {
        let placed = try await store.nodeLoads(for: workspace)
        return book.withLock { book in
            placed.reduce(into: [:]) { loads, entry in loads[entry.key] = entry.value.adding(book.load(of: entry.key)) }
        }
    }

    func usage(of workspace: WorkspaceID) async throws -> WorkspaceUsage {
        let placed = try await store.placedLimits(in: workspace)
        let disks = try await store.diskUsage(of: workspace)
        var usage = book.withLock { $0.usage(of: workspace, placed) }
        (usage.diskBytes, usage.projectsWithoutDisk) = disks
        return usage
    }

    // MARK: what is let start

    /// Decides with what is awake now.
    ///
    /// - Parameter start: makes of the chosen node what is expected to start there: it counts for the next who decides.
    func decide(
        _ decision: ((NodeID) -> NodeLoad) -> PlacementDecision, expecting start: (NodeID) -> CapacityBook.Start?
    ) -> PlacementDecision {
        book.withLock { book in
            let decision = decision { book.load(of: $0) }
            if let start = decision.chosen.flatMap(start) { book.expect(start) }
            return decision
        }
    }

    /// Called before anything that may start or wake a project's container. It counts as awake for as long as the answer is kept.
    ///
    /// - Throws: `limit` when its workspace may not have it, `unavailable` when its node has no room for it; both with the numbers.
    func admit(_ project: Project, on node: NodeID) async throws -> Admission {
        let start = CapacityBook.Start(project, on: node)
        if book.withLock({ $0.join(start) }) { return Admission(self, project.id) }
        return try await admit(start, of: project)
    }

    /// The same for a container that is awake and gets other limits; `nil` when it is not awake, or gets no more than it has.
    func admit(_ limits: ResourceLimits, for project: Project) async throws -> Admission? {
        guard let node = project.node, !project.isAway, limits.exceeds(project.limits) else { return nil }
        var start = CapacityBook.Start(project, on: node)
        guard book.withLock({ $0.isAwake(project.id, on: node) }) else { return nil }
        start.limits = limits
        return try await admit(start, of: project)
    }

    private func admit(_ start: CapacityBook.Start, of project: Project) async throws -> Admission {
        let quota = try await store.workspace(project.workspace).quota
        let placed = quota.boundsAwake ? try await store.placedLimits(in: project.workspace) : [:]
        let connected = nodes.connectedNodes()
        let facts = connected.first { $0.id == start.node }?.facts
        // From here on nothing is waited for: of any number that come together each sees those before it.
        let (shortages, awake) = try book.withLock { book -> ([PlacementFilter], Int) in
            if quota.boundsAwake {
                guard connected.allSatisfy({ book.knows($0.id) }) else { throw Self.untold }
                let used = book.usage(of: project.workspace, placed, without: project.id)
                try quota.check(start.limits, besides: used)
            }
            let load = book.load(of: start.node, without: project.id)
            let shortages = facts.map { Placement.shortages(of: $0, load, for: start.limits, policy) } ?? []
            if shortages.isEmpty { book.admit(start) }
            return (shortages, load.awake)
        }
        guard shortages.isEmpty else { throw Self.noRoom(for: project, shortages, awake: awake) }
        return Admission(self, project.id)
    }

    private static let untold = FastableError(
        .unavailable,
        "Some nodes have just connected and have not told yet what runs on them, and the workspace has a quota. Try again.",
        retryAfterSeconds: Limits.reportRetrySeconds)

    fileprivate func release(_ project: ProjectID, _ state: ContainerState?) {
        book.withLock { $0.release(project, state) }
    }

    private static func noRoom(for project: Project, _ shortages: [PlacementFilter], awake: Int) -> FastableError {
        let why = shortages.map(\.description).joined(separator: ", and ")
        return FastableError(
            .unavailable,
            "The project ‘\(project.name)’ is on a node on which \(awake) containers are awake, and which \(why). Its container starts "
                + "when others there have been suspended or stopped: try again, stop some, or ask the operator.",
            details: ["containersAwake": .integer(Int64(awake))], retryAfterSeconds: Limits.roomRetrySeconds)
    }
}

/// A container that counts as awake until this is released, and then as long as its node says so.
final class Admission: Sendable {
    private let capacity: CapacityService
    private let project: ProjectID
    private let isReleased = Mutex(false)

    fileprivate init(_ capacity: CapacityService, _ project: ProjectID) {
        self.capacity = capacity
        self.project = project
    }

    /// - Parameter status: what the node has said at the end, if it did.
    func release(_ status: ContainerStatus? = nil) {
        guard
            isReleased.withLock({ isReleased in
                defer { isReleased = true }
                return !isReleased
            })
        else { return }
        capacity.release(project, status?.state)
    }

    deinit { release() }
}

extension CapacityBook.Start {
    fileprivate init(_ project: Project, on node: NodeID) {
        self.init(project: project.id, workspace: project.workspace, node: node, limits: project.limits)
    }
}

extension ResourceLimits {
    /// Some of what its container may use while it is awake is more.
    fileprivate func exceeds(_ other: ResourceLimits) -> Bool {
        cpus > other.cpus || memoryBytes > other.memoryBytes || pids > other.pids
    }
}
