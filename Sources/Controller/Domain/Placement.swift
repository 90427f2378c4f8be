public import FastableCore
public import FoundationEssentials

/// How full a node may become. Limits of containers are ceilings that few reach at once, hence the overcommit.
public struct PlacementPolicy: Sendable, Equatable {
    /// The memory limits of a node's awake containers may add up to this many times its memory.
    public var memoryOvercommit = Limits.memoryOvercommit
    /// The same for their CPU limits and its CPUs.
    public var cpuOvercommit = Limits.cpuOvercommit
    /// The same for their process limits and the processes that its kernel can number.
    public var pidOvercommit = Limits.pidOvercommit
    /// The disks of all its projects that have one of their own may add up to this many times its disk.
    public var diskOvercommit = Limits.diskOvercommit
    public var projectsPerNode = Limits.projectsPerNode
    /// The sum of process limits on a node that does not tell how many processes it can have.
    public var pidsPerNode = Limits.placementPIDsPerNode
    /// A node with less free disk gets no new project.
    public var diskFreeBytes = Limits.placementDiskFreeBytes
    /// A node whose last report is older gets no new project.
    public var reportAgeSeconds = Limits.placementReportAgeSeconds

    public init() {}
}

/// What a project needs of a node.
public struct PlacementDemand: Sendable, Equatable {
    public var image: String
    public var limits: ResourceLimits
    /// A node that lacks the image can pull it.
    public var isPullable: Bool

    public init(image: String, limits: ResourceLimits, isPullable: Bool = false) {
        self.image = image
        self.limits = limits
        self.isPullable = isPullable
    }

    public init(_ project: Project) { self.init(image: project.image, limits: project.limits) }
}

/// What a node has promised: places and disks to all its projects, everything else to those whose containers are awake.
public struct NodeLoad: Sendable, Equatable {
    public var projects: Int
    /// How many of the projects belong to the workspace that asks.
    public var workspaceProjects: Int
    /// Of projects with a disk of their own.
    public var diskBytes: Int
    /// Containers that are awake, and the sums of their limits.
    public var awake: Int
    public var memoryBytes: Int
    public var cpus: Double
    public var pids: Int

    public init(
        projects: Int = 0, workspaceProjects: Int = 0, diskBytes: Int = 0, awake: Int = 0, memoryBytes: Int = 0,
        cpus: Double = 0, pids: Int = 0
    ) {
        self.projects = projects
        self.workspaceProjects = workspaceProjects
        self.diskBytes = diskBytes
        self.awake = awake
        self.memoryBytes = memoryBytes
        self.cpus = cpus
        self.pids = pids
    }

    /// The same with what is awake.
    public func adding(_ awake: NodeLoad) -> NodeLoad {
        NodeLoad(
            projects: projects, workspaceProjects: workspaceProjects, diskBytes: diskBytes, awake: awake.awake,
            memoryBytes: awake.memoryBytes, cpus: awake.cpus, pids: awake.pids)
    }
}

/// A node as placement sees it.
public struct PlacementCandidate: Sendable, Equatable {
    public var node: NodeRecord
    /// Whether there is a link to it now.
    public var connected: Bool
    public var load: NodeLoad

    public init(node: NodeRecord, connected: Bool, load: NodeLoad) {
        self.node = node
        self.connected = connected
        self.load = load
    }
}

/// Chooses the node for a project. A pure function: the same nodes, in whichever order, give the same decision.
public enum Placement {
    /// First the filters, which know only yes and no; then the scores; equal scores are decided by the smaller id.
    public static func place(
        _ demand: PlacementDemand, on candidates: [PlacementCandidate], policy: PlacementPolicy = PlacementPolicy(),
        now: Date
    ) -> PlacementDecision {
        let verdicts = candidates.map { candidate in
            let filters = filters(for: candidate, demand, policy, now)
            let outcome: PlacementVerdict.Outcome =
                filters.isEmpty ? .fits(score(candidate, demand, policy)) : .filtered(filters)
            return PlacementVerdict(node: candidate.node.id, name: candidate.node.name, outcome: outcome)
        }
        return PlacementDecision(verdicts: verdicts.sorted(by: precedes))
    }

