import FastableCore
import Synchronization

/// Projects whose node is known to have them, since it answered a call for them on its present link: a node that lost its disk and
/// joined again has none of them.
final class KnownProjects: Sendable {
    private let nodes = Mutex<[ProjectID: NodeID]>([:])

    func contains(_ project: ProjectID, on node: NodeID) -> Bool { nodes.withLock { $0[project] == node } }

    func insert(_ project: ProjectID, on node: NodeID) {
        nodes.withLock { nodes in
            if nodes.count >= Limits.cachedRecords { nodes = [:] }
            nodes[project] = node
        }
    }

    func removeAll(on node: NodeID) { nodes.withLock { nodes in nodes = nodes.filter { $0.value != node } } }

    func remove(_ project: ProjectID) { nodes.withLock { $0[project] = nil } }
}
