import ControllerDomain
import ControllerServices
import FastableCore
import FastableWire
import FoundationEssentials
import NIOCore
import Synchronization
import TestSupport
import Testing

/// Kill switches from the doors to the links, with nodes that only pretend.
@Suite(.endsInTime) struct KillTests {
    /// A node that carries out all that it is told, and remembers it.
    private final class ObedientNode: Sendable {
        let orders = Mutex<[KillOrder]>([])

        init(_ node: SimulatedNode, containers: Int = 1, delay: Duration = .zero) {
            node.reply(.killApply) { [self] (order: KillOrder) in
                orders.withLock { $0.append(order) }
                try await Task.sleep(for: delay)
                let receipts =
                    order.asked == nil
                    ? []
                    : (0..<containers).map { _ in
                        KillReceipt(project: ProjectID(), container: ContainerID(), execs: 2, effect: .ended)
                    }
                return KillAnswer(
                    state: NodeSwitchState(version: order.set.version, pending: [], local: nil), receipts: receipts)
            }
        }

        var last: KillSwitchSet? { orders.withLock { $0.last?.set } }
    }

    private static func names(_ answer: JSONValue, _ field: String) -> [String] {
        (answer[field]?.array ?? []).compactMap { $0["name"]?.string ?? $0.string }
    }

    private static func lift(_ world: World, _ id: JSONValue?) async throws -> JSONValue {
        try await world.run("kill.lift", ["id": id ?? .null])
    }

    @Test func theAnswerListsWhoAcknowledgedAndWhoDidNot() async throws {
        let (held, release) = AsyncStream.makeStream(of: Void.self)
        defer { release.finish() }
        // Long enough for the first node on a busy machine. The second answers nobody before the test is over.
        try await World.with(nodes: 3, { $0.killAnswerMilliseconds = 10_000 }) { world, nodes in
            _ = ObedientNode(nodes[0], containers: 3)
            nodes[1].reply(.killApply) { (_: KillOrder) -> KillAnswer in
                for await _ in held {}
                throw FastableError(.internal, "too late")
            }
            world.directory.drop(nodes[2].id)
            let began = ContinuousClock.now
            let answer = try await world.run("admin_kill_all", ["reason": "fire", "hold": true])
            let took = ContinuousClock.now - began
            print("kill of all with a node that hangs and one that is away: answered after \(took)")
            #expect(Self.names(answer, "acknowledged") == ["node-1"])
            #expect(Set(Self.names(answer, "missing")) == ["node-2", "node-3"])
            #expect(answer["containers"]?.integer == 3 && answer["execs"]?.integer == 6)
            let listed = try await world.run("kill.list")["switches"]?.array?.first
            #expect(Set(listed?["awaited"]?.array?.compactMap(\.string) ?? []) == ["node-2", "node-3"])
            let outcome = try await world.audit("admin_kill_all").last
            #expect(outcome?.detail["reason"] == "fire")
            #expect(outcome?.detail["missing"]?.array?.count == 2)
        }
    }

    @Test func aNodeThatHangsDelaysTheAnswerForTwoSecondsAtMost() async throws {
        #expect(Limits.killAnswerMilliseconds <= 2000)
        // The best of some: what else the machine does at a moment is nobody's kill.
        var best = Duration.seconds(3600)
        for _ in 0..<3 where best >= .seconds(4) { best = min(best, try await Self.killBesideANodeThatHangs()) }
        #expect(best < .seconds(4))
    }

