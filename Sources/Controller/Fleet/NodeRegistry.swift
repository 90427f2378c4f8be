public import FastableCore
import FastableWire
import FoundationEssentials
import Synchronization

/// The connected nodes of this controller.
///
/// It forgets everything at a restart: nodes dial in again within seconds and say what they run.
public final class NodeRegistry: NodeDirectory {
    struct Entry {
        let client: LinkedNode
        let generation: UInt64
        let version: Int
        let connectedAt: Date
        var facts: NodeFacts
        var containers: [ContainerStatus]
        /// Those of a report whose last part is still to come.
        var arriving: [ContainerStatus] = []
        var switches: NodeSwitchState?
        var starts: StartLoad?
    }

    private struct State {
        var entries: [NodeID: Entry] = [:]
        var fences: [NodeID: LinkFence] = [:]
    }

    private let state = Mutex(State())

    public init() {}

    public func client(for node: NodeID) throws -> any NodeClient {
        if let entry = state.withLock({ $0.entries[node] }) { return entry.client }
        throw FastableError(
            .unavailable,
            "The node ‘\(node)’ is offline. It dials in by itself when it is back; ‘fastable node show’ tells since when.",
            retryAfterSeconds: 5)
    }

    public func connectedNodes() -> [ConnectedNode] {
        state.withLock { state in
            state.entries.map { id, entry in
                ConnectedNode(
                    id: id, facts: entry.facts, containers: entry.containers, connectedAt: entry.connectedAt,
                    linkVersion: entry.version, switches: entry.switches, starts: entry.starts)
            }
        }.sorted { $0.id < $1.id }
    }

    public func disconnect(_ node: NodeID, reason: String) {
        state.withLock { $0.entries[node]?.client }?.connection.close(reason: reason)
    }

    /// Takes a link in, or throws `conflict` when a newer one was already seen. A link that it replaces is cut.
    func register(_ client: LinkedNode, hello: NodeHello, version: Int) throws {
        let replaced: LinkedNode? = try state.withLock { state in
            switch state.fences[client.node, default: LinkFence()].connected(generation: hello.generation) {
            case .refuse(let newest):
                throw FastableError(
                    .conflict,
                    "This node already dialled with generation \(newest); generation \(hello.generation) is fenced off. "
                        + "Two daemons must not share one node identity.",
                    details: ["newestGeneration": .integer(Int64(clamping: newest))])
            case .accept, .replace: break
            }
            let previous = state.entries.updateValue(
                Entry(
                    client: client, generation: hello.generation, version: version, connectedAt: Date(),
                    facts: hello.facts, containers: []), forKey: client.node)
            return previous?.client
        }
        replaced?.connection.close(reason: "replaced by a newer link of the same node")
    }

    /// `false` when the link does not count any more.
    func update(_ node: NodeID, generation: UInt64, report: NodeReport) -> Bool {
        state.withLock { state in
            guard var entry = state.entries[node], entry.generation == generation else { return false }
            entry.facts = report.facts
            entry.switches = report.switches
            entry.starts = report.starts
            let containers = report.continues ? entry.arriving + report.containers : report.containers
            entry.arriving = Array(containers.prefix(Limits.projectsPerNode))
            if !report.isIncomplete { entry.containers = entry.arriving }
            state.entries[node] = entry
            return true
        }
    }

    /// `true` when the node has no link any more.
    func unregister(_ node: NodeID, generation: UInt64) -> Bool {
        state.withLock { state in
            guard state.fences[node, default: LinkFence()].disconnected(generation: generation) else { return false }
            state.entries[node] = nil
            return true
        }
    }
}
