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

/// Nodes give their projects to others, with nodes that only pretend.
@Suite(.endsInTime) struct DrainTests {
    /// Used projects, all on the first of the nodes.
    private struct Scene {
        let world: World
        let nodes: [SimulatedNode]
        let residents: [SimulatedResidents]
        let restored: [RestoredArchives]
        let archive: SimulatedArchive
        let projects: [ProjectID]

        init(_ world: World, _ nodes: [SimulatedNode], projects count: Int = 1) async throws {
            (self.world, self.nodes) = (world, nodes)
            let archive = try SimulatedArchive(files: 2, fileBytes: 20_000)
            self.archive = archive
            residents = nodes.map { $0.houses(archive) }
            restored = nodes.map { $0.takesRestores() }
            for index in nodes.indices.dropFirst() {
                try await world.run("nodes_cordon", ["node": .string("node-\(index + 1)")])
            }
            var projects: [ProjectID] = []
            for index in 0..<count {
                projects.append(try await world.project("p\(index)"))
                try await world.run("devcontainer.ensure", ["project": .string("p\(index)")])
            }
            self.projects = projects
            for index in nodes.indices.dropFirst() {
                try await world.run("nodes_uncordon", ["node": .string("node-\(index + 1)")])
            }
        }

        @discardableResult
        func drain(deadlineSeconds: Int64? = nil) async throws -> JSONValue {
            var input: [String: JSONValue] = ["node": "node-1"]
            input["deadlineSeconds"] = deadlineSeconds.map { .integer($0) }
            return try await world.run("nodes_drain", .object(input))
        }

        var node: JSONValue { get async throws { try await world.run("nodes_get", ["node": "node-1"]) } }

        /// Rounds as the controller makes them, with a clock that leaves no pause.
        func rounds(
            _ what: String, in world: World? = nil, until condition: () async throws -> Bool
        ) async throws {
            var now = ContinuousClock.now
            try await eventually(what) {
                now += .seconds(Limits.moveRetryLongestSeconds)
                await (world ?? self.world).services.drainer.round(now: now)
                return try await condition()
            }
        }

        func isDrained() async throws -> Bool { try await node["drain"] == nil }

        func home(of name: String = "p0") async throws -> String? {
            try await world.run("projects_get", ["project": .string(name)])["node"]?.string
        }

        func use(_ name: String = "p0") async throws {
            await expectFailure(.unprocessable) {
                try await world.run("fs.read", ["project": .string(name), "path": "a"])
            }
        }

        func kinds(_ workspace: WorkspaceID) async throws -> [PlatformEvent.Kind] {
            try await world.store.events(EventFilter(workspaces: [workspace]), after: 0, limit: 500).events
                .map(\.event.kind)
        }
    }

    // MARK: to its end

    @Test func allProjectsGoToOtherNodes() async throws {
        try await World.with(nodes: 3) { world, nodes in
            let scene = try await Scene(world, nodes, projects: 6)
            let begun = try await scene.drain()
            #expect(begun["state"] == "draining" && begun["drain"]?["total"] == 6 && begun["drain"]?["left"] == 6)
            #expect(begun["drain"]?["projects"]?.array?.first?["state"] == "waiting")
            try await scene.rounds("it is drained", until: scene.isDrained)
            #expect(scene.residents[0].residents.isEmpty)
            let others = scene.residents[1].residents.merging(scene.residents[2].residents) { first, _ in first }
            #expect(Set(others.keys) == Set(scene.projects) && others.values.allSatisfy { $0.stay == 1 })
            #expect(!scene.residents[1].residents.isEmpty && !scene.residents[2].residents.isEmpty, "they are spread")
            #expect(scene.restored.flatMap(\.all).map(\.bytes) == Array(repeating: scene.archive.bytes, count: 6))
            #expect(scene.residents[0].releases.allSatisfy { $0.saved?.fingerprint == "as it was" && $0.stay == 0 })
            let node = try await scene.node
            #expect(node["state"] == "cordoned" && node["projects"] == 0)
            #expect(try await scene.kinds(world.workspace).filter { $0 == .projectMoved }.count == 6)
            // The last step of each move, which may come behind the end of the drain.
            try await eventually("each is told") {
                try await scene.kinds(.system).filter { $0 == .nodeDrainProgress }.count == 6
            }
            let fleet = try await scene.kinds(.system).filter { $0 != .nodeDrainProgress }
            #expect(fleet.last == .nodeStateChanged && fleet.filter { $0 == .nodeDrained }.count == 1)
            #expect(try await world.audit("project.moved").count == 6)
            #expect(world.services.metrics.value(.projectMoves, ["ok"]) == 6)
            for index in 0..<6 {
                #expect(try await scene.home(of: "p\(index)") != "node-1")
                try await scene.use("p\(index)")
            }
            let saved = try await world.run("projects_snapshots", [:])["snapshots"]?.array ?? []
            #expect(saved.count == 6 && saved.allSatisfy { $0["reason"] == "drain" })
            // Once more is no more.
            try await scene.drain()
            try await scene.rounds("it is drained again", until: scene.isDrained)
        }
    }

