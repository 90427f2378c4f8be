import ControllerDomain
public import ControllerFleet
import ControllerStore
public import FastableCore
import FoundationEssentials
import Logging
import Synchronization

/// What the fleet's links need from the rest of the controller.
public final class FleetService: FleetDelegate {
    private let enrollment: EnrollmentService
    private let projects: ProjectService
    private let events: EventLog
    private let kills: KillService
    private let store: any Store
    private let metrics: Metrics
    private let logger: Logger
    /// When each node's facts were stored last.
    private let stored = Mutex<[NodeID: ContinuousClock.Instant]>([:])

    init(
        enrollment: EnrollmentService, projects: ProjectService, events: EventLog, store: any Store, metrics: Metrics,
        logger: Logger
    ) {
        self.enrollment = enrollment
        self.projects = projects
        self.events = events
        kills = projects.kills
        self.store = store
        self.metrics = metrics
        self.logger = logger
    }

    public func authorizeNode(certificateDER: [UInt8]) async throws -> NodeID {
        try await enrollment.authorize(certificateDER: certificateDER)
    }

    public func renewCertificate(
        node: NodeID, serial: String, request: CertificateRequest
    ) async throws -> RenewedCertificate {
        try await enrollment.renew(node, serial: serial, request)
    }

    public func switches(for node: NodeID) async throws -> KillSwitchSet { try await kills.set(for: node) }

    public func nodeConnected(_ node: NodeID, facts: NodeFacts) async {
        projects.nodeConnected(node)
        await keep(facts, of: node)
        await tell(.nodeConnected, of: node)
        // What was deleted while the node was away is removed now, beside its first requests.
        Task { await projects.sweepDeleted(on: node) }
        Task { await projects.sendLifecycles(to: node) }
    }

    /// Reports come every few seconds; the database needs one now and then, for the time when the node is gone.
    public func nodeReported(_ node: NodeID, report: NodeReport) async {
        let interval = Duration.seconds(Limits.placementReportAgeSeconds / 3)
        let isRecent = stored.withLock { stored in stored[node].map { ContinuousClock.now - $0 < interval } ?? false }
        if !isRecent { await keep(report.facts, of: node) }
        if let switches = report.switches { await kills.heard(node, switches) }
    }

    public func nodeDisconnected(_ node: NodeID) async {
        stored.withLock { $0[node] = nil }
        await tell(.nodeDisconnected, of: node)
    }

    public func nodeTold(_ node: NodeID, _ batch: TransitionBatch) async throws {
        try await events.record(batch, of: node)
    }

    private func tell(_ kind: PlatformEvent.Kind, of node: NodeID) async {
        let name = try? await store.node(.id(node)).name
        await events.publish(
            PlatformEvent(
                workspace: .system, kind: kind, at: .nowMilliseconds, node: node,
                data: name.map { ["name": .string($0)] } ?? [:]))
    }

    public func linkRefused(remoteAddress: String, reason: String) {
        metrics.add(.linksRefused)
        logger.warning("A link was refused.", metadata: ["remote": "\(remoteAddress)", "reason": "\(reason)"])
    }

    private func keep(_ facts: NodeFacts, of node: NodeID) async {
        do {
            try await store.updateNode(node, facts: facts, seenAt: .nowMilliseconds)
            stored.withLock { $0[node] = .now }
        } catch {
            logger.warning("A node's report could not be stored.", metadata: ["node": "\(node)", "error": "\(error)"])
        }
    }
}
