import ControllerDomain
import ControllerServices
import FastableCore
import FastableWire
import FoundationEssentials
import NIOCore
import Synchronization
import TestSupport
import Testing

/// Images that a node has and another one can pull, with nodes that only pretend.
@Suite(.endsInTime) struct ImagePullTests {
    private static func image(_ content: String, _ seconds: Double = 0) -> ImageReference {
        let digest = String(repeating: content, count: 64)
        return ImageReference(
            name: "node22", source: "docker://registry.example/node@sha256:\(digest)",
            namedAt: Date(timeIntervalSince1970: 1_700_000_000 + seconds))
    }

    private static func report(_ world: World, _ node: SimulatedNode, _ images: [ImageReference]?) async {
        var facts = World.facts(images: ["vibn-dev"] + (images ?? []).map(\.name))
        facts.registryImages = images
        world.directory.set(facts, of: node.id)
        await world.services.fleet.nodeReported(node.id, report: NodeReport(facts: facts, containers: []))
    }

    private static func pull(_ node: SimulatedNode) throws -> ImageReference? {
        try #require(try node.requests(.containerEnsure, ContainerSpec.self).last).pull
    }

    /// A project goes where the image is, and elsewhere when that is not possible; that node is told where to pull it from.
    @Test func aNodeWithoutTheImageIsToldWhereItIs() async throws {
        try await World.with(nodes: 2) { world, nodes in
            let wish: JSONValue = ["name": "shop", "image": "node22"]
            await expectFailure(.unprocessable) { try await world.run("projects_create", wish) }
            await Self.report(world, nodes[0], [Self.image("a")])
            try await world.run("projects_create", wish)
            try await world.run("devcontainer.ensure", ["project": "shop"])
            #expect(nodes[0].methods.contains(.containerEnsure) && nodes[1].methods.isEmpty)
            try await world.run("nodes_cordon", ["node": "node-1"])
            try await world.run("projects_create", ["name": "late", "image": "node22"])
            try await world.run("devcontainer.ensure", ["project": "late"])
            #expect(try Self.pull(nodes[1]) == Self.image("a"))
            try await world.run("shell.exec", ["project": "late", "cmd": "true"])
            let started = try #require(try nodes[1].requests(.execStart, ExecStart.self).last)
            #expect(started.container.pull == Self.image("a"))
            // One that is in no registry is pulled from nowhere.
            try await world.project("plain")
            try await world.run("devcontainer.ensure", ["project": "plain"])
            #expect(try Self.pull(nodes[1]) == nil)
        }
    }

    @Test func theNewestContentOfANameCounts() async throws {
        try await World.with(nodes: 2) { world, nodes in
            await Self.report(world, nodes[0], [Self.image("a", 10)])
            await Self.report(world, nodes[1], [Self.image("b", 20)])
            try await world.run("projects_create", ["name": "shop", "image": "node22"])
            func next() async throws -> ImageReference? {
                try await world.run("devcontainer.ensure", ["project": "shop"])
                return try Self.pull(nodes[0].methods.contains(.containerEnsure) ? nodes[0] : nodes[1])
            }
            #expect(try await next() == Self.image("b", 20))
            // Equally old: whoever was heard first does not matter.
            await Self.report(world, nodes[0], [Self.image("c", 20)])
            #expect(try await next() == Self.image("c", 20))
            // A clock that is ahead does not decide for ever.
            await Self.report(world, nodes[0], [Self.image("d", 1e10)])
            #expect(try #require(try await next()).namedAt.timeIntervalSinceNow < 1)
            await Self.report(world, nodes[0], [])
            #expect(try await next() == Self.image("b", 20))
            // A node of an earlier release says nothing of it.
            await Self.report(world, nodes[1], nil)
            await expectFailure(.unprocessable) {
                try await world.run("projects_create", ["name": "other", "image": "node22"])
            }
        }
    }

    /// The node that has it may be away, and the controller may have been restarted since.
    @Test func aNodeThatIsAwayStillTellsFromWhere() async throws {
        try await World.with(nodes: 2) { world, nodes in
            var facts = World.facts(images: ["vibn-dev", "node22"])
            facts.registryImages = [Self.image("a")]
            await world.services.fleet.nodeConnected(nodes[0].id, facts: facts)
            world.directory.drop(nodes[0].id)
            let again = try await world.restarted()
            try await again.run("projects_create", ["name": "shop", "image": "node22"])
            try await again.run("devcontainer.ensure", ["project": "shop"])
            #expect(try Self.pull(nodes[1]) == Self.image("a"))
            // Of one that was removed nothing counts.
            try await again.run("nodes_remove", ["node": "node-1"])
            await expectFailure(.unprocessable) {
                try await again.run("projects_create", ["name": "other", "image": "node22"])
            }
        }
    }

    /// Who listens hears how far the start is; what comes at last is the answer.
    @Test func theStagesOfAStartAreTold() async throws {
        try await World.with { world, nodes in
            let stages = [
                StartProgress(.pulling, "It comes.", fraction: 0.5, doneBytes: 1, totalBytes: 2),
                StartProgress(.unpacking, "It is unpacked."), StartProgress(.starting, "It is started."),
            ]
            nodes[0].handle(.containerEnsure) { stream, opening in
                let wish = try NodeRequest<ContainerEnsure>(opening: opening).arguments
                for stage in wish.wantsStart == true ? stages : [] {
                    let message = try JSON.encode(ContainerEnsureAnswer.starting(stage))
                    try await stream.send(message: ByteBuffer(bytes: message))
                }
                try await SimulatedNode.send(NodeReply.success(SimulatedNode.running(wish.container)), on: stream)
            }
            try await world.project()
            let told = Mutex<[(String, Double?)]>([])
            let context = world.context { event in
                if case .progress(let message, let fraction) = event {
                    told.withLock { $0.append((message, fraction)) }
                }
            }
            let answer = try await world.run("devcontainer.ensure", ["project": "shop"], context)
            #expect(answer["state"] == "running")
            #expect(told.withLock { $0.map(\.0) } == stages.map(\.message))
            #expect(told.withLock { $0.map(\.1) } == [0.5, nil, nil])
            #expect(try await world.run("devcontainer.ensure", ["project": "shop"])["state"] == "running")
            // Who does not listen any more waits for nothing.
            struct Gone: Error {}
            let leaving = world.context { _ in throw Gone() }
            await #expect(throws: (any Error).self) {
                try await world.run("devcontainer.ensure", ["project": "shop"], leaving)
            }
        }
    }

    @Test func statusShowsTheStage() async throws {
        try await World.with { world, nodes in
            try await world.project()
            try await world.run("devcontainer.ensure", ["project": "shop"])
            nodes[0].reply(.containerStatus) { (reference: ProjectReference) in
                var status = SimulatedNode.running(
                    ContainerSpec(project: reference.project, workspace: WorkspaceID(), image: "vibn-dev"))
                status.state = .creating
                status.start = StartProgress(.pulling, "It comes.", fraction: 0.5, doneBytes: 1, totalBytes: 2)
                return status
            }
            let shown = try await world.run("devcontainer.status", ["project": "shop"])
            #expect(
                shown["start"] == [
                    "stage": "pulling", "message": "It comes.", "fraction": .number(0.5), "doneBytes": 1,
                    "totalBytes": 2,
                ])
        }
    }
}
