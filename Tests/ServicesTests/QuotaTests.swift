import ControllerDomain
import ControllerServices
import FastableCore
import FoundationEssentials
import TestSupport
import Testing

/// What workspaces may have, with nodes that only pretend.
@Suite(.endsInTime) struct QuotaTests {
    private static func report(_ awake: [ProjectID] = []) -> NodeReport {
        let statuses = awake.map { project in
            SimulatedNode.running(ContainerSpec(project: project, workspace: WorkspaceID(), image: "vibn-dev"))
        }
        return NodeReport(facts: World.facts(), containers: statuses)
    }

    private static func reports(_ world: World, _ node: SimulatedNode, awake: [ProjectID] = []) async {
        for _ in 0..<2 { await world.services.fleet.nodeReported(node.id, report: report(awake)) }
    }

    private static func set(_ world: World, _ quota: JSONValue) async throws {
        try await world.run("workspace_set_quota", quota)
    }

    @Test(
        arguments: [
            (["containers": 2], "containers", "2 containers awake, and has 2"),
            (
                ["cpus": .number(2.5)], "cpus",
                "2.5 CPUs for containers that are awake; 2 are taken, and 1 more are needed"
            ),
            (
                ["memoryBytes": .integer(2 << 30)], "memoryBytes",
                "2 GiB of memory for containers that are awake; 2 GiB are taken"
            ),
        ] as [(JSONValue, String, String)])
    func startsBeyondAQuotaAreRefused(quota: JSONValue, name: String, words: String) async throws {
        try await World.with { world, nodes in
            let node = nodes[0]
            await Self.reports(world, node)
            try await Self.set(world, quota)
            var ids: [ProjectID] = []
            for name in ["a", "b", "c"] { ids.append(try await world.project(name)) }
            try await world.run("devcontainer.ensure", ["project": "a"])
            try await world.run("shell.exec", ["project": "b", "cmd": "true"])
            let asked = node.methods.count
            for _ in 0..<2 {
                let error = await expectFailure(.limit) {
                    try await world.run("shell.exec", ["project": "c", "cmd": "true"])
                }
                #expect(error?.message.contains(words) == true, "\(String(describing: error))")
                #expect(error?.details["quota"] == .string(name) && error?.retryAfterSeconds != nil)
                await expectFailure(.limit) { try await world.run("devcontainer.ensure", ["project": "c"]) }
                await Self.reports(world, node, awake: [ids[0], ids[1]])
            }
            #expect(node.methods.count == asked, "nothing of it reaches the node")
            // What is awake goes on, files need no container, and another workspace has its own.
            try await world.run("shell.exec", ["project": "a", "cmd": "true"])
            let stranger = world.context(world.principal(in: world.other))
            try await world.run("projects_create", ["name": "theirs"], stranger)
            try await world.run("devcontainer.ensure", ["project": "theirs"], stranger)
            let usage = try await world.run("projects_usage")
            #expect(usage["containers"]?["used"] == 2 && usage["memoryBytes"]?["used"] == .integer(2 << 30))
            #expect(usage["cpus"]?["used"] == 2 && usage["projectsWithoutDisk"] == 3)
            // One that is stopped, or whose node says that it sleeps, makes room.
            try await world.run("devcontainer.stop", ["project": "a"])
            try await world.run("devcontainer.ensure", ["project": "c"])
            await expectFailure(.limit) { try await world.run("devcontainer.ensure", ["project": "a"]) }
            await Self.reports(world, node, awake: [ids[2]])
            try await world.run("devcontainer.ensure", ["project": "a"])
        }
    }

    /// Of any number of starts at the same time as many go through as may.
    @Test func concurrentStartsDoNotPassAQuota() async throws {
        try await World.with(nodes: 2) { world, nodes in
            for node in nodes { await Self.reports(world, node) }
            try await Self.set(world, ["containers": 5])
            for number in 0..<16 { try await world.project("p\(number)") }
            let found = await withTaskGroup(of: FastableError.Code?.self) { group in
                for number in 0..<16 {
                    group.addTask {
                        do { try await world.run("devcontainer.ensure", ["project": .string("p\(number)")]) } catch {
                            return FastableError.unexpected(error, doing: "testing").code
                        }
                        return nil
                    }
                }
                return await group.reduce(into: [FastableError.Code?]()) { $0.append($1) }
            }
            #expect(found.filter { $0 == nil }.count == 5 && found.filter { $0 == .limit }.count == 11)
            let asked = nodes.flatMap(\.methods).filter { $0 == .containerEnsure }.count
            #expect(asked == 5)
        }
    }

