import ControllerDomain
import ControllerServices
import ControllerStore
import FastableCore
import FoundationEssentials
import TestSupport
import Testing

/// What the controller makes of a node whose disk becomes full, and of images that somebody still needs.
@Suite(.endsInTime) struct NodeDiskTests {
    private static func report(
        _ world: World, _ node: NodeID, _ pressure: DiskPressure?, reclaimed: DiskReclaimed? = nil
    ) async {
        var facts = World.facts()
        facts.diskPressure = pressure
        facts.diskReclaimed = reclaimed
        world.directory.set(facts, of: node)
        await world.services.fleet.nodeReported(node, report: NodeReport(facts: facts, containers: []))
    }

    private static func told(_ world: World) async throws -> [[String?]] {
        try await world.store.events(EventFilter(workspaces: [.system]), after: 0, limit: 100).events.map(\.event)
            .filter { $0.kind == .nodeDiskPressure }.map { [$0.data["from"]?.string, $0.data["to"]?.string] }
    }

    @Test func eachChangeIsToldOnceAlsoOverARestart() async throws {
        try await World.with { world, nodes in
            let node = nodes[0].id
            let reported: [DiskPressure?] = [nil, .low, .low, .reclaiming, .reclaiming]
            for pressure in reported {
                await Self.report(world, node, pressure)
            }
            #expect(try await Self.told(world) == [["none", "low"], ["low", "reclaiming"]])
            // It is on record at once, for the time when the node is gone.
            #expect(try await world.store.node(.id(node)).facts?.diskPressure == .reclaiming)
            let next = try await world.restarted()
            await Self.report(next, node, .reclaiming)
            #expect(try await Self.told(world).count == 2)
            await Self.report(next, node, DiskPressure.none, reclaimed: DiskReclaimed(images: ["old"], caches: 3))
            #expect(try await Self.told(world).last == ["reclaiming", "none"])
            let last = try await world.store.events(EventFilter(workspaces: [.system]), after: 0, limit: 100).events
                .last
            #expect(last?.event.data["droppedImages"] == ["old"])
            #expect(last?.event.data["droppedCaches"] == 3)
            #expect(last?.event.data["name"] == "node-1")
        }
    }

    @Test func itIsShownCountedAndKeepsProjectsAway() async throws {
        try await World.with(nodes: 2) { world, nodes in
            await Self.report(world, nodes[0].id, .reclaiming, reclaimed: DiskReclaimed(images: ["old"], caches: 1))
            await Self.report(world, nodes[1].id, .low)
            let shown = try await world.run("nodes_get", ["node": "node-1"])
            #expect(shown["diskPressure"] == "reclaiming")
            #expect(shown["facts"]?["diskReclaimed"]?["images"] == ["old"])
            #expect(try await world.run("status")["nodes"]?.array?.map { $0["diskPressure"] } == ["reclaiming", "low"])
            await world.services.conditions.look()
            #expect(world.services.metrics.value(.nodesByDiskPressure, ["reclaiming"]) == 1)
            #expect(world.services.metrics.value(.nodesByDiskPressure, ["low"]) == 1)
            #expect(world.services.metrics.value(.nodesByDiskPressure, ["none"]) == 0)

            let project = try await world.project()
            nodes[1].reply(.projectPrepare) { (_: ContainerSpec) in Empty() }
            _ = try? await world.run("fs.read", ["project": "shop", "path": "a"])
            let placed = try await world.store.activeProjects([project]).first?.node
            #expect(placed == nodes[1].id)
            await Self.report(world, nodes[1].id, .refusing)
            try await world.project("second")
            let error = await expectFailure(.limit) {
                try await world.run("fs.read", ["project": "second", "path": "a"])
            }
            #expect(error?.message.contains("is short of disk space (reclaiming)") == true, "\(error?.message ?? "")")
        }
    }

    @Test func imagesThatAnybodyNeedsAreInUse() async throws {
        try await World.with(nodes: 2) { world, _ in
            #expect(await world.services.fleet.imagesInUse() == ["vibn-dev"])
            for image in ["b", "a"] {
                try await world.store.createProject(
                    Project(
                        id: ProjectID(), workspace: world.other, name: image, image: image, createdAt: .nowMilliseconds),
                    isFilling: false)
            }
            #expect(await world.services.fleet.imagesInUse() == ["a", "b", "vibn-dev"])
        }
    }

    @Test func anImageOfProjectsWithoutANodeStaysSomewhere() async throws {
        try await World.with(nodes: 2) { world, nodes in
            for node in nodes { node.reply(.imageRemove) { (_: ImageName) in Empty() } }
            let project = try await world.project()
            // With another node that has it.
            #expect(
                try await world.run("images_remove", ["name": "vibn-dev", "node": "node-1"])["nodes"] == ["node-1"])
            world.directory.set(World.facts(images: []), of: nodes[0].id)
            for input: JSONValue in [["name": "vibn-dev"], ["name": "vibn-dev", "node": "node-2"]] {
                let error = await expectFailure(.conflict) { try await world.run("images_remove", input) }
                #expect(error?.details["projects"] == [.string("\(project)")])
            }
            // Another image is nobody's.
            try await world.run("images_remove", ["name": "other"])
        }
    }
}