    /// How long the answer takes, with the time that a controller gives its nodes unless told otherwise; an hour when the node that works
    /// was too slow for it.
    private static func killBesideANodeThatHangs() async throws -> Duration {
        let (held, release) = AsyncStream.makeStream(of: Void.self)
        defer { release.finish() }
        return try await World.with(nodes: 2) { world, nodes in
            _ = ObedientNode(nodes[0])
            nodes[1].reply(.killApply) { (_: KillOrder) -> KillAnswer in
                for await _ in held {}
                throw FastableError(.internal, "too late")
            }
            // A controller that was started anew has the usual configuration.
            let usual = try await world.restarted()
            let began = ContinuousClock.now
            let answer = try await usual.run("admin_kill_all", ["reason": "fire"])
            let took = ContinuousClock.now - began
            #expect(took >= .milliseconds(Limits.killAnswerMilliseconds))
            #expect(Self.names(answer, "missing").contains("node-2"))
            let outcome = try await usual.audit("admin_kill_all").last
            #expect(outcome?.detail["missing"]?.array?.isEmpty == false)
            return Self.names(answer, "acknowledged") == ["node-1"] ? took : .seconds(3600)
        }
    }

    @Test func theReasonIsAuditedBeforeAnythingEnds() async throws {
        try await World.with { world, nodes in
            let node = ObedientNode(nodes[0])
            try await world.project()
            try await world.run("devcontainer.ensure", ["project": "shop"])
            try await world.run("kill.project", ["project": "shop", "reason": "it mines"])
            let events = try await world.audit("kill.project")
            #expect(events.map(\.phase) == [.intent, .outcome])
            #expect(events.allSatisfy { $0.detail["reason"] == "it mines" })
            #expect(node.orders.withLock { $0.count } == 1)
            for reason in ["", "a\nb", "  ", String(repeating: "x", count: Limits.killReasonBytes + 1)] {
                await expectFailure(.unprocessable) {
                    try await world.run("kill.project", ["project": "shop", "reason": .string(reason)])
                }
            }
            await expectFailure(.invalid) { try await world.run("kill.project", ["project": "shop"]) }
            #expect(node.orders.withLock { $0.count } == 1)
        }
    }

    @Test func aDryRunTellsAndDoesNothing() async throws {
        try await World.with { world, nodes in
            let node = ObedientNode(nodes[0])
            try await world.project()
            let answer = try await world.run("admin_kill_all", ["reason": "look", "dryRun": true])
            #expect(answer["dryRun"] == true && answer["id"] == nil)
            #expect(node.orders.withLock { $0.isEmpty })
            #expect(try await world.run("kill.list")["switches"] == [])
        }
    }

    @Test func whatIsHeldIsRefusedHereUntilItIsLifted() async throws {
        try await World.with { world, nodes in
            let node = ObedientNode(nodes[0])
            try await world.project()
            try await world.project("other")
            for name in ["shop", "other"] { try await world.run("devcontainer.ensure", ["project": .string(name)]) }
            let answer = try await world.run("kill.project", ["project": "shop", "reason": "it mines", "hold": true])
            let asked = nodes[0].methods.count
            for (operation, input) in [
                ("shell.exec", ["project": "shop", "cmd": "true"] as JSONValue),
                ("devcontainer.ensure", ["project": "shop"]),
            ] {
                let error = await expectFailure(.unavailable) { try await world.run(operation, input) }
                #expect(error?.message.contains("it mines") == true, "\(operation)")
                #expect(error?.details["killSwitch"] == answer["id"])
            }
            #expect(nodes[0].methods.count == asked, "the node is not even asked")
            try await world.run("shell.exec", ["project": "other", "cmd": "true"])
            // The same once more is the same switch.
            let again = try await world.run("kill.project", ["project": "shop", "reason": "again", "hold": true])
            #expect(again["id"] == answer["id"])
            #expect(Self.names(try await Self.lift(world, answer["id"]), "acknowledged") == ["node-1"])
            #expect(node.last?.switches == [])
            try await world.run("shell.exec", ["project": "shop", "cmd": "true"])
            await expectFailure(.notFound) { _ = try await Self.lift(world, answer["id"]) }
        }
    }

