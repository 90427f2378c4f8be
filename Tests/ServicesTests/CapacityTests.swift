import ControllerDomain
import ControllerServices
import FastableCore
import FoundationEssentials
import Synchronization
import TestSupport
import Testing

/// What nodes can promise, with nodes that only pretend: of 8 GiB and 4 CPUs, and containers of 1 GiB and 1 CPU.
@Suite(.endsInTime) struct CapacityTests {
    private static func report(_ awake: [ProjectID] = []) -> NodeReport {
        let statuses = awake.map { project in
            SimulatedNode.running(ContainerSpec(project: project, workspace: WorkspaceID(), image: "vibn-dev"))
        }
        return NodeReport(facts: World.facts(), containers: statuses)
    }

    /// Two reports, of which the second was gathered after everything that was asked before.
    private static func reports(_ world: World, _ node: SimulatedNode, awake: [ProjectID] = []) async {
        for _ in 0..<2 { await world.services.fleet.nodeReported(node.id, report: report(awake)) }
    }

    private static func placed(_ world: World, _ node: SimulatedNode, _ names: [String]) async throws -> [ProjectID] {
        var ids: [ProjectID] = []
        for name in names {
            ids.append(try await world.project(name))
            // Whatever it answers: the project has a node then, and no container.
            _ = try? await world.run("fs.list", ["project": .string(name)])
            await reports(world, node)
        }
        return ids
    }

    /// Each door by which a container may start or wake.
    @Test(arguments: ["shell.exec", "devcontainer.ensure", "devcontainer.resume", "devcontainer.keep_awake"])
    func nothingIsStartedBeyondWhatANodeCanPromise(operation: String) async throws {
        try await World.with({ $0.placement.memoryOvercommit = 0.25 }) { world, nodes in
            let node = nodes[0]
            node.reply(.containerResume) { (project: ProjectReference) in
                SimulatedNode.running(
                    ContainerSpec(project: project.project, workspace: WorkspaceID(), image: "vibn-dev"))
            }
            let ids = try await Self.placed(world, node, ["a", "b", "c"])
            // What was let start counts, whether its node has told it or not.
            try await world.run("shell.exec", ["project": "a", "cmd": "true"])
            try await world.run("devcontainer.ensure", ["project": "b"])
            let asked = node.methods.count
            var input: [String: JSONValue] = ["project": "c"]
            if operation == "shell.exec" { input["cmd"] = "true" }
            if operation == "devcontainer.keep_awake" { input["seconds"] = 5 }
            let wish = JSONValue.object(input)
            for _ in 0..<2 {
                let error = await expectFailure(.unavailable) { try await world.run(operation, wish) }
                #expect(error?.message.contains("2 containers are awake") == true, "\(String(describing: error))")
                #expect(error?.message.contains("0 MiB of memory left to promise, 1 GiB are needed") == true)
                #expect(error?.retryAfterSeconds == Limits.roomRetrySeconds)
                #expect(error?.details["containersAwake"] == 2)
                await Self.reports(world, node, awake: [ids[0], ids[1]])
            }
            #expect(node.methods.count == asked, "nothing of it reaches the node")
            // What is awake can be used: it is promised already.
            try await world.run("shell.exec", ["project": "b", "cmd": "true"])
            let shown = try await world.run("nodes_get", ["node": "node-1"])
            #expect(shown["containersAwake"] == 2 && shown["promised"]?["memoryBytes"] == .integer(2 << 30))
            // The place of one that was stopped is free at once.
            try await world.run("devcontainer.stop", ["project": "a"])
            if operation != "devcontainer.keep_awake" { try await world.run(operation, wish) }
        }
    }

    @Test func whatANodeSuspendedByItselfMakesRoom() async throws {
        try await World.with({ $0.placement.memoryOvercommit = 0.25 }) { world, nodes in
            let ids = try await Self.placed(world, nodes[0], ["a", "b", "c"])
            for name in ["a", "b"] { try await world.run("devcontainer.ensure", ["project": .string(name)]) }
            await Self.reports(world, nodes[0], awake: [ids[1]])
            try await world.run("devcontainer.ensure", ["project": "c"])
        }
    }

    /// A command that is followed keeps its container counted, whatever reports say meanwhile.
    @Test func aCommandThatRunsCounts() async throws {
        try await World.with({ $0.placement.memoryOvercommit = 0.125 }) { world, nodes in
            _ = try await Self.placed(world, nodes[0], ["a", "b"])
            let (gate, open) = AsyncStream.makeStream(of: Void.self)
            nodes[0].onExec { _, exec in
                try await exec.started()
                for await _ in gate { break }
                try await exec.finish()
            }
            async let running = world.run("shell.exec", ["project": "a", "cmd": "sleep"])
            try await eventually { nodes[0].methods.contains(.execStart) }
            for _ in 0..<3 { await Self.reports(world, nodes[0]) }
            await expectFailure(.unavailable) { try await world.run("devcontainer.ensure", ["project": "b"]) }
            open.finish()
            _ = try await running
            await Self.reports(world, nodes[0])
            try await world.run("devcontainer.ensure", ["project": "b"])
        }
    }

    /// Projects that are first used at the same moment see each other, although no node has told of them.
    @Test func aStormOfNewProjectsIsSpread() async throws {
        try await World.with(nodes: 2, { $0.placement.memoryOvercommit = 0.5 }) { world, nodes in
            for number in 0..<9 { try await world.project("p\(number)") }
            let refused = await withTaskGroup(of: FastableError?.self) { group in
                for number in 0..<9 {
                    group.addTask {
                        do { try await world.run("devcontainer.ensure", ["project": .string("p\(number)")]) } catch {
                            return FastableError.unexpected(error, doing: "testing")
                        }
                        return nil
                    }
                }
                return await group.reduce(into: [FastableError]()) { errors, error in
                    if let error { errors.append(error) }
                }
            }
            for node in nodes { #expect(node.methods.filter { $0 == .containerEnsure }.count == 4) }
            #expect(refused.count == 1 && refused.first?.code == .limit)
            #expect(refused.first?.message.contains("0 MiB of memory left to promise, 1 GiB are needed") == true)
        }
    }

    /// Who listens to a command hears that its container waits for its turn.
    @Test func thePlaceInTheLineIsTold() async throws {
        try await World.with { world, nodes in
            try await world.project()
            nodes[0].onExec { start, exec in
                if start.wantsStart == true {
                    let places = [
                        StartPlace(position: 2, waiting: 7), StartPlace(position: 1, waiting: 3, lacksMemory: true),
                    ]
                    for place in places { try await exec.send(.starting(StartProgress(.waiting, place.text))) }
                }
                try await exec.started()
                try await exec.finish()
            }
            let told = Mutex<[String]>([])
            let context = world.context { event in
                switch event {
                case .progress(let message, _): told.withLock { $0.append(message) }
                case .execStarted: told.withLock { $0.append("started") }
                default: break
                }
            }
            try await world.run("shell.exec", ["project": "shop", "cmd": "true"], context)
            let heard = told.withLock { $0 }
            #expect(heard.count == 3 && heard.last == "started")
            #expect(
                heard.first?.contains("number 2 of 7") == true && heard.dropFirst().first?.contains("memory") == true)
            // Nobody listens to these, and nobody is told.
            try await world.run("shell.exec", ["project": "shop", "cmd": "true"])
            try await world.run("shell.exec", ["project": "shop", "cmd": "true", "detach": true])
        }
    }
}
