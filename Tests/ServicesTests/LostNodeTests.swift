import ControllerDomain
import ControllerServices
import ControllerStore
import FastableCore
import FastableWire
import FoundationEssentials
import Synchronization
import TestSupport
import Testing

/// Nodes that stay away, with nodes that only pretend.
@Suite(.endsInTime) struct LostNodeTests {
    private struct Scene {
        let world: World
        let nodes: [SimulatedNode]
        let residents: [SimulatedResidents]
        let restored: [RestoredArchives]
        let archive: SimulatedArchive
        let project: ProjectID

        /// A project on the first node, which is told what its workspace wants.
        init(
            _ world: World, _ nodes: [SimulatedNode], policy: OnNodeLost, keepsLease: Bool = true, isTold: Bool = true
        ) async throws {
            (self.world, self.nodes) = (world, nodes)
            let archive = try SimulatedArchive(files: 2, fileBytes: 20_000)
            self.archive = archive
            residents = nodes.map { $0.houses(archive) }
            restored = nodes.map { $0.takesRestores() }
            for node in nodes {
                _ = try await world.services.fleet.nodeReturns(node.id, keepsLease: keepsLease)
                if isTold { node.reply(.containerPolicy) { (_: ContainerPolicy) in Empty() } }
            }
            try await world.run("nodes_cordon", ["node": "node-2"])
            project = try await world.project()
            try await world.run("devcontainer.ensure", ["project": "shop"])
            try await world.run("nodes_uncordon", ["node": "node-2"])
            try await world.run("workspace_set_lifecycle", ["onNodeLost": .string(policy.rawValue)])
            if isTold {
                let (store, id) = (world.store, nodes[0].id)
                try await eventually("the node knows") {
                    try await store.unsentLifecycles(on: id, after: nil, limit: 9).isEmpty
                }
            }
        }

        func save() async throws { try await world.run("projects_snapshot", ["project": "shop"]) }

        /// It is away for so long; for no longer where that is not to be long enough, however slow this is.
        func lose(for seconds: Int = Limits.nodeLostAfterSeconds + 5) async {
            let gone = ContinuousClock.now
            world.directory.drop(nodes[0].id)
            await world.services.fleet.nodeDisconnected(nodes[0].id)
            let start: ContinuousClock.Instant = seconds < Limits.nodeLostAfterSeconds ? gone : .now
            await world.services.conditions.look(now: start + .seconds(seconds))
        }

        func read() async throws { try await world.run("fs.read", ["project": "shop", "path": "a"]) }

        func use() async throws { await expectFailure(.unprocessable) { try await read() } }

        func expectWaiting(_ words: String) async throws {
            let refused = await expectFailure(.unavailable) {
                try await world.run("fs.read", ["project": "shop", "path": "a"])
            }
            #expect(refused?.message.contains(words) == true, "\(refused?.message ?? "")")
            #expect(try await world.run("projects_get", ["project": "shop"])["node"] == "node-1")
            #expect(try await world.store.departures(from: nodes[0].id).isEmpty)
            #expect(restored.allSatisfy { $0.all.isEmpty })
        }
    }

    @Test func aProjectGoesOnElsewhereFromItsLastSnapshot() async throws {
        try await World.with(nodes: 2) { world, nodes in
            let scene = try await Scene(world, nodes, policy: .restore)
            try await scene.save()
            await scene.lose(for: Limits.nodeLostAfterSeconds - 5)
            try await scene.expectWaiting("is offline")
            await scene.lose()
            try await scene.use()
            let shown = try await world.run("projects_get", ["project": "shop"])
            #expect(shown["node"] == "node-2" && shown["archive"] == nil)
            #expect(scene.restored[1].all.map(\.bytes) == [scene.archive.bytes])
            #expect(scene.residents[1].residents[scene.project]?.stay == 1)
            let events = try await world.store.events(
                EventFilter(workspaces: [world.workspace]), after: 0, limit: 50
            ).events.map(\.event.kind)
            #expect(events.suffix(2) == [.projectLeftLostNode, .projectRestored])
            #expect(try await world.audit("project.left_lost_node").count == 1)
            let pending = try await world.run("projects_snapshots", ["project": "shop"])["setAside"]?.array?.first
            #expect(pending?["node"] == "node-1" && pending?["doneAt"] == nil)
            // The node comes back: it hears of that before anything else, and says where it has put what it had.
            let (departed, lease) = try await world.services.fleet.nodeReturns(nodes[0].id, keepsLease: true)
            #expect(departed == [ProjectDeparture(project: scene.project, stay: 0)])
            #expect((lease?.seconds ?? 0) * 2 <= Limits.nodeLostAfterSeconds)
            let back = try await world.reconnected(nodes[0].id)
            let running = Task { await back.run() }
            defer { running.cancel() }
            let asked = Mutex<[ProjectDeparture]>([])
            back.reply(.projectSetAside) { (departure: ProjectDeparture) in
                asked.withLock { $0.append(departure) }
                return SetAsideCopy(path: "/set-aside/copy")
            }
            await world.services.archiver.sweepRemains()
            #expect(asked.withLock(\.self) == departed)
            let done = try await world.run("projects_snapshots", ["project": "shop"])["setAside"]?.array?.first
            #expect(done?["path"] == "/set-aside/copy" && done?["doneAt"] != nil)
            #expect(try await world.store.departures(from: nodes[0].id).isEmpty)
            #expect(scene.residents[0].releases.isEmpty, "nothing of it is removed")
            #expect(try await world.run("nodes_get", ["node": "node-1"])["state"] == "ready")
        }
    }