    @Test func whatWorksIsWaitedForUntilTheDeadline() async throws {
        try await World.with(nodes: 2) { world, nodes in
            let scene = try await Scene(world, nodes, projects: 2)
            scene.residents[0].work(in: scene.projects[0])
            try await scene.drain()
            try await scene.rounds("the other one is moved") { try await scene.home(of: "p1") == "node-2" }
            try await scene.rounds("it says why it waits") {
                let entry = try await scene.node["drain"]?["projects"]?.array?.first
                return entry?["state"] == "waiting" && entry?["message"]?.string?.contains("the command exe_1") == true
            }
            #expect(try await scene.home() == "node-1")
            #expect(scene.residents[0].residents[scene.projects[0]]?.restingSince == nil, "it was not stopped")
            #expect(scene.residents[0].stops.allSatisfy { $0.manner == .idle })
            #expect(try await !scene.kinds(world.workspace).contains(.projectMoveFailed), "waiting is no failure")
            try await scene.drain(deadlineSeconds: 0)
            try await scene.rounds("it is drained", until: scene.isDrained)
            #expect(scene.residents[0].stops.last?.manner == .grace)
            #expect(try await scene.home() == "node-2")
        }
    }

    /// Who comes while a project is moved waits, and goes on where it is then.
    @Test func callersWaitForTheMove() async throws {
        try await World.with(nodes: 2) { world, nodes in
            let scene = try await Scene(world, nodes)
            let (begun, begins) = AsyncStream.makeStream(of: Void.self)
            let (goes, go) = AsyncStream.makeStream(of: Void.self)
            nodes[1].handle(.snapshotRestore) { [archive = scene.archive] stream, _ in
                begins.yield()
                for await _ in goes { break }
                while try await stream.next() != nil {}
                try await SimulatedNode.send(
                    NodeReply.success(
                        SnapshotRestored(
                            entries: archive.facts.entries, contentBytes: archive.facts.contentBytes, kept: nil)),
                    on: stream)
            }
            try await scene.drain()
            await world.services.drainer.round()
            for await _ in begun { break }
            let told = Mutex<[String]>([])
            let context = world.context { event in
                if case .progress(let message, _) = event { told.withLock { $0.append(message) } }
            }
            let using = Task { try await world.run("devcontainer.ensure", ["project": "p0"], context) }
            try await eventually("the caller is told") { told.withLock { !$0.isEmpty } }
            #expect(told.withLock { $0[0].hasPrefix("The project moves to another node.") })
            let shown = try await scene.node["drain"]?["projects"]?.array?.first
            #expect(shown?["state"] == "moving" && shown?["message"]?.string != nil)
            go.yield()
            #expect(try await using.value["state"] == "running")
            #expect(try await scene.home() == "node-2")
            #expect(scene.residents[1].residents[scene.projects[0]]?.stay == 1)
        }
    }

    // MARK: what fails leaves the project where it is

    @Test func aProjectWithoutAnotherPlaceIsNotTouched() async throws {
        try await World.with { world, nodes in
            let scene = try await Scene(world, nodes)
            let early = ContinuousClock.now
            try await scene.drain()
            try await scene.rounds("it says why") {
                try await scene.node["drain"]?["projects"]?.array?.first?["state"] == "failed"
            }
            #expect(scene.residents[0].stops.isEmpty && scene.residents[0].releases.isEmpty)
            try await eventually("it is told once") {
                try await scene.kinds(world.workspace).filter { $0 == .projectMoveFailed }.count == 1
            }
            try await scene.use()
            // As soon as there is one it goes on, without the pause that a failure is followed by.
            await world.services.drainer.round(now: early)
            #expect(try await scene.node["drain"]?["projects"]?.array?.first?["state"] == "failed")
            let late = try await world.join("node-9")
            let running = Task { await late.run() }
            defer { running.cancel() }
            _ = late.houses(scene.archive)
            _ = late.takesRestores()
            try await eventually("it is drained") {
                await world.services.drainer.round(now: early)
                return try await scene.isDrained()
            }
        }
    }

