import AsyncHTTPClient
import ControllerAPI
import ControllerDomain
import ControllerFleet
import ControllerServices
import ControllerStore
import FastableCore
import FastableIdentity
import Foundation
import NIOCore
import NIOFoundationEssentialsCompat
import NIOHTTP1
import NodeControl
import Synchronization
import TestSupport
import Testing

/// A whole controller in this process: database, authority, and both listeners on loopback.
struct TestController: Sendable {
    let folder: String
    let store: SQLiteStore
    let authority: CertificateAuthority
    let registry: NodeRegistry
    let services: ControllerServices
    let fleet: WatchedFleet
    let log: LogRecorder
    let workspace: WorkspaceID
    let nodePort: Int
    let apiURL: String

    /// Runs a controller of its own, with a folder that is removed afterwards.
    static func with(
        helloDeadline: Duration? = nil, _ body: @Sendable (TestController) async throws -> Void
    ) async throws {
        try await withTemporaryDirectory { folder in
            try await run(in: folder, helloDeadline: helloDeadline, body)
        }
    }

    /// Runs a controller with the state of `folder`; a second run there is a restart.
    static func run<Value: Sendable>(
        in folder: String, nodePort: Int = 0, helloDeadline: Duration? = nil,
        _ body: @Sendable (TestController) async throws -> Value
    ) async throws -> Value {
        let log = LogRecorder()
        let store = try SQLiteStore(path: folder + "/controller.sqlite")
        let authority = try CertificateAuthority.open(directory: folder + "/authority", at: Date())
        let registry = NodeRegistry()
        let services = ControllerServices(
            store: store, nodes: registry, authority: authority,
            configuration: ControllerServices.Configuration(
                endpoints: .init(apiURL: "http://127.0.0.1:1", nodeListener: .loopback(port: 1)),
                tokenFile: folder + "/admin.token", snapshotDirectory: folder + "/snapshots"), logger: log.logger)
        try await services.tokens.bootstrapAdminToken(file: folder + "/admin.token")
        let fleet = WatchedFleet(services.fleet)
        let ports = Ports()
        var listener = NodeListenerService(
            address: .loopback(port: nodePort),
            credential: try authority.issueServerCredential(names: ["127.0.0.1"], at: Date()),
            authorityPEM: authority.pem, registry: registry, delegate: fleet, logger: log.logger
        ) { ports.found(node: $0) }
        if let helloDeadline { listener.helloDeadline = helloDeadline }
        let api = try APIServer(
            APIServerConfiguration(port: 0, programVersion: "1"), backend: services, logger: log.logger
        ) { ports.found(api: $0.port ?? 0) }

        let parts: [@Sendable () async throws -> Void] = [
            { [listener] in try await listener.run() }, { try await api.run() }, { try await services.run() },
        ]
        let value = try await withThrowingTaskGroup(of: Void.self) { group in
            for part in parts { group.addTask(operation: part) }
            defer { group.cancelAll() }
            let (node, api) = try await ports.both()
            services.setEndpoints(
                .init(apiURL: "http://127.0.0.1:\(api)", nodeListener: .loopback(port: node)))
            return try await body(
                TestController(
                    folder: folder, store: store, authority: authority, registry: registry, services: services,
                    fleet: fleet, log: log, workspace: try await store.bootstrap(now: .nowMilliseconds).id,
                    nodePort: node, apiURL: "http://127.0.0.1:\(api)"))
        }
        await services.audit.flush()
        try store.close()
        return value
    }

    /// An operator's request.
    func context() -> OperationContext {
        let principal = Principal(token: TokenID(), workspace: workspace, name: "tester", scopes: [.admin])
        return OperationContext(principal: principal, requestID: RequestID(), door: .rest)
    }

    /// One operation, as a door runs it.
    @discardableResult
    func run(_ operation: String, _ input: JSONValue = [:]) async throws -> JSONValue {
        try JSON.decode(
            from: try await services.catalog.run(operation, input: try JSON.encode(input), context: context()))
    }

    /// The same over HTTP.
    func post(
        _ operation: String, _ input: JSONValue, headers: [String: String] = [:], answerBytes: Int = 1024 * 1024
    ) async throws -> (status: Int, headers: HTTPHeaders, body: JSONValue) {
        var request = HTTPClientRequest(url: "\(apiURL)/api/tools/\(operation)")
        request.method = .POST
        let token = try String(contentsOfFile: folder + "/admin.token", encoding: .utf8)
        request.headers.add(
            name: "authorization", value: "Bearer \(token.trimmingCharacters(in: .whitespacesAndNewlines))")
        for (name, value) in headers { request.headers.add(name: name, value: value) }
        request.body = .bytes(ByteBuffer(data: try JSON.encode(input)))
        let response = try await HTTPClient.shared.execute(request, timeout: .minutes(5))
        let body = Data(buffer: try await response.body.collect(upTo: answerBytes))
        return (Int(response.status.code), response.headers, try JSON.decode(from: body))
    }