    @Test func switchesAndTheirVersionsSurviveTheController() async throws {
        try await World.with { world, nodes in
            _ = ObedientNode(nodes[0])
            try await world.project()
            try await world.run("admin_kill_all", ["reason": "fire", "hold": true])
            let before = try await world.services.fleet.switches(for: nodes[0].id)
            let restarted = try await world.restarted()
            let after = try await restarted.services.fleet.switches(for: nodes[0].id)
            #expect(after.switches == before.switches && after.version >= before.version)
            await expectFailure(.unavailable) {
                try await restarted.run("shell.exec", ["project": "shop", "cmd": "true"])
            }
        }
    }

    @Test func aNodeThatWasAwayIsWaitedForAndThenTheKillIsOver() async throws {
        try await World.with(nodes: 2) { world, nodes in
            _ = ObedientNode(nodes[0])
            world.directory.drop(nodes[1].id)
            let answer = try await world.run("admin_kill_all", ["reason": "fire"])
            #expect(Self.names(answer, "missing") == ["node-2"])
            let set = try await world.services.fleet.switches(for: nodes[1].id)
            #expect(set.switches.map(\.id.description) == [answer["id"]?.string], "it hears of it with its welcome")
            func report(_ pending: [KillSwitchID]) async {
                let state = NodeSwitchState(version: set.version, pending: pending, local: nil)
                await world.services.fleet.nodeReported(
                    nodes[1].id, report: NodeReport(facts: World.facts(), containers: [], switches: state))
            }
            await report(set.switches.map(\.id))
            #expect(try await world.run("kill.list")["switches"]?.array?.count == 1)
            await report([])
            #expect(try await world.run("kill.list")["switches"] == [])
            let late = try await world.audit("kill.acknowledged")
            #expect(late.map(\.subject) == [nodes[1].id.description])
            #expect(late.first?.detail["killSwitch"] == answer["id"])
        }
    }

