import ControllerDomain
import ControllerStore
import FastableCore
import FoundationEssentials
import Logging
import Synchronization

/// Tells when a node's disk becomes short of space, and when it is not any more. What was told last stands in the facts of the node that are
/// stored, so that nothing is told again after a restart.
final class NodeDisks: Sendable {
    private let store: any Store
    private let events: EventLog
    private let logger: Logger
    private let told = Mutex<[NodeID: DiskPressure]>([:])

    init(store: any Store, events: EventLog, logger: Logger) {
        self.store = store
        self.events = events
        self.logger = logger
    }

    /// - Returns: whether that is news, which is to be stored.
    @discardableResult
    func heard(_ facts: NodeFacts, of node: NodeID) async -> Bool {
        // A node of an earlier release says nothing about it.
        guard let pressure = facts.diskPressure else { return false }
        if told.withLock({ $0[node] }) == pressure { return false }
        guard let record = try? await store.node(.id(node)) else { return false }
        let before = told.withLock { told -> DiskPressure in
            defer { told[node] = pressure }
            return told[node] ?? record.facts?.diskPressure ?? DiskPressure.none
        }
        guard before != pressure else { return false }
        await events.publish(.diskPressure(of: record, from: before, facts, at: .nowMilliseconds))
        logger.log(
            level: pressure > before ? .warning : .notice, "A node's disk has become more, or less, short of space.",
            metadata: ["node": "\(node)", "from": "\(before.rawValue)", "to": "\(pressure.rawValue)"])
        return true
    }
}
