public import FoundationEssentials

/// What a kill switch reaches. Sessions become a case of their own once there are sessions; until then nobody can name one.
public enum KillScope: Sendable, Hashable {
    case exec(ExecID, of: ProjectID)
    case project(ProjectID)
    case workspace(WorkspaceID)
    case node(NodeID)
    case all

    public enum Kind: String, Codable, Sendable, CaseIterable { case exec, project, workspace, node, all }

    public var kind: Kind {
        switch self {
        case .exec: .exec
        case .project: .project
        case .workspace: .workspace
        case .node: .node
        case .all: .all
        }
    }

    /// The id of what it reaches; `nil` for everything.
    public var target: String? {
        switch self {
        case .exec(let exec, _): exec.description
        case .project(let project): project.description
        case .workspace(let workspace): workspace.description
        case .node(let node): node.description
        case .all: nil
        }
    }

    /// `nil` when the parts do not fit together.
    public init?(_ kind: Kind, target: String?, project: ProjectID? = nil) {
        switch kind {
        case .exec:
            guard let exec = target.flatMap(ExecID.init), let project else { return nil }
            self = .exec(exec, of: project)
        case .project:
            guard let project = target.flatMap(ProjectID.init) else { return nil }
            self = .project(project)
        case .workspace:
            guard let workspace = target.flatMap(WorkspaceID.init) else { return nil }
            self = .workspace(workspace)
        case .node:
            guard let node = target.flatMap(NodeID.init) else { return nil }
            self = .node(node)
        case .all: self = .all
        }
    }

    /// Whether it reaches a project that is on the node, or may come to it. A single command is no project.
    public func covers(_ project: ProjectID, of workspace: WorkspaceID, on node: NodeID?) -> Bool {
        switch self {
        case .exec: false
        case .project(let own): own == project
        case .workspace(let own): own == workspace
        case .node(let own): own == node
        case .all: true
        }
    }
}

extension KillScope: Codable {
    private enum CodingKeys: String, CodingKey { case kind, target, project }

    public init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        let kind = try fields.decode(Kind.self, forKey: .kind)
        let target = try fields.decodeIfPresent(String.self, forKey: .target)
        let project = try fields.decodeIfPresent(ProjectID.self, forKey: .project)
        guard let scope = KillScope(kind, target: target, project: project) else {
            throw DecodingError.dataCorruptedError(
                forKey: .target, in: fields, debugDescription: "‘\(target ?? "nothing")’ is no \(kind.rawValue)")
        }
        self = scope
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = encoder.container(keyedBy: CodingKeys.self)
        try fields.encode(kind, forKey: .kind)
        try fields.encodeIfPresent(target, forKey: .target)
        if case .exec(_, let project) = self { try fields.encode(project, forKey: .project) }
    }
}

/// A switch that is on.
public struct KillSwitch: Codable, Sendable, Equatable {
    public enum Mode: String, Codable, Sendable, CaseIterable {
        /// Every process of the containers ends.
        case kill
        /// Containers live, and no packet goes in or out, until it is lifted.
        case network
        /// What runs goes on, nothing new begins, until it is lifted.
        case noNewWork = "no_new_work"
    }

    /// Who may lift it.
    public enum Owner: String, Codable, Sendable, CaseIterable { case workspace, operators, host }

    public var id: KillSwitchID
    public var scope: KillScope
    public var mode: Mode
    /// A kill that holds lets nothing start until it is lifted; another one is over once it was carried out.
    public var holds: Bool
    public var reason: String
    /// The name of who switched it on.
    public var by: String
    public var owner: Owner
    public var since: Date

    public init(
        id: KillSwitchID = KillSwitchID(), scope: KillScope, mode: Mode, holds: Bool, reason: String, by: String,
        owner: Owner, since: Date
    ) {
        self.id = id
        self.scope = scope
        self.mode = mode
        self.holds = holds
        self.reason = reason
        self.by = by
        self.owner = owner
        self.since = since
    }

    /// Whether nothing may start in its scope as long as it is on.
    public var refusesStarts: Bool { mode == .noNewWork || (mode == .kill && holds) }

    /// Whether it is over once all nodes have carried it out.
    public var isOnce: Bool { mode == .kill && !holds }