    @Test func aNodeThatIsBehindIsToldAgain() async throws {
        try await World.with { world, nodes in
            world.directory.drop(nodes[0].id)
            try await world.run("admin_kill_all", ["reason": "fire", "hold": true])
            let back = try await world.reconnected(nodes[0].id)
            let node = ObedientNode(back)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { await back.run() }
                let state = NodeSwitchState(version: 0, pending: [], local: nil)
                await world.services.fleet.nodeReported(
                    back.id, report: NodeReport(facts: World.facts(), containers: [], switches: state))
                try await eventually("it is told") { node.last?.switches.count == 1 }
                group.cancelAll()
            }
        }
    }

    @Test func pathBStopsNewWorkAndComesBack() async throws {
        try await World.with { world, nodes in
            let node = ObedientNode(nodes[0], containers: 0)
            try await world.project()
            try await world.run("admin_disable", ["reason": "maintenance"])
            #expect(node.last?.switches.map(\.mode) == [.noNewWork])
            for operation in ["shell.exec", "devcontainer.ensure"] {
                let input: JSONValue =
                    operation == "shell.exec" ? ["project": "shop", "cmd": "true"] : ["project": "shop"]
                let error = await expectFailure(.unavailable) { try await world.run(operation, input) }
                #expect(error?.message.contains("Path B") == true && error?.message.contains("maintenance") == true)
            }
            let empty = AsyncStream<ByteBuffer> { $0.finish() }
            await expectFailure(.unavailable) {
                _ = try await world.services.transfers.push(TreePush(), empty, to: "shop", context: world.context())
            }
            #expect(try await world.run("admin_enable")["changed"] == true)
            #expect(node.last?.switches == [])
            #expect(try await world.run("admin_enable")["changed"] == false)
            try await world.run("shell.exec", ["project": "shop", "cmd": "true"])
        }
    }

    @Test func aSweepAsksEveryNode() async throws {
        try await World.with(nodes: 2) { world, nodes in
            nodes[0].reply(.idleSweep) { (sweep: IdleSweep) in IdleSweepResult(stopped: sweep.idleSeconds, kept: 1) }
            world.directory.drop(nodes[1].id)
            let answer = try await world.run("admin_idle_sweep", ["minutes": 2])
            #expect(answer["stopped"]?.integer == 120 && answer["kept"]?.integer == 1)
            #expect(Self.names(answer, "missing") == ["node-2"])
        }
    }

    // MARK: who may

    @Test func aWorkspaceEndsItsOwnAndNothingElse() async throws {
        try await World.with { world, nodes in
            _ = ObedientNode(nodes[0])
            try await world.project()
            let own = world.context(world.principal([.exec]))
            let stranger = world.context(world.principal([.exec], in: world.other))
            await expectFailure(.notFound) {
                try await world.run("kill.project", ["project": "shop", "reason": "x"], stranger)
            }
            await expectFailure(.notFound) {
                try await world.run("kill.workspace", ["workspace": "other", "reason": "x"], own)
            }
            for operation in ["admin_kill_all", "admin_disable"] {
                await expectFailure(.forbidden) { try await world.run(operation, ["reason": "x"], own) }
            }
            let mine = try await world.run("kill.workspace", ["reason": "mine", "hold": true], own)
            #expect(mine["target"]?.string == world.workspace.description)
            // Its switch is nobody else's.
            #expect(try await world.run("kill.list", [:], stranger)["switches"] == [])
            await expectFailure(.notFound) { try await world.run("kill.lift", ["id": mine["id"] ?? .null], stranger) }
            try await world.run("kill.lift", ["id": mine["id"] ?? .null], own)
        }
    }

    @Test func whatAnOperatorHoldsAWorkspaceDoesNotLift() async throws {
        try await World.with { world, nodes in
            _ = ObedientNode(nodes[0])
            try await world.project()
            let own = world.context(world.principal([.exec]))
            let held = try await world.run("kill.workspace", ["reason": "abuse", "hold": true])
            #expect(try await world.run("kill.list", [:], own)["switches"]?.array?.count == 1)
            await expectFailure(.forbidden) { try await world.run("kill.lift", ["id": held["id"] ?? .null], own) }
            await expectFailure(.unavailable) {
                try await world.run("shell.exec", ["project": "shop", "cmd": "true"], own)
            }
            let all = try await world.run("admin_kill_all", ["reason": "fire", "hold": true])
            await expectFailure(.notFound) { try await world.run("kill.lift", ["id": all["id"] ?? .null], own) }
            // One of its own beside it changes nothing.
            let mine = try await world.run("kill.workspace", ["reason": "me too", "hold": true], own)
            #expect(mine["id"] != held["id"])
            try await world.run("kill.lift", ["id": mine["id"] ?? .null], own)
            await expectFailure(.unavailable) {
                try await world.run("shell.exec", ["project": "shop", "cmd": "true"], own)
            }
        }
    }

    @Test func aHeldNodeGetsNoNewProjects() async throws {
        try await World.with(nodes: 2) { world, nodes in
            for node in nodes { _ = ObedientNode(node) }
            try await world.run("admin_kill_node", ["node": "node-1", "reason": "disk", "hold": true])
            for index in 0..<4 {
                try await world.project("p\(index)")
                try await world.run("shell.exec", ["project": .string("p\(index)"), "cmd": "true"])
            }
            #expect(try nodes[0].requests(.execStart, ExecStart.self).isEmpty)
            #expect(try nodes[1].requests(.execStart, ExecStart.self).count == 4)
        }
    }

    @Test func aRefusalOfTheNodeReachesTheCallerAsItIs() async throws {
        try await World.with { world, nodes in
            try await world.project()
            let local = KillSwitch(
                scope: .all, mode: .kill, holds: true, reason: "fire", by: "root", owner: .host, since: Date())
            nodes[0].handle(.execStart) { stream, _ in stream.reset(local.refusal) }
            let error = await expectFailure(.unavailable) {
                try await world.run("shell.exec", ["project": "shop", "cmd": "true"])
            }
            #expect(error?.message == local.refusal.message)
        }
    }
}
