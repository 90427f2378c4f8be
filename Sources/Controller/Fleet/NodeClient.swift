public import FastableCore
public import FastableWire
public import FoundationEssentials

/// Typed calls to one connected node. Every call fails with `unavailable` when the link is lost.
public protocol NodeClient: Sendable {
    var node: NodeID { get }

    /// One request, one answer. Throws the node's own error, `timeout` after `timeout`, or `unavailable`.
    func call<Arguments: Codable & Sendable, Value: Codable & Sendable>(
        _ method: NodeMethod, _ arguments: Arguments, returning: Value.Type, request: RequestID, timeout: Duration
    ) async throws -> Value

    /// A stream of messages and bytes; the caller consumes it to its end or resets it.
    func open<Arguments: Codable & Sendable>(
        _ method: NodeMethod, _ arguments: Arguments, request: RequestID
    ) async throws -> MuxStream
}

/// Which nodes are connected now.
public protocol NodeDirectory: Sendable {
    /// Throws `unavailable` at once when the node is offline.
    func client(for node: NodeID) throws -> any NodeClient
    func connectedNodes() -> [ConnectedNode]
    /// Cuts the node's link; it may dial again unless its certificate was revoked.
    func disconnect(_ node: NodeID, reason: String)
}

/// What the controller knows of a node whose link is up.
public struct ConnectedNode: Sendable {
    public var id: NodeID
    public var facts: NodeFacts
    public var containers: [ContainerStatus]
    public var connectedAt: Date
    public var linkVersion: Int
    /// As of its last report.
    public var switches: NodeSwitchState?
    public var starts: StartLoad?

    public init(
        id: NodeID, facts: NodeFacts, containers: [ContainerStatus], connectedAt: Date, linkVersion: Int,
        switches: NodeSwitchState? = nil, starts: StartLoad? = nil
    ) {
        self.starts = starts
        self.switches = switches
        self.id = id
        self.facts = facts
        self.containers = containers
        self.connectedAt = connectedAt
        self.linkVersion = linkVersion
    }
}
