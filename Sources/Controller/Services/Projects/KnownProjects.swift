import FastableCore
import Synchronization

/// Projects whose node is known to have them, since it answered a call for them. An answer of a node that lost its disk is
/// not foreseen: such a node joins again, with another id.
final class KnownProjects: Sendable {
    private let nodes = Mutex<[ProjectID: NodeID]>([:])

    func contains(_ project: ProjectID, on node: NodeID) -> Bool { nodes.withLock { $0[project] == node } }

    func insert(_ project: ProjectID, on node: NodeID) {
        nodes.withLock { nodes in
            if nodes.count >= Limits.cachedRecords { nodes = [:] }
            nodes[project] = node
        }
    }

    func remove(_ project: ProjectID) { nodes.withLock { $0[project] = nil } }
}
