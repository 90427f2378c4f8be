/// What can happen on the platform, for those who follow it. Append only: people filter by these names.
public enum EventKind: String, Codable, Sendable, CaseIterable {
    case projectCreated = "project.created"
    case projectDeleted = "project.deleted"
    /// It will be archived unless somebody uses it before.
    case projectArchivingSoon = "project.archiving_soon"
    case projectArchived = "project.archived"
    /// It was to be archived, and could not be; nothing was removed.
    case projectArchiveFailed = "project.archive_failed"
    case projectRestored = "project.restored"
    /// It is archived, and will be deleted unless somebody uses it before.
    case projectDeletingSoon = "project.deleting_soon"
    /// It is on another node, with its content.
    case projectMoved = "project.moved"
    /// It was to be moved to another node, and could not be; it is where it was.
    case projectMoveFailed = "project.move_failed"
    /// Its node is lost: it goes on elsewhere from its last snapshot.
    case projectLeftLostNode = "project.left_lost_node"
    /// Its node was drained and could not give its content, and the drain was forced: it goes on elsewhere from its last snapshot.
    case projectMovedUnsaved = "project.moved_unsaved"
    case containerChanged = "container.changed"
    /// It will be suspended unless something works in it before.
    case containerSuspendingSoon = "container.suspending_soon"
    /// It is suspended, and its processes will be ended unless somebody needs them before.
    case containerStoppingSoon = "container.stopping_soon"
    /// A container came to a limit: told once in a while for each.
    case containerLimitReached = "container.limit_reached"
    case nodeConnected = "node.connected"
    case nodeDisconnected = "node.disconnected"
    /// A node's state is another one: `ready`, `cordoned`, `draining`, `offline`, `lost`.
    case nodeStateChanged = "node.state_changed"
    case nodeDrainProgress = "node.drain_progress"
    /// No project is left on a node that was drained.
    case nodeDrained = "node.drained"
    /// A node's disk is shorter of space than before, or less short: `none`, `low`, `reclaiming`, `refusing`.
    case nodeDiskPressure = "node.disk_pressure"
    /// A node could not keep all changes of its containers for a controller that was away for too long.
    case nodeChangesLost = "node.changes_lost"
}
