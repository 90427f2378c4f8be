public import FastableCore
public import FoundationEssentials

/// A build host as the controller knows it. Belongs to `WorkspaceID.system` unless a workspace brought its own.
public struct NodeRecord: Sendable, Equatable {
    /// What an operator wants of the node.
    public enum Scheduling: String, Sendable, CaseIterable {
        case ready
        /// Keeps its projects and gets no new ones.
        case cordoned
        /// Its certificates are revoked; the record stays for the audit. Its name is free again.
        case removed
    }

    public var id: NodeID
    public var workspace: WorkspaceID
    /// Unique among the nodes that are not removed.
    public var name: String
    public var scheduling: Scheduling
    /// As of `lastSeenAt`; `nil` until the node connected once.
    public var facts: NodeFacts?
    public var lastSeenAt: Date?
    public var createdAt: Date
    /// The certificate that was issued last.
    public var certificateSerial: String?
    public var certificateExpiresAt: Date?
    /// It gives its projects to others; it is cordoned as long as it does.
    public var drain: NodeDrain?
    /// The state that was told last, and since when it is in it.
    public var told: NodeState?
    public var toldAt: Date?
    /// The longest lease that it was given; `nil` for a node that keeps none.
    public var leaseSeconds: Int?

    public init(
        id: NodeID, workspace: WorkspaceID = .system, name: String, scheduling: Scheduling = .ready,
        facts: NodeFacts? = nil, lastSeenAt: Date? = nil, createdAt: Date, certificateSerial: String? = nil,
        certificateExpiresAt: Date? = nil, drain: NodeDrain? = nil, told: NodeState? = nil, toldAt: Date? = nil,
        leaseSeconds: Int? = nil
    ) {
        self.leaseSeconds = leaseSeconds
        self.drain = drain
        self.told = told
        self.toldAt = toldAt
        self.id = id
        self.workspace = workspace
        self.name = name
        self.scheduling = scheduling
        self.facts = facts
        self.lastSeenAt = lastSeenAt
        self.createdAt = createdAt
        self.certificateSerial = certificateSerial
        self.certificateExpiresAt = certificateExpiresAt
    }

    public var wish: NodeStateMachine.Wish {
        switch scheduling {
        case .removed: .removed
        case .ready: .ready
        case .cordoned: drain == nil ? .cordoned : .draining
        }
    }

    /// What people are shown. A node without a link is offline or lost, whatever is wished of it.
    public func state(connected: Bool) -> NodeState {
        switch (wish, connected) {
        case (.removed, _): .removed
        case (_, false): told == .lost ? .lost : .offline
        case (.ready, true): .ready
        case (.cordoned, true): .cordoned
        case (.draining, true): .draining
        }
    }
}

/// How people name a node: by its id or by its name.
public enum NodeKey: Sendable, Equatable, CustomStringConvertible {
    case id(NodeID)
    case name(String)

    public init(_ text: String) { self = NodeID(text).map(NodeKey.id) ?? .name(text) }

    public var description: String {
        switch self {
        case .id(let id): id.description
        case .name(let name): name
        }
    }
}