    @Test func aRestoreThatFailsIsUndone() async throws {
        try await World.with(nodes: 2) { world, nodes in
            let scene = try await Scene(world, nodes)
            nodes[1].handle(.snapshotRestore) { _, _ in throw FastableError(.unavailable, "The disk is full.") }
            try await scene.drain()
            try await scene.rounds("it says why") {
                let entry = try await scene.node["drain"]?["projects"]?.array?.first
                return entry?["state"] == "failed" && entry?["message"]?.string?.contains("The disk is full.") == true
            }
            #expect(try await scene.home() == "node-1" && scene.residents[0].releases.isEmpty)
            try await scene.use()
            try await eventually("what the other node got is gone") {
                let remains = try await world.store.remains(of: nil, after: nil, limit: 9)
                return scene.residents[1].residents.isEmpty && remains.isEmpty
            }
            #expect(scene.residents[1].releases.allSatisfy { $0.saved == nil && $0.stay > 0 })
            let retaken = nodes[1].takesRestores()
            try await scene.rounds("it is drained", until: scene.isDrained)
            #expect(retaken.all.map(\.bytes) == [scene.archive.bytes])
            try await scene.use()
        }
    }

    @Test func whatWasUsedMeanwhileStays() async throws {
        try await World.with(nodes: 2) { world, nodes in
            let scene = try await Scene(world, nodes)
            scene.residents[0].refuse(FastableError(.conflict, "The project was not given up: its files have changed."))
            try await scene.drain()
            try await scene.rounds("it is tried") { !scene.residents[0].releases.isEmpty }
            try await eventually("the copy is gone") { scene.residents[1].residents.isEmpty }
            #expect(try await scene.home() == "node-1")
            try await scene.use()
            scene.residents[0].refuse(nil)
            try await scene.rounds("it is drained", until: scene.isDrained)
            #expect(scene.residents[0].residents.isEmpty && scene.residents[1].residents.count == 1)
        }
    }

    /// The node may have given the project up, and did not say so: nobody uses it anywhere before that is known.
    @Test func aNodeThatVanishesInTheLastStepIsAskedAgain() async throws {
        try await World.with(nodes: 2) { world, nodes in
            let scene = try await Scene(world, nodes)
            let residents = scene.residents[0]
            let isFirst = Mutex(true)
            nodes[0].reply(.projectRelease) { (release: ProjectRelease) -> Empty in
                try residents.release(release)
                let fails = isFirst.withLock { isFirst in
                    defer { isFirst = false }
                    return isFirst
                }
                if fails { throw FastableError(.unavailable, "The link to the node was lost.") }
                return Empty()
            }
            try await scene.drain()
            await world.services.drainer.round()
            try await eventually("it was asked") { !isFirst.withLock(\.self) }
            // Another controller goes on with it, also for somebody who uses the project.
            let next = try await world.restarted()
            await expectFailure(.unprocessable) { try await next.run("fs.read", ["project": "p0", "path": "a"]) }
            let shown = try await next.run("projects_get", ["project": "p0"])
            #expect(shown["node"] == "node-2")
            #expect(scene.residents[1].residents[scene.projects[0]]?.stay == 1)
        }
    }

    /// What cannot be saved stays, unless it is named: then it goes on from its last snapshot, and what the node has is kept.
    @Test func whatCannotBeSavedIsForcedByName() async throws {
        try await World.with(nodes: 2) { world, nodes in
            let scene = try await Scene(world, nodes)
            try await world.run("projects_snapshot", ["project": "p0"])
            var changing = scene.archive
            changing.facts.isConsistent = false
            nodes[0].has(changing)
            nodes[0].reply(.projectSetAside) { [residents = scene.residents[0]] (departure: ProjectDeparture) in
                try residents.release(ProjectRelease(project: departure.project, stay: departure.stay, saved: nil))
                return SetAsideCopy(path: "/set-aside/copy")
            }
            try await scene.drain()
            try await scene.rounds("it says why") {
                try await scene.node["drain"]?["projects"]?.array?.first?["state"] == "failed"
            }
            #expect(try await scene.home() == "node-1" && scene.residents[0].releases.isEmpty)
            await expectFailure(.notFound) {
                try await world.run("nodes_drain", ["node": "node-1", "force": ["p0"]])
            }
            let forced: JSONValue = .array([.string(scene.projects[0].description)])
            try await world.run("nodes_drain", ["node": "node-1", "force": forced])
            try await scene.rounds("it is drained", until: scene.isDrained)
            try await scene.use()
            #expect(try await scene.home() == "node-2")
            #expect(scene.restored[1].all.map(\.bytes) == [scene.archive.bytes], "the snapshot from before")
            let aside = try await world.run("projects_snapshots", ["project": "p0"])["setAside"]?.array
            #expect(aside?.map { $0["path"] } == ["/set-aside/copy"])
            #expect(try await scene.kinds(world.workspace).contains(.projectMovedUnsaved))
            #expect(try await world.audit("project.moved_unsaved").count == 1)
        }
    }

