import ControllerAPI
import ControllerFleet
import ControllerServices
import ControllerStore
import FastableCore
import FastableIdentity
import Foundation
import NIOCore
import NodeControl
import Synchronization
import TestSupport
import Testing

/// A controller in this process with a fake node, and the built program to ask it with.
struct CLIWorld: Sendable {
    let folder: String
    let apiURL: String
    let node: FakeNode
    let services: ControllerServices

    var tokenFile: String { folder + "/admin.token" }

    static func with(_ body: @Sendable (CLIWorld) async throws -> Void) async throws {
        try await withTemporaryDirectory { folder in try await run(in: folder, body) }
    }

    private static func run(in folder: String, _ body: @Sendable (CLIWorld) async throws -> Void) async throws {
        let store = try SQLiteStore(path: folder + "/controller.sqlite")
        let authority = try CertificateAuthority(at: Date())
        let registry = NodeRegistry()
        let services = ControllerServices(
            store: store, nodes: registry, authority: authority,
            configuration: ControllerServices.Configuration(
                endpoints: .init(apiURL: "http://127.0.0.1:1", nodeListener: .loopback(port: 1)),
                tokenFile: folder + "/admin.token", snapshotDirectory: folder + "/snapshots"), logger: .quiet)
        try await services.tokens.bootstrapAdminToken(file: folder + "/admin.token")
        let ports = Mutex<(node: Int?, api: Int?)>((nil, nil))
        let listener = NodeListenerService(
            address: .loopback(port: 0),
            credential: try authority.issueServerCredential(names: ["127.0.0.1"], at: Date()),
            authorityPEM: authority.pem, registry: registry, delegate: services.fleet, logger: .quiet
        ) { port in ports.withLock { $0.node = port } }
        let api = try APIServer(
            APIServerConfiguration(port: 0, programVersion: "1"), backend: services, logger: .quiet
        ) { address in ports.withLock { $0.api = address.port } }
        let node = FakeNode()
        let link = NodeLinkService(
            identityDirectory: folder + "/node",
            reporter: NodeReporter { NodeReport(facts: FakeNode.facts, containers: []) }, logger: .quiet
        ) { stream in await node.serve(stream) }

        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await listener.run() }
            group.addTask { try await api.run() }
            group.addTask { try await services.run() }
            defer { group.cancelAll() }
            try await eventually("the controller listens") { ports.withLock { $0.node != nil && $0.api != nil } }
            let (nodePort, apiPort) = ports.withLock { ($0.node ?? 0, $0.api ?? 0) }
            let apiURL = "http://127.0.0.1:\(apiPort)"
            services.setEndpoints(.init(apiURL: apiURL, nodeListener: .loopback(port: nodePort)))
            let world = CLIWorld(folder: folder, apiURL: apiURL, node: node, services: services)
            let token = try await world.cli(["node", "token"]).requireSuccess()
            _ = try await Joining.join(
                tokenText: token.text.trimmingCharacters(in: .whitespacesAndNewlines), name: "node-1",
                identityDirectory: folder + "/node")
            group.addTask { try await link.run() }
            try await eventually("the node is linked") { !registry.connectedNodes().isEmpty }
            try await body(world)
        }
        await services.audit.flush()
        try store.close()
    }

    /// Makes the project that most tests use.
    func makeShop() async throws { _ = try await cli(["project", "create", "shop"]).requireSuccess() }

    /// Runs the program to its end.
    func cli(
        _ arguments: [String], input: Data = Data(), environment: [String: String?] = [:]
    ) async throws -> CLIResult {
        let process = try start(arguments, environment: environment)
        return try await process.result(input: input)
    }

    func start(
        _ arguments: [String], environment: [String: String?] = [:], output: FileHandle? = nil
    ) throws -> CLIProcess {
        var variables: [String: String?] = [
            "PATH": "/usr/bin:/bin", "XDG_CONFIG_HOME": folder + "/.config", "FASTABLE_API_URL": apiURL,
            "FASTABLE_TOKEN_FILE": tokenFile,
        ]
        variables.merge(environment) { $1 }
        return try CLIProcess(arguments, environment: variables.compactMapValues(\.self), output: output)
    }

    /// Variables of a person who logs in instead of setting any.
    static let loggedOut: [String: String?] = ["FASTABLE_API_URL": nil, "FASTABLE_TOKEN_FILE": nil]
}