    /// A controller that starts anew knows what is awake from its nodes, and lets nothing start before they have told.
    @Test func aRestartedControllerAsksItsNodesFirst() async throws {
        try await World.with { world, nodes in
            let id = try await world.project("a")
            try await world.project("b")
            await Self.reports(world, nodes[0])
            try await Self.set(world, ["containers": 1])
            try await world.run("devcontainer.ensure", ["project": "a"])
            let again = try await world.restarted()
            let early = await expectFailure(.unavailable) {
                try await again.run("devcontainer.ensure", ["project": "b"])
            }
            #expect(early?.retryAfterSeconds == Limits.reportRetrySeconds)
            await again.services.fleet.nodeReported(nodes[0].id, report: Self.report([id]))
            await expectFailure(.limit) { try await again.run("devcontainer.ensure", ["project": "b"]) }
            try await again.run("devcontainer.ensure", ["project": "a"])
            await again.services.audit.flush()
        }
    }

    /// A node speaks for its own projects only.
    @Test func whatANodeTellsOfOthersProjectsDoesNotCount() async throws {
        try await World.with(nodes: 2) { world, nodes in
            for node in nodes { await Self.reports(world, node) }
            let id = try await world.project("a")
            try await world.run("devcontainer.ensure", ["project": "a"])
            let other = try #require(nodes.first { !$0.methods.contains(.containerEnsure) })
            let own = try #require(nodes.first { $0.id != other.id })
            await Self.reports(world, own)
            await Self.reports(world, other, awake: [id, ProjectID()])
            #expect(try await world.run("projects_usage")["containers"]?["used"] == 0)
        }
    }

    /// More for a container that is awake is asked of the quota; less, and more for one that sleeps, is not.
    @Test func limitsOfAnAwakeContainerStayWithinTheQuota() async throws {
        try await World.with { world, nodes in
            let node = nodes[0]
            node.reply(.containerLimits) { (wish: ContainerLimits) in
                SimulatedNode.running(
                    ContainerSpec(
                        project: wish.project, workspace: WorkspaceID(), image: "vibn-dev", limits: wish.limits))
            }
            await Self.reports(world, node)
            try await Self.set(world, ["memoryBytes": .integer(3 << 30)])
            for name in ["a", "b"] { try await world.project(name) }
            try await world.run("devcontainer.ensure", ["project": "a"])
            let wish: JSONValue = ["project": "a", "memoryBytes": .integer(4 << 30)]
            await expectFailure(.limit) { try await world.run("devcontainer.limits", wish) }
            #expect(
                try await world.run("projects_get", ["project": "a"])["limits"]?["memoryBytes"] == .integer(1 << 30))
            try await world.run("devcontainer.limits", ["project": "a", "memoryBytes": .integer(5 << 29)])
            await expectFailure(.limit) { try await world.run("devcontainer.ensure", ["project": "b"]) }
            try await world.run("devcontainer.limits", ["project": "a", "memoryBytes": .integer(2 << 30)])
            await Self.reports(world, node)
            try await world.run("devcontainer.ensure", ["project": "a"])
            try await world.run("devcontainer.ensure", ["project": "b"])
            // One that can never start says so.
            try await world.run("devcontainer.stop", ["project": "b"])
            try await world.run("devcontainer.limits", ["project": "b", "memoryBytes": .integer(4 << 30)])
            let error = await expectFailure(.limit) { try await world.run("devcontainer.ensure", ["project": "b"]) }
            #expect(error?.retryAfterSeconds == nil && error?.message.contains("lower its limits") == true)
        }
    }

    @Test func quotasAreSetByOperatorsAndSeenByAll() async throws {
        try await World.with { world, _ in
            let answer = try await world.run(
                "workspace_set_quota", ["workspace": "other", "containers": 3, "diskBytes": .integer(20 << 30)])
            #expect(answer["workspace"] == "other" && answer["containers"]?["allowed"] == 3)
            #expect(answer["cpus"]?["allowed"] == nil && answer["diskBytes"]?["used"] == 0)
            #expect(try await world.run("projects_usage")["containers"]?["allowed"] == nil)
            let reader = world.context(world.principal([.projectsRead], in: world.other))
            #expect(try await world.run("projects_usage", [:], reader)["containers"]?["allowed"] == 3)
            await expectFailure(.notFound) {
                try await world.run("projects_usage", ["workspace": "default"], reader)
            }
            await expectFailure(.notFound) { try await world.run("workspace_set_quota", ["workspace": "none"]) }
            let events = try await world.audit("workspace_set_quota")
            #expect(events.first?.detail["containers"] == 3 && events.first?.subject == "other")
            // It replaces the earlier one.
            let cleared = try await world.run("workspace_set_quota", ["workspace": "other"])
            #expect(cleared["containers"]?["allowed"] == nil)
            // A project without a disk is refused where disks are bounded.
            try await world.run("workspace_set_quota", ["diskBytes": .integer(2 << 30)])
            await expectFailure(.unprocessable) { try await world.project("unbound") }
            let limits: JSONValue = ["diskBytes": .integer(2 << 30)]
            try await world.run("projects_create", ["name": "bound", "limits": limits])
            await expectFailure(.limit) {
                try await world.run("projects_create", ["name": "more", "limits": limits])
            }
        }
    }
}
