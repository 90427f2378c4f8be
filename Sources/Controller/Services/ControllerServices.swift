package import ControllerDomain
public import ControllerFleet
public import ControllerStore
public import FastableCore
public import FastableIdentity
import FoundationEssentials
public import Logging
public import ServiceLifecycle
import Synchronization

/// Everything between the doors and the nodes, put together.
public struct ControllerServices: Service {
    /// What does not change while the controller runs.
    public struct Configuration: Sendable {
        /// Where the controller is reached; `setEndpoints` changes it once ports are known.
        public var endpoints: Endpoints
        /// Where the first admin token was written, for `status`.
        public var tokenFile: String
        /// The image of projects that do not name one.
        public var defaultImage: String
        /// How long the audit is kept; 0 is for ever.
        public var auditRetentionDays: Int
        /// Webhooks may lead to addresses that are not public, and over plain HTTP.
        public var webhooksAllowPrivate: Bool
        /// Where the archives of workspaces lie; made when it is missing.
        public var snapshotDirectory: String
        /// Snapshots leave the disk so much.
        public var snapshotReserveBytes: Int
        /// A node without a link for so long is lost.
        public var nodeLostAfterSeconds: Int
        public var version: String
        /// In place of HTTP, for tests.
        package var webhookSender: (any WebhookSending)?
        /// Other times for tests, which must not depend on how busy their machine is.
        package var snapshotStallSeconds = Limits.snapshotStallSeconds
        package var killAnswerMilliseconds = Limits.killAnswerMilliseconds
        /// How much nodes promise.
        package var placement = PlacementPolicy()

        public init(
            endpoints: Endpoints, tokenFile: String, defaultImage: String = "vibn-dev",
            auditRetentionDays: Int = Limits.auditRetentionDays, webhooksAllowPrivate: Bool = false,
            snapshotDirectory: String, snapshotReserveBytes: Int = Limits.snapshotDiskReserveBytes,
            nodeLostAfterSeconds: Int = Limits.nodeLostAfterSeconds, version: String = Version.text
        ) {
            self.nodeLostAfterSeconds = nodeLostAfterSeconds
            self.snapshotDirectory = snapshotDirectory
            self.snapshotReserveBytes = snapshotReserveBytes
            self.endpoints = endpoints
            self.tokenFile = tokenFile
            self.defaultImage = defaultImage
            self.auditRetentionDays = auditRetentionDays
            self.webhooksAllowPrivate = webhooksAllowPrivate
            self.version = version
        }

        /// How many times nodes promise what they have.
        public mutating func setOvercommit(memory: Double, cpus: Double, pids: Double, disk: Double) {
            placement.memoryOvercommit = memory
            placement.cpuOvercommit = cpus
            placement.pidOvercommit = pids
            placement.diskOvercommit = disk
        }
    }

    /// The addresses that are told to people and put into join tokens.
    public struct Endpoints: Sendable, Equatable {
        /// Base of the public API: `http://127.0.0.1:7420`.
        public var apiURL: String
        /// What nodes dial.
        public var nodeListener: HostPort

        public var mcpURL: String { apiURL + "/api/mcp" }

        public init(apiURL: String, nodeListener: HostPort) {
            self.apiURL = apiURL
            self.nodeListener = nodeListener
        }
    }

    public let catalog: OperationCatalog
    public let execs: ExecService
    public let transfers: TransferService
    public let events: EventService
    public let authenticator: Authenticator
    public let tokens: TokenService
    public let enrollment: EnrollmentService
    /// For the node listener.
    public let fleet: FleetService
    public let metrics: Metrics
    public let audit: AuditLog
    private let webhookDeliveries: WebhookDeliveries
    package let archiver: ProjectArchiver
    package let conditions: NodeConditions
    package let drainer: NodeDrainer
    private let store: any Store
    private let endpoints: EndpointBox
    package let housekeeping: Housekeeping
    private let logger: Logger

