public import FastableCore
public import FoundationEssentials

/// Something that happened, for those who want to follow: `GET /api/events` and webhooks.
public struct PlatformEvent: Sendable, Equatable {
    /// What can happen. Append only: people filter by these names.
    public enum Kind: String, Codable, Sendable, CaseIterable {
        case projectCreated = "project.created"
        case projectDeleted = "project.deleted"
        case containerChanged = "container.changed"
        case nodeConnected = "node.connected"
        case nodeDisconnected = "node.disconnected"
    }

    /// Whose event it is; `WorkspaceID.system` for the fleet's.
    public var workspace: WorkspaceID
    public var kind: Kind
    public var at: Date
    public var project: ProjectID?
    public var node: NodeID?
    public var data: [String: JSONValue]

    public init(
        workspace: WorkspaceID, kind: Kind, at: Date, project: ProjectID? = nil, node: NodeID? = nil,
        data: [String: JSONValue] = [:]
    ) {
        self.workspace = workspace
        self.kind = kind
        self.at = at
        self.project = project
        self.node = node
        self.data = data
    }

    /// A container's change, as its node told it.
    public static func changed(_ change: ContainerTransition, in workspace: WorkspaceID, on node: NodeID)
        -> PlatformEvent
    {
        var data: [String: JSONValue] = [
            "from": .string(change.from.rawValue), "to": .string(change.to.rawValue), "reason": .string(change.reason),
        ]
        data["container"] = change.container.map { .string($0.description) }
        return PlatformEvent(
            workspace: workspace, kind: .containerChanged, at: Date(milliseconds: change.at.milliseconds),
            project: change.project, node: node, data: data)
    }
}

/// An event in its place.
public struct StoredEvent: Sendable, Equatable {
    /// Counts up over all workspaces; a reader goes on behind the last one that it has seen.
    public var sequence: Int64
    public var event: PlatformEvent

    public init(sequence: Int64, event: PlatformEvent) {
        self.sequence = sequence
        self.event = event
    }
}

/// Which events are wanted. An empty set of kinds means all.
public struct EventFilter: Sendable, Equatable {
    public var workspaces: Set<WorkspaceID>
    public var project: ProjectID?
    public var kinds: Set<PlatformEvent.Kind>

    public init(workspaces: Set<WorkspaceID>, project: ProjectID? = nil, kinds: Set<PlatformEvent.Kind> = []) {
        self.workspaces = workspaces
        self.project = project
        self.kinds = kinds
    }

    public func admits(_ event: PlatformEvent) -> Bool {
        workspaces.contains(event.workspace) && (project == nil || project == event.project)
            && (kinds.isEmpty || kinds.contains(event.kind))
    }
}
