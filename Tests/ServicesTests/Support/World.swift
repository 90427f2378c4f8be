import ControllerDomain
import ControllerFleet
import ControllerServices
import ControllerStore
import FastableCore
import FastableIdentity
import FastableWire
import FoundationEssentials
import NIOCore
import NIOPosix
import TestSupport

#if canImport(Glibc)
    import Glibc
#endif

/// The controller's services on a real database, with simulated nodes on real links.
struct World: Sendable {
    let services: ControllerServices
    let store: SQLiteStore
    let directory: TestDirectory
    let authority: CertificateAuthority
    let folder: String
    let snapshotDirectory: String
    let workspace: WorkspaceID
    let other: WorkspaceID

    static func with<Value: Sendable>(
        nodes count: Int = 1, auditRetentionDays: Int = Limits.auditRetentionDays, snapshotDirectory: String? = nil,
        snapshotReserveBytes: Int = 0, _ adjust: (inout ControllerServices.Configuration) -> Void = { _ in },
        _ body: @Sendable (World, [SimulatedNode]) async throws -> Value
    ) async throws -> Value {
        try await withTemporaryDirectory { folder in
            let world = try await World(
                folder: folder, auditRetentionDays: auditRetentionDays,
                snapshotDirectory: snapshotDirectory ?? folder + "/snapshots",
                snapshotReserveBytes: snapshotReserveBytes, adjust)
            return try await run(world, nodes: count, body)
        }
    }

    private static func run<Value: Sendable>(
        _ world: World, nodes count: Int, _ body: @Sendable (World, [SimulatedNode]) async throws -> Value
    ) async throws -> Value {
        try await withThrowingTaskGroup(of: Void.self) { group in
            var nodes: [SimulatedNode] = []
            for index in 0..<count {
                let node = try await world.join("node-\(index + 1)")
                nodes.append(node)
                group.addTask { await node.run() }
            }
            defer { group.cancelAll() }
            let value = try await body(world, nodes)
            await world.services.audit.flush()
            try world.store.close()
            return value
        }
    }

    private init(
        folder: String, auditRetentionDays: Int, snapshotDirectory: String, snapshotReserveBytes: Int,
        _ adjust: (inout ControllerServices.Configuration) -> Void
    ) async throws {
        self.folder = folder
        self.snapshotDirectory = snapshotDirectory
        directory = TestDirectory()
        store = try SQLiteStore(path: folder + "/controller.db")
        authority = try CertificateAuthority(at: .nowMilliseconds)
        workspace = try await store.bootstrap(now: .nowMilliseconds).id
        other = WorkspaceID()
        try await store.createWorkspace(Workspace(id: other, name: "other", createdAt: .nowMilliseconds))
        guard let listener = HostPort("127.0.0.1:7421") else { throw FastableError(.internal, "no address") }
        var configuration = ControllerServices.Configuration(
            endpoints: ControllerServices.Endpoints(apiURL: "http://127.0.0.1:7420", nodeListener: listener),
            tokenFile: folder + "/token", auditRetentionDays: auditRetentionDays,
            snapshotDirectory: snapshotDirectory, snapshotReserveBytes: snapshotReserveBytes)
        // Simulated nodes report once, and may have to wait for a processor.
        configuration.placement.reportAgeSeconds = 24 * 3600
        // Nor do they say that a container has ended.
        configuration.placement.memoryOvercommit = 16
        configuration.placement.cpuOvercommit = 100
        configuration.killAnswerMilliseconds = 60_000
        adjust(&configuration)
        services = ControllerServices(
            store: store, nodes: directory, authority: authority, configuration: configuration, logger: .quiet)
    }

