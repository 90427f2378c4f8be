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

    /// What was told before a step, and what became of it.
    public static func announced(_ step: ProjectDescent.Step, of project: Project, due: Date, at now: Date)
        -> PlatformEvent
    {
        about(
            project, step == .archive ? .projectArchivingSoon : .projectDeletingSoon, at: now,
            ["at": .string(due.formatted(.iso8601))])
    }

    public static func archived(_ project: Project, in snapshot: SnapshotID, at now: Date) -> PlatformEvent {
        about(project, .projectArchived, at: now, ["snapshot": .string(snapshot.description)])
    }

    public static func restored(_ project: Project, from snapshot: SnapshotID, at now: Date) -> PlatformEvent {
        about(project, .projectRestored, at: now, ["snapshot": .string(snapshot.description)])
    }

    public static func archiveFailed(
        _ project: Project, _ failure: FastableError, retryAt: Date, at now: Date
    ) -> PlatformEvent {
        about(
            project, .projectArchiveFailed, at: now,
            ["error": .string(failure.message), "retryAt": .string(retryAt.formatted(.iso8601))])
    }

    public static func moved(_ project: Project, from source: NodeID?, in snapshot: SnapshotID, at now: Date)
        -> PlatformEvent
    {
        var data: [String: JSONValue] = ["snapshot": .string(snapshot.description)]
        data["from"] = source.map { .string($0.description) }
        data["to"] = project.node.map { .string($0.description) }
        return about(project, .projectMoved, at: now, data)
    }

    /// It begins anew from a snapshot: its node is lost, or could not give its content.
    public static func left(
        _ project: Project, _ kind: Kind, from node: NodeID, in snapshot: SnapshotID, at now: Date
    ) -> PlatformEvent {
        about(
            project, kind, at: now,
            ["from": .string(node.description), "snapshot": .string(snapshot.description)])
    }

    public static func moveFailed(_ project: Project, _ failure: FastableError, at now: Date) -> PlatformEvent {
        about(project, .projectMoveFailed, at: now, ["error": .string(failure.message)])
    }

    public static func changed(_ change: NodeStateMachine.Change, of node: NodeRecord, at now: Date) -> PlatformEvent {
        about(
            node, .nodeStateChanged, at: now,
            ["from": .string(change.from.rawValue), "to": .string(change.to.rawValue)])
    }

    /// How far a drain is: told with each project that was moved, or could not be.
    public static func drainProgress(
        of node: NodeRecord, left: Int, project: Project, error: FastableError?, at now: Date
    ) -> PlatformEvent {
        var data: [String: JSONValue] = [
            "left": .integer(Int64(left)), "project": .string(project.id.description),
        ]
        data["error"] = error.map { .string($0.message) }
        return about(node, .nodeDrainProgress, at: now, data)
    }

    public static func drained(_ node: NodeRecord, at now: Date) -> PlatformEvent {
        about(node, .nodeDrained, at: now, [:])
    }

    public static func diskPressure(
        of node: NodeRecord, from before: DiskPressure, _ facts: NodeFacts, at now: Date
    ) -> PlatformEvent {
        var data: [String: JSONValue] = [
            "from": .string(before.rawValue), "to": .string((facts.diskPressure ?? DiskPressure.none).rawValue),
            "freeBytes": .integer(Int64(clamping: facts.diskFreeBytes)),
            "totalBytes": .integer(Int64(clamping: facts.diskBytes)),
        ]
        data["freeFiles"] = facts.diskFreeFiles.map { .integer(Int64(clamping: $0)) }
        if let reclaimed = facts.diskReclaimed {
            data["droppedImages"] = .array(
                reclaimed.images.suffix(Limits.droppedImagesTold).map { .string(Words.shown($0)) })
            data["droppedCaches"] = .integer(Int64(clamping: reclaimed.caches))
        }
        return about(node, .nodeDiskPressure, at: now, data)
    }

    private static func about(
        _ node: NodeRecord, _ kind: Kind, at now: Date, _ data: [String: JSONValue]
    ) -> PlatformEvent {
        PlatformEvent(
            workspace: .system, kind: kind, at: now, node: node.id,
            data: data.merging(["name": .string(node.name)]) { $1 })
    }

    private static func about(
        _ project: Project, _ kind: Kind, at now: Date, _ data: [String: JSONValue]
    ) -> PlatformEvent {
        PlatformEvent(
            workspace: project.workspace, kind: kind, at: now, project: project.id, node: project.node,
            data: data.merging(["name": .string(project.name)]) { $1 })
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

    /// A container came to a limit, as its node told it.
    public static func limitReached(
        _ change: ContainerTransition, _ tally: LimitTally, in workspace: WorkspaceID, on node: NodeID
    ) -> PlatformEvent {
        let hit = tally.hit
        var data: [String: JSONValue] = [
            "limit": .string(hit.limit.rawValue), "reason": .string(change.reason),
            "count": .integer(Int64(clamping: tally.count)),
        ]
        data["limitBytes"] = hit.limitBytes.map { .integer(Int64($0)) }
        data["limitCount"] = hit.limitCount.map { .integer(Int64($0)) }
        data["process"] = hit.process.map(JSONValue.string)
        data["container"] = change.container.map { .string($0.description) }
        return PlatformEvent(
            workspace: workspace, kind: .containerLimitReached, at: Date(milliseconds: change.at.milliseconds),
            project: change.project, node: node, data: data)
    }

    /// A container's next step down, as its node announced it.
    public static func comes(
        _ change: ContainerTransition, due: Date, in workspace: WorkspaceID, on node: NodeID
    ) -> PlatformEvent {
        var data: [String: JSONValue] = [
            "at": .string(due.formatted(.iso8601)), "reason": .string(change.reason),
        ]
        data["container"] = change.container.map { .string($0.description) }
        return PlatformEvent(
            workspace: workspace, kind: change.to == .suspended ? .containerSuspendingSoon : .containerStoppingSoon,
            at: Date(milliseconds: change.at.milliseconds), project: change.project, node: node, data: data)
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