    /// The state of a node as `status` tells it; `nil` for an unknown one.
    func state(of node: TestNode) async throws -> String? {
        try await run("status")["nodes"]?.array?.first { $0["id"]?.string == node.id.description }?["state"]?.string
    }

    func waitUntilReady(_ node: TestNode) async throws {
        try await eventually("\(node.name) is ready") { try await state(of: node) == "ready" }
    }

    func joinToken(for node: TestNode? = nil) async throws -> String {
        let answer = try await run("nodes_join_token", node.map { ["node": .string($0.name)] } ?? [:])
        guard let text = answer["token"]?.string else { throw FastableError(.internal, "no token in the answer") }
        return text
    }

    func join(_ name: String = "node-1") async throws -> TestNode {
        let directory = "\(folder)/\(name)"
        let joined = try await Joining.join(
            tokenText: try await joinToken(), name: name, identityDirectory: directory)
        return TestNode(id: joined.node, name: name, directory: directory)
    }
}

/// Where the listeners were bound, once they are.
private final class Ports: Sendable {
    private let state = Mutex<(node: Int?, api: Int?)>((nil, nil))

    func found(node port: Int) { state.withLock { $0.node = port } }
    func found(api port: Int) { state.withLock { $0.api = port } }

    func both() async throws -> (node: Int, api: Int) {
        try await eventually("the controller listens") { state.withLock { $0.node != nil && $0.api != nil } }
        let (node, api) = state.withLock { $0 }
        return (try #require(node), try #require(api))
    }
}

/// The fleet's delegate, with a view of which certificates were shown.
final class WatchedFleet: FleetDelegate {
    private let fleet: FleetService
    private let shown = Mutex<[String]>([])
    private let parts = Mutex<[NodeReport]>([])
    private let told = Mutex<[TransitionBatch]>([])
    /// What happens to a batch of changes, in place of keeping it; it may be kept and its answer lost.
    let onTold = Mutex<(@Sendable (NodeID, TransitionBatch) async throws -> Void)?>(nil)

    init(_ fleet: FleetService) { self.fleet = fleet }

    /// Serials of the certificates that were let in, in order; each link shows its own twice.
    var serials: [String] { shown.withLock { $0 } }

    /// What nodes reported, part by part.
    var reports: [NodeReport] { parts.withLock { $0 } }

    /// What nodes told of their containers, however often.
    var batches: [TransitionBatch] { told.withLock { $0 } }

    func nodeTold(_ node: NodeID, _ batch: TransitionBatch) async throws {
        told.withLock { $0.append(batch) }
        guard let handle = onTold.withLock({ $0 }) else { return try await fleet.nodeTold(node, batch) }
        try await handle(node, batch)
    }

    func imagesInUse() async -> [String]? { await fleet.imagesInUse() }

    func authorizeNode(certificateDER: [UInt8]) async throws -> NodeID {
        let node = try await fleet.authorizeNode(certificateDER: certificateDER)
        let serial = try NodeCertificate(peerCertificateDER: certificateDER, at: Date()).serial
        shown.withLock { $0.append(serial) }
        return node
    }

    func renewCertificate(
        node: NodeID, serial: String, request: CertificateRequest
    ) async throws -> RenewedCertificate {
        try await fleet.renewCertificate(node: node, serial: serial, request: request)
    }
    func switches(for node: NodeID) async throws -> KillSwitchSet { try await fleet.switches(for: node) }
    func nodeReturns(
        _ node: NodeID, keepsLease: Bool
    ) async throws -> (departed: [ProjectDeparture], lease: NodeLease?) {
        try await fleet.nodeReturns(node, keepsLease: keepsLease)
    }
    func lease(of node: NodeID) -> NodeLease? { fleet.lease(of: node) }
    func nodeConnected(_ node: NodeID, facts: NodeFacts) async { await fleet.nodeConnected(node, facts: facts) }
    func nodeReported(_ node: NodeID, report: NodeReport) async {
        parts.withLock { $0.append(report) }
        await fleet.nodeReported(node, report: report)
    }
    func nodeDisconnected(_ node: NodeID) async { await fleet.nodeDisconnected(node) }
    func linkRefused(remoteAddress: String, reason: String) {
        fleet.linkRefused(remoteAddress: remoteAddress, reason: reason)
    }
}