    /// A node that has joined and whose link is up; somebody must run it.
    func join(_ name: String, images: [String] = ["vibn-dev"]) async throws -> SimulatedNode {
        let id = NodeID()
        try await store.createNode(NodeRecord(id: id, name: name, createdAt: .nowMilliseconds))
        let facts = Self.facts(images: images)
        let (dialer, listener) = try await MuxConnection.socketPair(on: MultiThreadedEventLoopGroup.singleton)
        Task { try? await listener.run { _ in } }
        directory.connect(TestNodeClient(node: id, connection: listener), facts: facts)
        await services.fleet.nodeConnected(id, facts: facts)
        _ = try await services.fleet.nodeReturns(id, keepsLease: true)
        return SimulatedNode(id: id, connection: dialer)
    }

    /// A node whose link was lost dials again; somebody must run it.
    func reconnected(_ id: NodeID) async throws -> SimulatedNode {
        let (dialer, listener) = try await MuxConnection.socketPair(on: MultiThreadedEventLoopGroup.singleton)
        Task { try? await listener.run { _ in } }
        directory.connect(TestNodeClient(node: id, connection: listener), facts: Self.facts())
        return SimulatedNode(id: id, connection: dialer)
    }

    /// The same database and nodes under a new controller.
    func restarted() async throws -> World {
        await services.audit.flush()
        return try World(like: self)
    }

    private init(like other: World) throws {
        (folder, store, authority, workspace) = (other.folder, other.store, other.authority, other.workspace)
        (self.other, directory, snapshotDirectory) = (other.other, other.directory, other.snapshotDirectory)
        guard let listener = HostPort("127.0.0.1:7421") else { throw FastableError(.internal, "no address") }
        services = ControllerServices(
            store: store, nodes: directory, authority: authority,
            configuration: ControllerServices.Configuration(
                endpoints: ControllerServices.Endpoints(apiURL: "http://127.0.0.1:7420", nodeListener: listener),
                tokenFile: folder + "/token", snapshotDirectory: snapshotDirectory, snapshotReserveBytes: 0),
            logger: .quiet)
    }

    static func facts(images: [String] = ["vibn-dev"]) -> NodeFacts {
        NodeFacts(
            programVersion: "1", hostName: "host", kernel: "6.1", cgroup: .v2, runtime: "runc 1.1.5", cpus: 4,
            memoryBytes: 1 << 33, diskBytes: 1 << 40, diskFreeBytes: 1 << 39, images: images)
    }

    // MARK: asking

    func principal(_ scopes: Set<Scope> = [.admin], in workspace: WorkspaceID? = nil) -> Principal {
        Principal(token: TokenID(), workspace: workspace ?? self.workspace, name: "tester", scopes: scopes)
    }

    func context(
        _ principal: Principal? = nil, events: (@Sendable (OperationEvent) async throws -> Void)? = nil
    ) -> OperationContext {
        OperationContext(
            principal: principal ?? self.principal(), requestID: RequestID(), door: .rest, events: events)
    }

    /// Runs an operation, checks its answer against the published schema, and gives it as a value.
    @discardableResult
    func run(
        _ name: String, _ input: JSONValue = [:], _ context: OperationContext? = nil
    ) async throws -> JSONValue {
        let data = try await services.catalog.run(
            name, input: try JSON.encode(input), context: context ?? self.context())
        let answer = try JSONParser.parse(data)
        try services.catalog.operation(named: name)?.outputSchema.closed().validate(answer)
        return answer
    }

    /// A project of the usual workspace, placed when it is first used.
    @discardableResult
    func project(_ name: String = "shop") async throws -> ProjectID {
        let answer = try await run("projects_create", ["name": .string(name)])
        guard let id = answer["id"]?.string.flatMap(ProjectID.init) else {
            throw FastableError(.internal, "no project id in \(answer)")
        }
        return id
    }

    /// The audit of an operation, oldest first.
    func audit(_ operation: String) async throws -> [AuditEvent] {
        await services.audit.flush()
        let filter = AuditFilter(workspaces: nil, operation: operation)
        return try await store.auditEntries(filter, before: nil, limit: 500).map(\.event).reversed()
    }
}
