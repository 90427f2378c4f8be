public import ControllerDomain
public import FastableCore
public import FoundationEssentials

public protocol NodeDrainStore: Sendable {
    /// The node gets no new projects, and is to give up those that it has; a later wish takes the place of an earlier one. Throws `gone`
    /// for a removed node.
    func setDrain(_ drain: NodeDrain, of node: NodeID) async throws -> NodeRecord
    /// No project is left on the node; it stays cordoned. `false` when that is not so, or it is not drained any more.
    func endDrain(of node: NodeID, at now: Date) async throws -> Bool
    func drainingNodes() async throws -> [NodeRecord]
    /// Stores a node's state, with the event that tells it.
    func recordState(_ change: NodeStateMachine.Change, of node: NodeID, at now: Date) async throws
    /// Active projects of a node, by id, after the last one of a page.
    func projects(on node: NodeID, after last: ProjectID?, limit: Int) async throws -> [Project]
}

/// Projects on their way from one node to another. Each step is taken once: a project of which something else became throws `conflict`,
/// and one that is being deleted `gone`.
public protocol ProjectMoveStore: Sendable {
    /// Its content is in a snapshot, which must be verified: from here on the target may have a part of it. Throws `conflict` as well
    /// while the target may still have some of an earlier move.
    func beginMove(
        of project: Project, to target: NodeID, savedIn snapshot: SnapshotID, restingSince: Date, at now: Date
    ) async throws -> Project
    /// The target has everything: from here on the project's node may give the content up.
    func switchMove(of project: Project, at now: Date) async throws -> Project
    /// The project's node has given the content up: the project is the target's.
    func finishMove(of project: Project, at now: Date) async throws -> Project
    /// The project stays where it is; what the target has of it remains to be removed.
    func cancelMove(of project: Project) async throws -> Project
    /// Active projects that are being moved.
    func movingProjects(limit: Int) async throws -> [Project]
    /// What is to be removed from nodes, without that of moves that are under way; of one project or of all, after the last one of a page.
    func remains(of project: ProjectID?, after last: ProjectRemains?, limit: Int) async throws -> [ProjectRemains]
    /// The node has nothing of it any more.
    func forget(_ remains: ProjectRemains) async throws
}

/// Projects whose node is lost.
public protocol NodeLossStore: Sendable {
    /// The node is about to come back: from here on no project leaves it as a lost one. `leaseSeconds` is what it is given; `nil` when it
    /// keeps none.
    func nodeReturns(_ node: NodeID, leaseSeconds: Int?) async throws
    /// What the node has to set aside before anything else: others may have it by now.
    func departures(from node: NodeID) async throws -> [ProjectDeparture]
    /// Takes a project from its node without what that has of it: its content is that of a verified snapshot, and it is archived until
    /// somebody restores it. Unless `isForced` the node must be on record as lost and have kept a lease, and have the project's present
    /// settings. Throws `conflict` when any of that is not so, or something else became of the project.
    func leaveUnsaved(_ project: Project, to snapshot: SnapshotID, isForced: Bool, at now: Date) async throws -> Project
    /// The node keeps what it had at this place.
    func wasSetAside(_ remains: ProjectRemains, path: String?, at now: Date) async throws
    /// What nodes keep, or will, of projects that left them while they were lost; of one project or of a workspace.
    func setAside(of project: ProjectID?, in workspace: WorkspaceID, limit: Int) async throws -> [SetAsideRecord]
}