    public init(
        store: any Store, nodes: any NodeDirectory, authority: CertificateAuthority, configuration: Configuration,
        metrics: Metrics = Metrics(), logger: Logger
    ) {
        self.store = store
        self.metrics = metrics
        self.logger = logger
        endpoints = EndpointBox(configuration.endpoints)
        audit = AuditLog(store: store, metrics: metrics, logger: logger)
        let gate = OperationGate(audit: audit, metrics: metrics, logger: logger)
        let kills = KillService(store: store, nodes: nodes, audit: audit, configuration: configuration, logger: logger)
        let capacity = CapacityService(store: store, nodes: nodes, policy: configuration.placement)
        let projects = ProjectService(store: store, nodes: nodes, capacity: capacity, kills: kills, logger: logger)
        execs = ExecService(
            store: store, projects: projects, gate: gate, audit: audit, metrics: metrics, logger: logger)
        transfers = TransferService(projects: projects, gate: gate, metrics: metrics)
        authenticator = Authenticator(store: store, metrics: metrics, logger: logger)
        tokens = TokenService(store: store, authenticator: authenticator, logger: logger)
        enrollment = EnrollmentService(
            store: store, nodes: nodes, authority: authority, endpoints: endpoints, audit: audit, metrics: metrics,
            logger: logger)
        let eventLog = EventLog(store: store, logger: logger)
        events = EventService(log: eventLog, store: store, projects: projects, gate: gate)
        conditions = NodeConditions(
            store: store, nodes: nodes, capacity: capacity, metrics: metrics, times: configuration.nodeTimes,
            logger: logger)
        fleet = FleetService(
            enrollment: enrollment, projects: projects, events: eventLog, conditions: conditions, store: store,
            defaultImage: configuration.defaultImage, metrics: metrics, logger: logger)
        let webhooks = WebhookService(
            store: store, authority: authority, configuration: configuration, metrics: metrics, logger: logger)
        webhookDeliveries = webhooks.deliveries
        let once = OnceService(
            store: store, audit: audit, projects: projects,
            digestKey: authority.derivedKey(for: "fastable idempotency digests"), logger: logger)
        let snapshots = SnapshotService(
            store: store, archives: configuration.archives, projects: projects, transfers: transfers, metrics: metrics,
            stallSeconds: configuration.snapshotStallSeconds, logger: logger)
        housekeeping = Housekeeping(
            store: store, projects: projects, snapshots: snapshots,
            auditRetentionDays: configuration.auditRetentionDays, logger: logger)
        archiver = ProjectArchiver(
            store: store, projects: projects, snapshots: snapshots, conditions: conditions, audit: audit, logger: logger
        )
        projects.set(archiver)
        drainer = NodeDrainer(
            store: store, archiver: archiver, conditions: conditions, events: eventLog, metrics: metrics, logger: logger
        )
        let nodeOperations = NodeOperations(
            store: store, nodes: nodes, enrollment: enrollment, projects: projects, conditions: conditions,
            drainer: drainer)
        let creation = ProjectCreation(
            projects: projects, execs: execs, snapshots: snapshots, defaultImage: configuration.defaultImage)
        let groups: [[Operation]] = [
            Self.operationsOnContent(projects, creation, snapshots, transfers),
            Self.operationsOnContainers(projects, archiver, store),
            Self.operationsOnCommands(projects, execs, once),
            FileOperations(projects: projects, transfers: transfers).all.map(\.relayed),
            nodeOperations.all, ImageOperations(store: store, nodes: nodes, placement: projects.placement).all,
            TokenOperations(tokens: tokens).all, KillOperations(kills: kills, store: store).all,
            AdminOperations(kills: kills, store: store).all, WebhookOperations(webhooks: webhooks).all,
            AuditOperations(store: store, log: audit, projects: projects).all, EventOperations(events: events).all,
            StatusOperation(
                store: store, nodes: nodeOperations, configuration: configuration, endpoints: endpoints,
                metrics: metrics
            ).all,
        ]
        catalog = OperationCatalog(groups.flatMap(\.self), gate: gate, projects: projects, once: once)
        Self.declare(metrics, nodes)
    }

