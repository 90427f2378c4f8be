import ControllerDomain
import ControllerServices
import FastableCore
import FastableWire
import FoundationEssentials
import NIOCore
import TestSupport
import Testing

/// Every operation of the catalogue is tried without its scope and from another workspace; nobody can forget to add one here.
@Suite(.endsInTime) struct AuthorizationTests {
    /// An input that passes an operation's checks, made from its schema.
    private static func input(for operation: Operation, project: String) -> JSONValue {
        let fixed: [String: JSONValue] = [
            "project": .string(project), "execId": .string(ExecID().description),
            "token": .string(TokenID().description), "webhook": .string(WebhookID().description),
            "url": "https://example.com/hook",
            "name": "some-name", "mode": "755", "seconds": 60, "source": "dir:/srv/x",
            "image": "vibn-dev",
            "edits": [["oldString": "a", "newString": "b"]],
        ]
        guard case .object(let members) = operation.inputSchema.shape else { return [:] }
        let required = members.properties.filter(\.isRequired).map { ($0.name, fixed[$0.name] ?? "x") }
        return .object(Dictionary(required) { first, _ in first })
    }

    @Test func withoutTheScopeItIsForbiddenAndAudited() async throws {
        try await World.with { world, nodes in
            try await world.project()
            for operation in world.services.catalog.operations {
                // Everything but the scope, and but admin, which implies it.
                let principal = world.principal(Set(Scope.allCases).subtracting([operation.scope, .admin]))
                let input = Self.input(for: operation, project: "shop")
                let error = await expectFailure(.forbidden) {
                    try await world.run(operation.name, input, world.context(principal))
                }
                #expect(error?.message.contains(operation.scope.rawValue) == true, "\(operation.name)")
                let events = try await world.audit(operation.name).filter { $0.actor?.token == principal.token }
                #expect(events.map(\.phase) == [.denied], "\(operation.name)")
                #expect(events.first?.code == .forbidden, "\(operation.name)")
            }
            #expect(nodes[0].methods.isEmpty, "nothing may reach the node")
        }
    }

    @Test func withTheScopeAloneItIsPermitted() async throws {
        try await World.with { world, _ in
            try await world.project()
            for operation in world.services.catalog.operations {
                let principal = world.principal([operation.scope])
                do {
                    let input = Self.input(for: operation, project: "shop")
                    try await world.run(operation.name, input, world.context(principal))
                } catch let error as FastableError {
                    #expect(error.code != .forbidden && error.code != .internal, "\(operation.name): \(error)")
                }
            }
        }
    }

    @Test(arguments: [true, false])
    func anotherWorkspacesProjectDoesNotExist(byName: Bool) async throws {
        try await World.with { world, nodes in
            let id = try await world.project()
            let stranger = world.principal([.admin], in: world.other)
            for operation in world.services.catalog.operations where operation.actsOnProject {
                let input = Self.input(for: operation, project: byName ? "shop" : id.description)
                let error = await expectFailure(.notFound) {
                    try await world.run(operation.name, input, world.context(stranger))
                }
                #expect(error?.message.contains(byName ? "shop" : id.description) == true, "\(operation.name)")
                let events = try await world.audit(operation.name).filter { $0.workspace == world.other }
                #expect(events.map(\.phase) == [.denied], "\(operation.name)")
            }
            #expect(nodes[0].methods.isEmpty)
        }
    }

    @Test func theCacheOfProjectsKeepsWorkspacesApart() async throws {
        try await World.with { world, _ in
            try await world.project()
            try await world.run("projects_get", ["project": "shop"])
            let stranger = world.context(world.principal(in: world.other))
            await expectFailure(.notFound) { try await world.run("projects_get", ["project": "shop"], stranger) }
            let listed = try await world.run("projects_list", [:], stranger)
            #expect(listed["projects"] == [])
        }
    }

    @Test func rawBytesPassTheSameGate() async throws {
        try await World.with { world, nodes in
            try await world.project()
            let exec = ExecID()
            let none = world.context(world.principal([.projectsRead]))
            let services = world.services
            let body = AsyncStream<ByteBuffer> { $0.finish() }
            await expectFailure(.forbidden) {
                _ = try await services.transfers.download(FileDownload(path: "a"), from: "shop", context: none)
            }
            await expectFailure(.forbidden) {
                _ = try await services.transfers.upload(FileUpload(path: "a"), body, to: "shop", context: none)
            }
            await expectFailure(.forbidden) {
                _ = try await services.transfers.push(TreePush(), body, to: "shop", context: none)
            }
            await expectFailure(.forbidden) {
                _ = try await services.transfers.pull(TreePull(), from: "shop", context: none)
            }
            await expectFailure(.forbidden) { _ = try await services.execs.status(of: exec, context: none) }
            await expectFailure(.forbidden) {
                _ = try await services.execs.output(
                    of: exec, stream: .stdout, from: .at(ExecOffsets()), follow: false, context: none)
            }
            await expectFailure(.forbidden) {
                _ = try await services.execs.attach(exec, from: .at(ExecOffsets()), input: .at(0), context: none)
            }
            await expectFailure(.forbidden) {
                _ = try await services.transfers.watch(FileWatch(), of: "shop", context: none)
            }
            await expectFailure(.forbidden) {
                let context = world.context(world.principal([.exec, .filesRead]))
                _ = try await services.events.follow(EventQuery(), context: context)
            }
            for name in [
                "events.follow", "fs.watch", "fs.download", "fs.upload", "fs.push", "fs.pull", "shell.status",
                "shell.output",
                "shell.attach",
            ] {
                #expect(try await world.audit(name).map(\.phase) == [.denied], "\(name)")
            }
            let stranger = world.context(world.principal(in: world.other))
            await expectFailure(.notFound) {
                _ = try await services.transfers.download(FileDownload(path: "a"), from: "shop", context: stranger)
            }
            #expect(nodes[0].methods.isEmpty)
        }
    }

    @Test func tooManyRequestsInFlightAreRefused() async throws {
        try await World.with { world, nodes in
            try await world.project()
            nodes[0].onExec { _, exec in
                try await exec.started()
                while try await exec.stream.next() != nil {}
            }
            let principal = world.principal()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<Limits.requestsPerTokenInFlight {
                    group.addTask {
                        _ = try? await world.run(
                            "shell.exec", ["project": "shop", "cmd": "sleep 100"], world.context(principal))
                    }
                }
                try await eventually("all commands run") {
                    world.services.metrics.value(.execsRunning) == Double(Limits.requestsPerTokenInFlight)
                }
                let error = await expectFailure(.limit) {
                    try await world.run("projects_list", [:], world.context(principal))
                }
                #expect(error?.message.contains("\(Limits.requestsPerTokenInFlight)") == true)
                #expect(error?.retryAfterSeconds != nil)
                // Another token is not held up.
                try await world.run("projects_list")
                group.cancelAll()
            }
            try await world.run("projects_list", [:], world.context(principal))
            #expect(world.services.metrics.value(.operationsInFlight) == 0)
        }
    }
}