    @Test func aWorkspaceThatWantsToWaitWaits() async throws {
        try await World.with(nodes: 2) { world, nodes in
            let scene = try await Scene(world, nodes, policy: .wait)
            try await scene.save()
            await scene.lose()
            try await scene.expectWaiting("is offline")
            #expect(try await world.run("nodes_get", ["node": "node-1"])["state"] == "lost")
        }
    }

    @Test func withoutASnapshotItWaits() async throws {
        try await World.with(nodes: 2) { world, nodes in
            let scene = try await Scene(world, nodes, policy: .restore)
            await scene.lose()
            try await scene.expectWaiting("there is no snapshot")
        }
    }

    /// A node that would not end the container by itself must not have it started elsewhere.
    @Test(arguments: [true, false]) func whatMightStillRunIsNotStartedTwice(keepsLease: Bool) async throws {
        try await World.with(nodes: 2) { world, nodes in
            let scene = try await Scene(world, nodes, policy: .restore, keepsLease: keepsLease, isTold: !keepsLease)
            try await scene.save()
            await scene.lose()
            try await scene.expectWaiting("was not known to stop it")
        }
    }

    /// The node had been asked to give the project up, and nobody knows whether it did.
    @Test(arguments: ["nodes_drain", "devcontainer.archive"])
    func whatWasToBeGivenUpGoesOnElsewhere(operation: String) async throws {
        try await World.with(nodes: 2) { world, nodes in
            let scene = try await Scene(world, nodes, policy: .restore)
            scene.residents[0].refuse(FastableError(.unavailable, "The link to the node was lost."))
            if operation == "nodes_drain" {
                try await world.run("nodes_drain", ["node": "node-1"])
                await world.services.drainer.round()
            } else {
                try await world.run("devcontainer.stop", ["project": "shop"])
                await expectFailure(.unavailable) { try await world.run("devcontainer.archive", ["project": "shop"]) }
            }
            try await eventually("it was asked") {
                let project = try await world.store.activeProjects([scene.project]).first
                return project?.isAway == true && !scene.residents[0].releases.isEmpty
            }
            await scene.lose(for: Limits.nodeLostAfterSeconds - 5)
            await expectFailure(.unavailable) { try await scene.read() }
            await scene.lose()
            try await scene.use()
            #expect(try await world.run("projects_get", ["project": "shop"])["node"] == "node-2")
            #expect(scene.restored[1].all.last?.bytes == scene.archive.bytes)
            #expect(
                try await world.store.departures(from: nodes[0].id) == [
                    ProjectDeparture(project: scene.project, stay: 0)
                ])
            try await eventually("what the other node had of the move is gone") {
                try await world.store.remains(of: scene.project, after: nil, limit: 9).map(\.kind) == [.setAside]
            }
        }
    }

    /// A node that gets an archived project vanishes: the project does not wait for it.
    @Test func aRestoreGoesToAnotherNode() async throws {
        try await World.with(nodes: 2) { world, nodes in
            let scene = try await Scene(world, nodes, policy: .wait)
            try await world.run("devcontainer.stop", ["project": "shop"])
            try await world.run("devcontainer.archive", ["project": "shop"])
            _ = try await world.store.beginRestore(of: scene.project, on: nodes[0].id, at: .nowMilliseconds)
            world.directory.drop(nodes[0].id)
            try await scene.use()
            #expect(try await world.run("projects_get", ["project": "shop"])["node"] == "node-2")
            #expect(scene.residents[1].residents[scene.project]?.stay == 2)
            let remains = try await world.store.remains(of: scene.project, after: nil, limit: 9)
            #expect(remains.map(\.node) == [nodes[0].id] && remains.map(\.stay) == [1])
            let back = try await world.reconnected(nodes[0].id)
            let running = Task { await back.run() }
            defer { running.cancel() }
            let residents = back.houses(scene.archive)
            await world.services.archiver.sweepRemains()
            #expect(residents.releases == [ProjectRelease(project: scene.project, stay: 1, saved: nil)])
            #expect(try await world.store.remains(of: nil, after: nil, limit: 9).isEmpty)
        }
    }

    /// From the moment at which a node is let in, nothing leaves it, also when its link ends at once and somebody looks late.
    @Test func aNodeThatIsBackIsNotLost() async throws {
        try await World.with(nodes: 2) { world, nodes in
            let scene = try await Scene(world, nodes, policy: .restore)
            try await scene.save()
            await scene.lose()
            #expect(try await world.services.fleet.nodeReturns(nodes[0].id, keepsLease: true).departed.isEmpty)
            try await scene.expectWaiting("is offline")
            await world.services.conditions.look()
            try await scene.expectWaiting("is offline")
            let next = try await world.restarted()
            await next.services.conditions.look()
            await expectFailure(.unavailable) { try await next.run("fs.read", ["project": "shop", "path": "a"]) }
            #expect(scene.restored.allSatisfy { $0.all.isEmpty })
        }
    }

    /// A lease that was longer may still hold when the setting is shortened.
    @Test func aShorterSettingWaitsForTheLongerLease() async throws {
        try await World.with(nodes: 2) { world, nodes in
            let scene = try await Scene(world, nodes, policy: .restore)
            try await scene.save()
            #expect(try await world.store.node(.id(nodes[0].id)).leaseSeconds == Limits.nodeLostAfterSeconds / 2)
            try await world.store.nodeReturns(nodes[0].id, leaseSeconds: 10)
            #expect(try await world.store.node(.id(nodes[0].id)).leaseSeconds == Limits.nodeLostAfterSeconds / 2)
            try await world.store.nodeReturns(nodes[0].id, leaseSeconds: nil)
            #expect(try await world.store.node(.id(nodes[0].id)).leaseSeconds == nil)
        }
    }
}
