import ControllerDomain
import ControllerServices
import ControllerStore
import FastableCore
import FastableWire
import FoundationEssentials
import NIOCore
import Synchronization
import TestSupport
import Testing

/// Saved work and copies when nodes hang, switches are held, and controllers die.
@Suite(.endsInTime) struct SavedWorkFaultTests {
    private static func hold(_ world: World, _ node: SimulatedNode) async throws {
        node.reply(.killApply) { (_: KillOrder) in
            KillAnswer(state: NodeSwitchState(version: 1, pending: [], local: nil), receipts: [], problem: nil)
        }
        try await world.run("kill.workspace", ["reason": "looks odd", "hold": true])
    }

    @Test func aHeldSwitchRefusesWhatBringsContent() async throws {
        try await World.with { world, nodes in
            try await world.project()
            nodes[0].has(try SimulatedArchive())
            _ = nodes[0].takesRestores()
            let taken = try await world.run("projects_snapshot", ["project": "shop"])
            let snapshot = try #require(taken["id"])
            try await Self.hold(world, nodes[0])
            let before = nodes[0].methods.count
            let tries: [(String, JSONValue)] = [
                ("projects_restore", ["project": "shop"]),
                ("projects_rollback", ["project": "shop", "at": .string(CheckpointID().description)]),
                ("projects_fork", ["project": "shop", "name": "forked"]),
                ("projects_create", ["name": "again", "snapshot": snapshot]),
                ("projects_create", ["name": "cloned", "git": ["url": "https://example.com/a.git"]]),
            ]
            for (operation, input) in tries {
                let refused = await expectFailure(.unavailable) { try await world.run(operation, input) }
                #expect(refused?.details["killSwitch"] != nil, "\(operation)")
            }
            #expect(nodes[0].methods.count == before, "nothing reached the node")
            #expect(try await world.run("projects_list")["projects"]?.array?.count == 1, "nothing new is left")
        }
    }

    /// A node that takes calls and answers none must leave the places to others.
    @Test func aNodeThatHangsHoldsNoPlace() async throws {
        // What is not held answers within that time on a busy machine too.
        try await World.with(nodes: 1, { $0.snapshotStallSeconds = 6 }) { world, nodes in
            try await world.project()
            let archive = try SimulatedArchive()
            nodes[0].has(archive)
            try await world.run("projects_snapshot", ["project": "shop"])
            let hang: SimulatedNode.Handler = { _, _ in try await Task.sleep(for: .seconds(3600)) }
            for method in [NodeMethod.snapshotRead, .snapshotRestore] { nodes[0].handle(method, hang) }
            await withTaskGroup(of: Void.self) { group in
                for index in 0..<(2 * Limits.snapshotsAtOnce) {
                    group.addTask {
                        let operation = index.isMultiple(of: 2) ? "projects_snapshot" : "projects_restore"
                        await expectFailure(.timeout) { try await world.run(operation, ["project": "shop"]) }
                    }
                }
            }
            nodes[0].has(archive)
            try await world.run("projects_snapshot", ["project": "shop"])
        }
    }

    @Test func aProjectIsStoppedBeforeItIsSavedAndDeleted() async throws {
        try await World.with { world, nodes in
            try await world.project()
            try await world.run("devcontainer.ensure", ["project": "shop"])
            nodes[0].has(try SimulatedArchive())
            try await world.run("projects_delete", ["project": "shop"])
            let methods = nodes[0].methods.filter { [.containerStop, .snapshotRead, .projectDelete].contains($0) }
            #expect(methods.first == .containerStop && methods.last == .projectDelete)
            #expect(methods.filter { $0 == .containerStop }.count == 1)
        }
    }

    /// The controller that was making them was killed: nobody finds half of one.
    @Test func whatWasNeverFilledIsRemoved() async throws {
        try await World.with { world, nodes in
            let project = try await world.project()
            let shop = try #require(try await world.store.activeProjects([project]).first)
            try await world.store.createProject(
                Project(
                    id: ProjectID(), workspace: world.workspace, name: "half", image: "vibn-dev", node: nodes[0].id,
                    createdAt: .nowMilliseconds), isFilling: true)
            let next = try await world.restarted()
            let running = Task { try await next.services.run() }
            try await eventually("the half is gone") {
                try await next.run("projects_list")["projects"]?.array?.compactMap { $0["name"]?.string } == ["shop"]
            }
            try await eventually("its node forgot it") { nodes[0].methods.contains(.projectDelete) }
            running.cancel()
            try await running.value
            #expect(try await world.store.activeProjects([project]) == [shop])
        }
    }

    @Test func aFilledProjectStays() async throws {
        try await World.with { world, nodes in
            try await world.project()
            try await world.run("devcontainer.ensure", ["project": "shop"])
            nodes[0].handle(.projectFork) { stream, _ in
                let result = TreeWorkResult(entries: 1, contentBytes: 1, changedFiles: 0, skipped: 0)
                try await SimulatedNode.send(NodeReply.success(TreeWorkEvent.finished(result)), on: stream)
            }
            try await world.run("projects_fork", ["project": "shop", "name": "forked"])
            #expect(try await world.store.fillingProjects(limit: 10).isEmpty)
        }
    }
}