    private static func precedes(_ left: PlacementVerdict, _ right: PlacementVerdict) -> Bool {
        switch (left.outcome, right.outcome) {
        case (.fits(let mine), .fits(let other)) where mine.total != other.total: mine.total > other.total
        case (.fits, .filtered): true
        case (.filtered, .fits): false
        case (.fits, .fits), (.filtered, .filtered): left.node < right.node
        }
    }

    private static func filters(
        for candidate: PlacementCandidate, _ demand: PlacementDemand, _ policy: PlacementPolicy, _ now: Date
    ) -> [PlacementFilter] {
        let node = candidate.node
        guard node.scheduling != .removed else { return [.removed] }
        var filters: [PlacementFilter] = node.scheduling == .cordoned ? [.cordoned] : []
        guard candidate.connected, let facts = node.facts, let seen = node.lastSeenAt else {
            return filters + [.offline]
        }
        let age = now.timeIntervalSince(seen)
        if age > Double(policy.reportAgeSeconds) { filters.append(.silent(seconds: age)) }
        if !demand.isPullable, !facts.images.contains(demand.image) {
            filters.append(.missingImage(demand.image))
        }
        let load = candidate.load
        if load.projects >= policy.projectsPerNode { filters.append(.projects(most: policy.projectsPerNode)) }
        filters += shortages(of: facts, load, for: demand.limits, policy)
        let disks = Double(facts.diskBytes) * policy.diskOvercommit - Double(load.diskBytes)
        if let disk = demand.limits.diskBytes, Double(disk) > disks {
            filters.append(.disksPromised(needed: Double(disk), free: disks))
        }
        if let pressure = facts.diskPressure, pressure >= .reclaiming { filters.append(.diskPressure(pressure)) }
        if facts.diskFreeBytes < policy.diskFreeBytes {
            filters.append(.disk(free: Double(facts.diskFreeBytes), least: Double(policy.diskFreeBytes)))
        }
        return filters
    }

    /// What a node has too little of for one more container that is awake.
    public static func shortages(
        of facts: NodeFacts, _ load: NodeLoad, for limits: ResourceLimits, _ policy: PlacementPolicy
    ) -> [PlacementFilter] {
        let room = Room(facts, policy)
        var filters: [PlacementFilter] = []
        let memory = Double(limits.memoryBytes)
        if Double(load.memoryBytes) + memory > room.memory {
            filters.append(.memory(needed: memory, free: room.memory - Double(load.memoryBytes)))
        }
        if load.cpus + limits.cpus > room.cpus {
            filters.append(.cpus(needed: limits.cpus, free: room.cpus - load.cpus))
        }
        if Double(load.pids + limits.pids) > room.pids {
            filters.append(.pids(needed: Double(limits.pids), free: room.pids - Double(load.pids)))
        }
        return filters
    }

    /// Only for candidates that passed the filters, so every share is between 0 and 1.
    private static func score(
        _ candidate: PlacementCandidate, _ demand: PlacementDemand, _ policy: PlacementPolicy
    ) -> PlacementScore {
        let room = Room(candidate.node.facts, policy)
        let load = candidate.load
        return PlacementScore(
            memory: 1 - (Double(load.memoryBytes) + Double(demand.limits.memoryBytes)) / room.memory,
            cpus: 1 - (load.cpus + demand.limits.cpus) / room.cpus,
            projects: 1 - Double(load.projects + 1) / Double(policy.projectsPerNode),
            image: candidate.node.facts?.images.contains(demand.image) == true ? 1 : 0,
            locality: load.workspaceProjects > 0 ? 1 : 0)
    }

    /// What a node can promise in all. Floating point, since the numbers come from the node and may be absurd.
    private struct Room {
        var memory: Double
        var cpus: Double
        var pids: Double

        init(_ facts: NodeFacts?, _ policy: PlacementPolicy) {
            pids = facts?.pids.map { Double($0) * policy.pidOvercommit } ?? Double(policy.pidsPerNode)
            memory = Double(facts?.memoryBytes ?? 0) * policy.memoryOvercommit
            cpus = Double(facts?.cpus ?? 0) * policy.cpuOvercommit
        }
    }
}
