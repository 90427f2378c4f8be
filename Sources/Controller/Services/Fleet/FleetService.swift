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
    private let conditions: NodeConditions
    private let store: any Store
    private let metrics: Metrics
    private let logger: Logger
    /// When each node's facts were stored last.
    private let stored = Mutex<[NodeID: ContinuousClock.Instant]>([:])
    private let disks: NodeDisks
    private let defaultImage: String

    init(
        enrollment: EnrollmentService, projects: ProjectService, events: EventLog, conditions: NodeConditions,
        store: any Store, defaultImage: String, metrics: Metrics, logger: Logger
    ) {
        self.defaultImage = defaultImage
        disks = NodeDisks(store: store, events: events, logger: logger)
        self.conditions = conditions
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

    public func nodeReturns(
        _ node: NodeID, keepsLease: Bool
    ) async throws -> (departed: [ProjectDeparture], lease: NodeLease?) {
        (try await conditions.returns(node, keepsLease: keepsLease), conditions.lease)
    }

    public func lease(of node: NodeID) -> NodeLease? { conditions.lease }

    public func nodeConnected(_ node: NodeID, facts: NodeFacts) async {
        projects.nodeConnected(node)
        projects.placement.references.heard(facts.registryImages, from: node)
        // Before what is stored of it is another one.
        await disks.heard(facts, of: node)
        await keep(facts, of: node)
        await tell(.nodeConnected, of: node)
        await conditions.changed(node)
        // What was deleted while the node was away is removed now, beside its first requests.
        Task { await projects.sweepDeleted(on: node) }
        Task { await projects.sendLifecycles(to: node) }
        Task { [archiver = projects.archiver] in await archiver?.sweepRemains(on: node) }
    }

    /// Reports come every few seconds; the database needs one now and then, for the time when the node is gone.
    public func nodeReported(_ node: NodeID, report: NodeReport) async {
        let interval = Duration.seconds(Limits.placementReportAgeSeconds / 3)
        let isRecent = stored.withLock { stored in stored[node].map { ContinuousClock.now - $0 < interval } ?? false }
        let isNews = await disks.heard(report.facts, of: node)
        projects.capacity.reported(node, report)
        projects.placement.references.heard(report.facts.registryImages, from: node)
        if !isRecent || isNews { await keep(report.facts, of: node) }
        if let switches = report.switches { await kills.heard(node, switches) }
    }

    public func imagesInUse() async -> [String]? {
        do {
            let found = try await store.imagesInUse(limit: Limits.imagesInUseTold)
            return found.count < Limits.imagesInUseTold ? found + [defaultImage] : nil
        } catch {
            logger.warning("Which images are in use cannot be told to a node.", metadata: ["error": "\(error)"])
            return nil
        }
    }

    public func nodeDisconnected(_ node: NodeID) async {
        stored.withLock { $0[node] = nil }
        await tell(.nodeDisconnected, of: node)
        await conditions.changed(node)
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
