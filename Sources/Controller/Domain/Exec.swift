public import FastableCore
public import FoundationEssentials

/// Where an exec ran, so that its result and output can be asked for later. The output itself is on the node, and so is the result until
/// the project leaves it.
public struct ExecHandle: Sendable, Equatable {
    public var id: ExecID
    public var workspace: WorkspaceID
    public var project: ProjectID
    public var node: NodeID
    public var startedAt: Date
    /// The beginning of its command line, for lists.
    public var command: String
    /// Present when its node has nothing of it any more.
    public var result: ExecResult?

    public init(
        id: ExecID, workspace: WorkspaceID, project: ProjectID, node: NodeID, startedAt: Date, command: String = "",
        result: ExecResult? = nil
    ) {
        self.result = result
        self.command = command
        self.id = id
        self.workspace = workspace
        self.project = project
        self.node = node
        self.startedAt = startedAt
    }
}
