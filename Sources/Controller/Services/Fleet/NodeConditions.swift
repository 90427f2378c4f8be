import ControllerDomain
import ControllerFleet
import ControllerStore
import FastableCore
import FoundationEssentials
import Logging
import Synchronization

/// Keeps the state of each node as time passes, stores it and tells it. What it knows is in memory, so that a look at all nodes costs
/// no question to the database.
package final class NodeConditions: Sendable {
    private struct State {
        var machines: [NodeID: NodeStateMachine] = [:]
        /// The longest that each was given.
        var leases: [NodeID: Int] = [:]
        var isLoaded = false
    }

    private let store: any Store
    private let nodes: any NodeDirectory
    private let capacity: CapacityService
    private let metrics: Metrics
    private let times: NodeStateMachine.Times
    private let logger: Logger
    private let state = Mutex(State())
    /// Whoever says that a node is lost, and whoever lets it in, do so one after the other.
    private let turn = WaitingLine(places: 1)

    init(
        store: any Store, nodes: any NodeDirectory, capacity: CapacityService, metrics: Metrics,
        times: NodeStateMachine.Times, logger: Logger
    ) {
        self.capacity = capacity
        self.store = store
        self.nodes = nodes
        self.metrics = metrics
        self.times = times
        self.logger = logger
    }

    /// Returns when its task is cancelled.
    func run() async {
        while !Task.isCancelled {
            await look()
            try? await Task.sleep(for: .seconds(Limits.nodeLookSeconds))
        }
    }

    /// Looks which nodes are linked. Any look may be missed.
    package func look(now: ContinuousClock.Instant = .now) async {
        do {
            try await turn.pass {
                try await load(now)
                let linked = Set(nodes.connectedNodes().map(\.id))
                let known = state.withLock { Array($0.machines.keys) }
                for node in known { await handle(.looked(isLinked: linked.contains(node)), of: node, now) }
            }
            count()
        } catch {
            logger.warning("The states of nodes cannot be looked at.", metadata: ["error": "\(error)"])
        }
    }

    /// Something is wished of a node, or its link has changed.
    func changed(_ node: NodeID, now: ContinuousClock.Instant = .now) async {
        do {
            try await turn.pass {
                try await load(now)
                let record = try await store.node(.id(node))
                guard record.scheduling != .removed else {
                    capacity.forget(node)
                    return state.withLock { $0.machines[node] = nil }
                }
                know(record, now)
                await handle(.wished(record.wish), of: node, now)
                let isLinked = nodes.connectedNodes().contains { $0.id == node }
                await handle(.looked(isLinked: isLinked), of: node, now)
            }
        } catch {
            logger.warning("A node's state cannot be told.", metadata: ["node": "\(node)", "error": "\(error)"])
        }
    }

    // MARK: lost, and back

    /// Half of the time after which a node is lost: what it ends by itself has as long again to end.
    var lease: NodeLease { NodeLease(seconds: Int(times.lostAfter / .seconds(2))) }

    /// Lets a node in whose link is registered: from here on nothing leaves it as a lost one. Gives what has.
    func returns(_ node: NodeID, keepsLease: Bool) async throws -> [ProjectDeparture] {
        try await turn.pass {
            let now = ContinuousClock.now
            try await load(now)
            let lease = keepsLease ? lease.seconds : nil
            try await store.nodeReturns(node, leaseSeconds: lease)
            know(try await store.node(.id(node)), now)
            await handle(.looked(isLinked: true), of: node, now)
            return try await store.departures(from: node)
        }
    }

    func isLost(_ node: NodeID) -> Bool { state.withLock { $0.machines[node]?.link == .lost } }

    private func know(_ record: NodeRecord, _ now: ContinuousClock.Instant) {
        state.withLock { state in
            state.leases[record.id] = record.leaseSeconds
            if state.machines[record.id] == nil { state.machines[record.id] = NodeStateMachine(record, now: now) }
        }
    }

    private func load(_ now: ContinuousClock.Instant) async throws {
        guard !state.withLock({ $0.isLoaded }) else { return }
        let records = try await store.nodes()
        state.withLock { state in
            guard !state.isLoaded else { return }
            for record in records where state.machines[record.id] == nil {
                state.machines[record.id] = NodeStateMachine(record, now: now)
                state.leases[record.id] = record.leaseSeconds
            }
            state.isLoaded = true
        }
    }

    private func handle(_ event: NodeStateMachine.Event, of node: NodeID, _ now: ContinuousClock.Instant) async {
        let change = state.withLock { state in
            // A lease that was longer than it is now may still hold.
            var times = times
            times.lostAfter = max(times.lostAfter, .seconds(2 * (state.leases[node] ?? 0)))
            return state.machines[node]?.handle(event, times, now: now) ?? nil
        }
        guard let change else { return }
        if change.to == .lost { capacity.forget(node) }
        do {
            try await store.recordState(change, of: node, at: .nowMilliseconds)
            logger.notice(
                "A node's state has changed.",
                metadata: ["node": "\(node)", "from": "\(change.from.rawValue)", "to": "\(change.to.rawValue)"])
        } catch {
            state.withLock { $0.machines[node]?.wasNotTold(change) }
            logger.error("A node's state could not be stored.", metadata: ["node": "\(node)", "error": "\(error)"])
        }
    }

    private func count() {
        let counts = state.withLock { state in
            state.machines.values.reduce(into: [NodeState: Int]()) { $0[$1.state, default: 0] += 1 }
        }
        let pressures = nodes.connectedNodes().compactMap(\.facts.diskPressure)
        for level in DiskPressure.allCases {
            metrics.set(.nodesByDiskPressure, Double(pressures.count { $0 == level }), [level.rawValue])
        }
        for state in NodeState.allCases where state != .removed {
            metrics.set(.nodes, Double(counts[state] ?? 0), [state.rawValue])
        }
    }
}

extension NodeStateMachine {
    fileprivate init(_ record: NodeRecord, now: Instant) {
        // A node that has just joined was told to nobody: it counts as one that is awaited.
        self.init(record.wish, told: record.told ?? .offline, now: now)
    }
}