    /// What somebody hears who wanted to start something.
    public var refusal: FastableError {
        let what =
            switch scope {
            case .exec: "this command"
            case .project: "this project"
            case .workspace: "this workspace"
            case .node: "this node"
            case .all: owner == .host ? "this host" : "the whole fleet"
            }
        guard refusesStarts else {
            return FastableError(
                .unavailable, "What runs in \(what) is being ended (\(id)): “\(reason)”. Try again when that is done.",
                details: details, retryAfterSeconds: 1)
        }
        return FastableError(
            .unavailable,
            "\(isPathB ? "Path B is disabled" : "A kill switch holds \(what)") (\(id), by \(by), since "
                + "\(since.formatted(.iso8601))): “\(reason)”. Nothing new starts until it is lifted: \(lifting)",
            details: details)
    }

    /// The switch of the whole path from agents to containers.
    public var isPathB: Bool { mode == .noNewWork && scope == .all && owner == .operators }

    private var lifting: String {
        switch owner {
        case .host: "on the node’s host, fastable-node kill-switch off."
        case .operators: isPathB ? "an operator, fastable admin enable." : "an operator, fastable kill lift \(id)."
        case .workspace: "fastable kill lift \(id)."
        }
    }

    private var details: [String: JSONValue] {
        [
            "killSwitch": .string(id.description), "scope": .string(scope.kind.rawValue), "reason": .string(reason),
            "owner": .string(owner.rawValue),
        ]
    }
}

/// All switches of a controller that matter to a node. One of an older version never replaces one of a newer.
public struct KillSwitchSet: Codable, Sendable, Equatable {
    public var version: UInt64
    public var switches: [KillSwitch]

    public init(version: UInt64 = 0, switches: [KillSwitch] = []) {
        self.version = version
        self.switches = switches
    }
}

/// How far a node is with the switches.
public struct NodeSwitchState: Codable, Sendable, Equatable {
    /// Of the controller's set that is in force.
    public var version: UInt64
    /// Kills that are not carried out to the end.
    public var pending: [KillSwitchID]
    /// The switch that somebody set on the host itself.
    public var local: KillSwitch?
    /// The switches stand on the node's disk and survive its restart.
    public var isStored: Bool

    public init(version: UInt64, pending: [KillSwitchID], local: KillSwitch?, isStored: Bool = true) {
        self.version = version
        self.pending = pending
        self.local = local
        self.isStored = isStored
    }
}

/// `kill.apply`: puts a set in force.
public struct KillOrder: Codable, Sendable {
    public var set: KillSwitchSet
    /// The switch whose receipts are wanted.
    public var asked: KillSwitchID?

    public init(set: KillSwitchSet, asked: KillSwitchID? = nil) {
        self.set = set
        self.asked = asked
    }
}

public struct KillAnswer: Codable, Sendable, Equatable {
    public var state: NodeSwitchState
    /// What became of the containers and commands that the switch found running.
    public var receipts: [KillReceipt]
    /// What did not work, for the operator.
    public var problem: String?

    public init(state: NodeSwitchState, receipts: [KillReceipt], problem: String? = nil) {
        self.state = state
        self.receipts = receipts
        self.problem = problem
    }
}

/// What a switch has done to one container or command.
public struct KillReceipt: Codable, Sendable, Equatable {
    public enum Effect: String, Codable, Sendable, CaseIterable {
        /// No process of it is left: its control group is empty or gone.
        case ended
        case networkCut = "network_cut"
        /// Processes were left when the answer was due; the node goes on trying.
        case unconfirmed
    }

    public var project: ProjectID
    public var container: ContainerID?
    /// The one command that was meant.
    public var exec: ExecID?
    /// Commands that ran in it.
    public var execs: Int
    public var effect: Effect

    public init(project: ProjectID, container: ContainerID?, exec: ExecID? = nil, execs: Int, effect: Effect) {
        self.project = project
        self.container = container
        self.exec = exec
        self.execs = execs
        self.effect = effect
    }
}

/// `idle.sweep`: gives back what containers hold that nobody has used for so long.
public struct IdleSweep: Codable, Sendable {
    public var idleSeconds: Int
    public init(idleSeconds: Int) { self.idleSeconds = idleSeconds }
}

public struct IdleSweepResult: Codable, Sendable, Equatable {
    public var suspended: Int
    public var stopped: Int
    /// Containers that run on, since something uses them or did lately.
    public var kept: Int

    public init(suspended: Int = 0, stopped: Int = 0, kept: Int = 0) {
        self.suspended = suspended
        self.stopped = stopped
        self.kept = kept
    }
}