    /// Who repeats a command whose answer was lost does not run it a second time where the project is by now.
    @Test func aCommandIsNotRunAgainElsewhere() async throws {
        try await World.with(nodes: 2) { world, nodes in
            let scene = try await Scene(world, nodes)
            nodes[0].onExec { _, exec in
                try await exec.started()
                throw FastableError(.unavailable, "The link to the node was lost.")
            }
            nodes[0].reply(.execQuery) { (_: ExecQuery) -> [ExecStatus] in [] }
            nodes[1].handle(.execAttach) { _, _ in throw FastableError(.notFound, "There is no such command.") }
            var context = world.context()
            context.idempotencyKey = "k-1"
            let command: JSONValue = ["project": "p0", "cmd": "make"]
            await expectFailure(.unavailable) { try await world.run("shell.exec", command, context) }
            try await scene.drain()
            try await scene.rounds("it is drained", until: scene.isDrained)
            let next = try await world.restarted()
            for _ in 0..<2 { await expectFailure(.gone) { try await next.run("shell.exec", command, context) } }
            #expect(try nodes[1].requests(.execStart, ExecStart.self).isEmpty)
        }
    }

    /// Force does not begin anew what runs on behind a lost link, nor elsewhere what its node has not put away.
    @Test func forceNeedsTheNodesAnswer() async throws {
        try await World.with(nodes: 2) { world, nodes in
            let scene = try await Scene(world, nodes)
            try await world.run("projects_snapshot", ["project": "p0"])
            let unknown: JSONValue = .array([.string(ProjectID().description)])
            await expectFailure(.notFound) {
                try await world.run("nodes_drain", ["node": "node-1", "force": unknown])
            }
            nodes[0].reply(.projectPrepare) { (_: ContainerSpec) -> Empty in
                throw FastableError(.unavailable, "The project's disk cannot be opened.")
            }
            let isSilent = Mutex(true)
            nodes[0].reply(.containerStop) { [residents = scene.residents[0]] (wish: ContainerStop) in
                if isSilent.withLock(\.self) { throw FastableError(.unavailable, "The link to the node was lost.") }
                return try residents.stop(wish)
            }
            let forced: JSONValue = .array([.string(scene.projects[0].description)])
            try await world.run("nodes_drain", ["node": "node-1", "force": forced])
            try await scene.rounds("it says why") {
                try await scene.node["drain"]?["projects"]?.array?.first?["message"] == "The link to the node was lost."
            }
            #expect(try await scene.home() == "node-1")
            #expect(try await world.store.departures(from: nodes[0].id).isEmpty)
            // It answers, and is asked to put away what it has: before it has done that, the project runs nowhere.
            isSilent.withLock { $0 = false }
            nodes[0].reply(.projectSetAside) { (_: ProjectDeparture) -> SetAsideCopy in
                throw FastableError(.unavailable, "Its container does not end.")
            }
            try await scene.rounds("it left") { try await !world.store.departures(from: nodes[0].id).isEmpty }
            try await eventually("it waits for its node") {
                let refused = await expectFailure(.unavailable) {
                    try await world.run("fs.read", ["project": "p0", "path": "a"])
                }
                return refused?.message.contains("must put away") == true
            }
            #expect(scene.restored.allSatisfy { $0.all.isEmpty })
            nodes[0].reply(.projectSetAside) { (_: ProjectDeparture) in SetAsideCopy(path: "/set-aside/copy") }
            try await scene.use()
            #expect(try await scene.home() == "node-2")
        }
    }

