public import FastableCore
public import FoundationEssentials

/// Something that happened, for those who want to follow: `GET /api/events` and webhooks.
public struct PlatformEvent: Sendable, Equatable {
    public typealias Kind = EventKind

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

    public static func created(_ project: Project) -> PlatformEvent {
        PlatformEvent(
            workspace: project.workspace, kind: .projectCreated, at: project.createdAt, project: project.id,
            data: ["name": .string(project.name), "image": .string(project.image)])
    }

    public static func deleted(_ project: Project, at now: Date) -> PlatformEvent {
        PlatformEvent(
            workspace: project.workspace, kind: .projectDeleted, at: now, project: project.id, node: project.node,
            data: ["name": .string(project.name)])
    }

    /// A container's change, as its node told it.
    ///
    /// - Parameter from: the state that was told last.
    public static func changed(
        _ change: ContainerTransition, from: ContainerState, in workspace: WorkspaceID, on node: NodeID
    ) -> PlatformEvent {
        var data: [String: JSONValue] = [
            "from": .string(from.rawValue), "to": .string(change.to.rawValue), "reason": .string(change.reason),
        ]
        data["container"] = change.container.map { .string($0.description) }
        return PlatformEvent(
            workspace: workspace, kind: .containerChanged, at: Date(milliseconds: change.at.milliseconds),
            project: change.project, node: node, data: data)
    }

    /// The state that a change of a container led to.
    public var containerState: ContainerState? {
        kind == .containerChanged ? data["to"]?.string.flatMap(ContainerState.init) : nil
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

/// The events that are kept, by their places; both are 0 when there never was one.
public struct EventRange: Sendable, Equatable {
    public var oldest: Int64
    public var newest: Int64

    public init(oldest: Int64, newest: Int64) {
        self.oldest = oldest
        self.newest = newest
    }

    /// For a reader that has seen everything up to a place: where to go on when some of what follows is no longer kept, or when the
    /// place was never given out (another database, a mistake).
    public func gap(behind place: Int64) -> Int64? {
        if place > newest { return newest + 1 }
        return place < oldest - 1 ? oldest : nil
    }
}
