/// What can happen on the platform, for those who follow it. Append only: people filter by these names.
public enum EventKind: String, Codable, Sendable, CaseIterable {
    case projectCreated = "project.created"
    case projectDeleted = "project.deleted"
    case containerChanged = "container.changed"
    case nodeConnected = "node.connected"
    case nodeDisconnected = "node.disconnected"
    /// A node could not keep all changes of its containers for a controller that was away for too long.
    case nodeChangesLost = "node.changes_lost"
}
