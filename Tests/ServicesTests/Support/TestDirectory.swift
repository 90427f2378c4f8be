import ControllerFleet
import FastableCore
import FastableWire
import FoundationEssentials
import NIOCore
import Synchronization

/// `NodeClient` over a real link, as the fleet has it.
struct TestNodeClient: NodeClient {
    let node: NodeID
    let connection: MuxConnection

    func open<Arguments: Codable & Sendable>(
        _ method: NodeMethod, _ arguments: Arguments, request: RequestID
    ) async throws -> MuxStream {
        let opening = try NodeRequest(method: method, requestID: request, arguments: arguments).opening()
        return try await connection.open(ByteBuffer(bytes: opening))
    }

    func call<Arguments: Codable & Sendable, Value: Codable & Sendable>(
        _ method: NodeMethod, _ arguments: Arguments, returning: Value.Type, request: RequestID, timeout: Duration
    ) async throws -> Value {
        let stream = try await open(method, arguments, request: request)
        return try await withThrowingTaskGroup(of: Value.self) { group in
            group.addTask {
                while let event = try await stream.next() {
                    guard case .message(let payload) = event else { continue }
                    return try JSON.decode(NodeReply<Value>.self, from: Data(payload.readableBytesView)).get()
                }
                throw FastableError(.internal, "The node gave no answer.")
            }
            group.addTask {
                try await Task.sleep(for: timeout)
                throw FastableError(.timeout, "The node did not answer in time.")
            }
            defer { group.cancelAll() }
            guard let value = try await group.next() else { throw CancellationError() }
            return value
        }
    }
}

/// Which simulated nodes are connected.
final class TestDirectory: NodeDirectory {
    private struct Entry {
        var client: TestNodeClient
        var facts: NodeFacts
        var containers: [ContainerStatus] = []
    }

    private struct State {
        var entries: [NodeID: Entry] = [:]
        var disconnected: [NodeID] = []
    }

    private let state = Mutex(State())

    func connect(_ client: TestNodeClient, facts: NodeFacts) {
        state.withLock { $0.entries[client.node] = Entry(client: client, facts: facts) }
    }

    func report(_ containers: [ContainerStatus], of node: NodeID) {
        state.withLock { $0.entries[node]?.containers = containers }
    }

    func set(_ facts: NodeFacts, of node: NodeID) { state.withLock { $0.entries[node]?.facts = facts } }

    func drop(_ node: NodeID) { _ = state.withLock { $0.entries.removeValue(forKey: node) } }

    var disconnected: [NodeID] { state.withLock { $0.disconnected } }

    func client(for node: NodeID) throws -> any NodeClient {
        guard let entry = state.withLock({ $0.entries[node] }) else {
            throw FastableError(.unavailable, "The node ‘\(node)’ is offline.", retryAfterSeconds: 5)
        }
        return entry.client
    }

    func connectedNodes() -> [ConnectedNode] {
        state.withLock { state in
            state.entries.map { id, entry in
                ConnectedNode(
                    id: id, facts: entry.facts, containers: entry.containers, connectedAt: Date(), linkVersion: 1)
            }
        }
    }

    func disconnect(_ node: NodeID, reason: String) {
        let entry = state.withLock { state in
            state.disconnected.append(node)
            return state.entries.removeValue(forKey: node)
        }
        entry?.client.connection.close(reason: reason)
    }
}
