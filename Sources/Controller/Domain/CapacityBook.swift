public import FastableCore

/// Which containers are awake: what nodes report, and what this controller has let start since. Pure.
///
/// What was let start counts from that moment on. When nobody waits for it or works in it any more it counts until two reports of its node
/// have come: the second was gathered after that moment, so it tells whether the container runs. A controller that starts anew has it all
/// again with the first report of each node.
public struct CapacityBook: Sendable {
    /// A container that is to be awake.
    public struct Start: Sendable, Equatable {
        public var project: ProjectID
        public var workspace: WorkspaceID
        public var node: NodeID
        public var limits: ResourceLimits

        public init(project: ProjectID, workspace: WorkspaceID, node: NodeID, limits: ResourceLimits) {
            self.project = project
            self.workspace = workspace
            self.node = node
            self.limits = limits
        }
    }

    private struct Hold: Sendable {
        var start: Start
        /// Those who wait for it or work in it.
        var users = 0
        var reportsAwaited = Self.reportsToWaitFor
        /// It was let start; otherwise it was only placed.
        var isAdmitted = false

        static let reportsToWaitFor = 2

        var waitingForOneLess: Hold? {
            var hold = self
            hold.reportsAwaited -= 1
            return hold.reportsAwaited > 0 ? hold : nil
        }
    }

    private var reports: [NodeID: [ProjectID: ResourceLimits]] = [:]
    /// Of a report whose last part is still to come.
    private var arriving: [NodeID: [ProjectID: ResourceLimits]] = [:]
    private var holds: [ProjectID: Hold] = [:]

    public init() {}

    // MARK: what nodes say

    /// Takes a report, or a part of one.
    public mutating func take(_ report: NodeReport, of node: NodeID) {
        var awake = report.continues ? arriving.removeValue(forKey: node) ?? [:] : [:]
        for container in report.containers where container.state.isAwake && awake.count < Limits.projectsPerNode {
            awake[container.project] = container.limits.bounded
        }
        guard !report.isIncomplete else { return arriving[node] = awake }
        arriving[node] = nil
        reports[node] = awake
        for (project, hold) in holds where hold.start.node == node && hold.users == 0 {
            holds[project] = hold.waitingForOneLess
        }
    }

    /// Nothing of the node counts any more: it is lost or removed.
    public mutating func forget(_ node: NodeID) {
        reports[node] = nil
        arriving[node] = nil
        for (project, hold) in holds where hold.start.node == node && hold.users == 0 { holds[project] = nil }
    }

    /// What the node has said since this controller started is known.
    public func knows(_ node: NodeID) -> Bool { reports[node] != nil }

    // MARK: what is let start

    /// It was placed, and is expected to start soon: it counts for its node.
    public mutating func expect(_ start: Start) {
        var hold = holds[start.project] ?? Hold(start: start)
        guard hold.users == 0 else { return }
        hold.start = start
        hold.reportsAwaited = Hold.reportsToWaitFor
        holds[start.project] = hold
    }

    /// Somebody needs a container; `true` when it counts as awake already. Each that was joined or admitted is released once.
    public mutating func join(_ start: Start) -> Bool {
        if holds[start.project]?.isAdmitted == true, holds[start.project]?.start.node == start.node {
            holds[start.project]?.users += 1
            return true
        }
        guard reports[start.node]?[start.project] != nil else { return false }
        admit(start)
        return true
    }

    public mutating func admit(_ start: Start) {
        var hold = holds[start.project] ?? Hold(start: start)
        hold.start = start
        hold.isAdmitted = true
        hold.users += 1
        holds[start.project] = hold
    }

    /// - Parameter state: what its node says of the container at the end, if it did.
    public mutating func release(_ project: ProjectID, _ state: ContainerState? = nil) {
        guard var hold = holds[project], hold.users > 0 else { return }
        hold.users -= 1
        hold.reportsAwaited = Hold.reportsToWaitFor
        holds[project] = hold
        if let state { note(project, state, on: hold.start.node) }
    }

    /// What the container's node has just said of it.
    public mutating func note(_ project: ProjectID, _ state: ContainerState, on node: NodeID) {
        guard !state.isAwake else { return }
        if let hold = holds[project], hold.start.node == node {
            guard hold.users == 0 else { return }
            holds[project] = nil
        }
        reports[node]?[project] = nil
    }

    /// It counts as awake there.
    public func isAwake(_ project: ProjectID, on node: NodeID) -> Bool {
        if let hold = holds[project], hold.start.node == node, hold.isAdmitted { return true }
        return reports[node]?[project] != nil
    }

    // MARK: sums

    /// What a workspace's containers may use that are awake, or were let start.
    ///
    /// - Parameters:
    ///   - placed: its projects on nodes. A node is believed about its own projects only.
    ///   - project: this one is left out.
    public func usage(
        of workspace: WorkspaceID, _ placed: [ProjectID: PlacedLimits], without project: ProjectID? = nil
    ) -> WorkspaceUsage {
        var awake: [ProjectID: ResourceLimits] = [:]
        for (project, place) in placed where reports[place.node]?[project] != nil { awake[project] = place.limits }
        for (project, hold) in holds where hold.isAdmitted && hold.start.workspace == workspace {
            awake[project] = hold.start.limits
        }
        if let project { awake[project] = nil }
        return awake.values.reduce(into: WorkspaceUsage()) { usage, limits in
            usage.containers += 1
            usage.cpus += limits.cpus
            usage.memoryBytes += limits.memoryBytes
        }
    }

    /// What containers on a node may use that are awake, or were let start.
    ///
    /// - Parameter project: this one is left out.
    public func load(of node: NodeID, without project: ProjectID? = nil) -> NodeLoad {
        var awake = reports[node] ?? [:]
        for (project, hold) in holds where hold.start.node == node { awake[project] = hold.start.limits }
        if let project { awake[project] = nil }
        return awake.values.reduce(into: NodeLoad()) { load, limits in
            load.awake += 1
            load.memoryBytes += limits.memoryBytes
            load.cpus += limits.cpus
            load.pids += limits.pids
        }
    }
}

/// Where a project is, and what its container may use.
public struct PlacedLimits: Sendable, Equatable {
    public var node: NodeID
    public var limits: ResourceLimits

    public init(node: NodeID, limits: ResourceLimits) {
        self.node = node
        self.limits = limits
    }
}

extension ContainerState {
    /// Its processes run, or will in a moment.
    public var isAwake: Bool {
        switch self {
        case .creating, .running: true
        case .absent, .suspended, .stopped, .archived, .deleting, .failed: false
        }
    }
}

extension ResourceLimits {
    /// Within what any container may have: sums of what nodes tell do not overflow.
    fileprivate var bounded: ResourceLimits {
        ResourceLimits(
            cpus: cpus.isFinite ? min(max(0, cpus), Limits.containerCPUsHighest) : Limits.containerCPUsHighest,
            memoryBytes: min(max(0, memoryBytes), Limits.containerMemoryBytesHighest),
            pids: min(max(0, pids), Limits.containerPIDsHighest))
    }
}