    /// Projects, and what is kept of them.
    private static func operationsOnContent(
        _ projects: ProjectService, _ creation: ProjectCreation, _ snapshots: SnapshotService,
        _ transfers: TransferService
    ) -> [Operation] {
        let checkpoints = CheckpointService(projects: projects, transfers: transfers)
        return ProjectOperations(projects: projects, creation: creation, snapshots: snapshots).all
            + [ProjectImageOperation(projects: projects, snapshots: snapshots).operation]
            + SnapshotOperations(projects: projects, snapshots: snapshots).all
            + CheckpointOperations(projects: projects, checkpoints: checkpoints).all
    }

    /// Commands, and programs that run by themselves.
    private static func operationsOnCommands(
        _ projects: ProjectService, _ execs: ExecService, _ once: OnceService
    ) -> [Operation] {
        ShellOperations(execs: execs, once: once).all.map(\.relayed)
            + DevServerOperations(projects: projects, execs: execs).all
    }

    /// Containers, and how much there may be of them.
    private static func operationsOnContainers(
        _ projects: ProjectService, _ archiver: ProjectArchiver, _ store: any Store
    ) -> [Operation] {
        (ContainerOperations(projects: projects, archiver: archiver).all + LifecycleOperations(projects: projects).all)
            .map(\.relayed)
            + QuotaOperations(store: store, capacity: projects.capacity).all
    }

    private static func declare(_ metrics: Metrics, _ nodes: any NodeDirectory) {
        metrics.declare([
            .operationsInFlight, .execsRunning, .linksRefused, .authenticationsRefused, .auditFailures,
            .damagedSnapshots,
        ])
        metrics.gauge(.nodesConnected) { Double(nodes.connectedNodes().count) }
        metrics.gauge(.containersStarting) {
            Double(
                nodes.connectedNodes().reduce(0) { $0 + max(0, min($1.starts?.running ?? 0, Limits.projectsPerNode)) })
        }
        metrics.gauge(.startsWaiting) {
            Double(nodes.connectedNodes().reduce(0) { $0 + max(0, min($1.starts?.waiting ?? 0, Limits.startsWaiting)) })
        }
    }

    /// Once the listeners have their ports.
    public func setEndpoints(_ endpoints: Endpoints) { self.endpoints.current = endpoints }

    /// For `/ready`: throws when the database does not answer.
    public func checkReady() async throws { _ = try await store.counts() }

    /// Cleans up from time to time and tells webhooks what happens until the program stops, and then waits until the audit is
    /// written.
    public func run() async throws {
        await cancelWhenGracefulShutdown {
            async let deliveries: Void = webhookDeliveries.run()
            async let archiving: Void = archiver.run()
            async let looking: Void = conditions.run()
            async let draining: Void = drainer.run()
            await housekeeping.run()
            await archiving
            await looking
            await draining
            await deliveries
        }
        await audit.flush()
    }
}

extension ControllerServices.Configuration {
    fileprivate var archives: ArchiveStore {
        ArchiveStore(directory: snapshotDirectory, reserveBytes: snapshotReserveBytes)
    }

    fileprivate var nodeTimes: NodeStateMachine.Times {
        NodeStateMachine.Times(
            patience: .seconds(min(Limits.nodePatienceSeconds, nodeLostAfterSeconds)),
            lostAfter: .seconds(nodeLostAfterSeconds))
    }
}

/// The current addresses.
final class EndpointBox: Sendable {
    private let state: Mutex<ControllerServices.Endpoints>

    init(_ endpoints: ControllerServices.Endpoints) { state = Mutex(endpoints) }

    var current: ControllerServices.Endpoints {
        get { state.withLock { $0 } }
        set { state.withLock { $0 = newValue } }
    }
}