    /// It would end everything at once, whatever it is told.
    @Test func aNodeOfAnOlderReleaseIsToldNothingThatItDoesNotKnow() async throws {
        try await World.with(nodes: 2) { world, nodes in
            let scene = try await Scene(world, nodes)
            _ = try await world.services.fleet.nodeReturns(nodes[0].id, keepsLease: false)
            try await scene.drain()
            try await scene.rounds("it says why") {
                let entry = try await scene.node["drain"]?["projects"]?.array?.first
                return entry?["message"]?.string?.contains("of an older release") == true
            }
            #expect(scene.residents[0].stops.isEmpty)
            try await scene.drain(deadlineSeconds: 0)
            try await scene.rounds("it is drained", until: scene.isDrained)
        }
    }

    // MARK: the controller's end, and changes of mind

    @Test func aRestartGoesOn() async throws {
        try await World.with(nodes: 2) { world, nodes in
            let scene = try await Scene(world, nodes)
            try await scene.drain()
            // Killed while the other node gets the content.
            let project = try #require(try await world.store.activeProjects(scene.projects).first)
            let snapshot = try await world.run("projects_snapshot", ["project": "p0"])["id"]?.string
            _ = try await world.store.beginMove(
                of: project, to: nodes[1].id, savedIn: try #require(snapshot.flatMap { SnapshotID($0) }),
                restingSince: Date(), at: Date())
            scene.residents[1].take(
                ContainerSpec(project: project.id, workspace: project.workspace, image: "vibn-dev", stay: 1))
            let next = try await world.restarted()
            try await next.services.archiver.settleMoves()
            #expect(try await next.store.activeProjects(scene.projects).first?.move == nil)
            try await scene.rounds("it is drained", in: next, until: scene.isDrained)
            #expect(scene.residents[1].residents[project.id]?.stay == 2, "what was begun is removed before")
            #expect(scene.residents[1].releases.map(\.stay) == [1])
            #expect(try await next.run("projects_get", ["project": "p0"])["node"] == "node-2")
        }
    }

    @Test func uncordonCancels() async throws {
        try await World.with(nodes: 2) { world, nodes in
            let scene = try await Scene(world, nodes)
            let (begun, begins) = AsyncStream.makeStream(of: Void.self)
            nodes[1].handle(.snapshotRestore) { stream, _ in
                begins.yield()
                while try await stream.next() != nil {}
            }
            try await scene.drain()
            await world.services.drainer.round()
            for await _ in begun { break }
            #expect(try await world.run("nodes_uncordon", ["node": "node-1"])["state"] == "ready")
            try await eventually("the move is undone") {
                try await world.store.activeProjects(scene.projects).first?.move == nil
            }
            await world.services.drainer.round()
            try await scene.use()
            #expect(try await scene.home() == "node-1" && scene.residents[0].releases.isEmpty)
            #expect(try await scene.kinds(.system).filter { $0 == .nodeDrained }.isEmpty)
        }
    }

    // MARK: states

    @Test func statesAreToldAsTimePasses() async throws {
        try await World.with(nodes: 2) { world, nodes in
            func state() async throws -> String? {
                try await world.run("nodes_get", ["node": "node-1"])["state"]?.string
            }
            let start = ContinuousClock.now
            await world.services.conditions.look(now: start)
            #expect(try await state() == "ready")
            let gone = ContinuousClock.now
            world.directory.drop(nodes[0].id)
            await world.services.fleet.nodeDisconnected(nodes[0].id)
            #expect(try await state() == "offline")
            await world.services.conditions.look(now: gone + .seconds(Limits.nodeLostAfterSeconds - 5))
            #expect(try await state() == "offline")
            await world.services.conditions.look(now: .now + .seconds(Limits.nodeLostAfterSeconds + 5))
            #expect(try await state() == "lost")
            #expect(world.services.metrics.value(.nodes, ["lost"]) == 1)
            #expect(world.services.metrics.value(.nodes, ["ready"]) == 1)
            let next = try await world.restarted()
            await next.services.conditions.look()
            #expect(try await next.run("nodes_get", ["node": "node-1"])["state"] == "lost", "it is on record")
            let events = try await world.store.events(EventFilter(workspaces: [.system]), after: 0, limit: 50).events
            let told = events.map(\.event).filter { $0.kind == .nodeStateChanged && $0.node == nodes[0].id }
            #expect(told.compactMap { $0.data["to"]?.string } == ["ready", "offline", "lost"])
        }
    }
}
