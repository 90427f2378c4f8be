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

/// Projects go into the controller's store and come back, with nodes that only pretend.
@Suite(.endsInTime) struct ArchiveTests {
    /// A used project at rest, on the first of the nodes.
    private static func rested(
        _ world: World, _ nodes: [SimulatedNode], since: Date = Date()
    ) async throws -> (project: ProjectID, residents: [SimulatedResidents], archive: SimulatedArchive) {
        let archive = try SimulatedArchive()
        let residents = nodes.map { $0.houses(archive) }
        let project = try await world.project()
        try await world.run("devcontainer.ensure", ["project": "shop"])
        try await world.run("devcontainer.stop", ["project": "shop"])
        for resident in residents { resident.rest(project, since: since) }
        report(world, nodes, residents)
        return (project, residents, archive)
    }

    private static func report(_ world: World, _ nodes: [SimulatedNode], _ residents: [SimulatedResidents]) {
        for (node, residents) in zip(nodes, residents) { world.directory.report(residents.statuses, of: node.id) }
    }

    private static func status(_ world: World) async throws -> JSONValue {
        try await world.run("devcontainer.status", ["project": "shop"])
    }

    private static func kinds(_ world: World) async throws -> [PlatformEvent.Kind] {
        try await events(world).map(\.kind)
    }

    private static func events(_ world: World) async throws -> [PlatformEvent] {
        let filter = EventFilter(workspaces: [world.workspace])
        return try await world.store.events(filter, after: 0, limit: 500).events.map(\.event)
    }

    private static func use(_ world: World) async throws {
        await expectFailure(.unprocessable) {
            try await world.run("fs.read", ["project": "shop", "path": "a"])
        }
    }

    // MARK: there and back

    @Test func anArchivedProjectComesBackOnAnotherNode() async throws {
        try await World.with(nodes: 2) { world, nodes in
            let (project, residents, archive) = try await Self.rested(world, nodes)
            let home = try #require(residents.firstIndex { !$0.residents.isEmpty })
            let restored = nodes.map { $0.takesRestores() }
            let archived = try await world.run("devcontainer.archive", ["project": "shop"])
            #expect(archived["state"] == "archived")
            #expect(residents.allSatisfy { $0.residents.isEmpty })
            let release = try #require(residents[home].releases.first)
            #expect(release.stay == 0 && release.saved?.fingerprint == "as it was")
            let shown = try await world.run("projects_get", ["project": "shop"])
            let snapshot = try #require(shown["archive"]?["snapshot"]?.string)
            #expect(shown["node"] == nil && shown["container"]?["state"] == "archived")
            #expect(try await Self.status(world)["reason"]?.string?.contains(snapshot) == true)
            let explained = try await world.run("devcontainer.explain", ["project": "shop"])
            #expect(explained["next"]?["step"] == "delete")
            #expect(explained["text"]?.string?.contains("It will be deleted in") == true)
            let held = await expectFailure(.conflict) {
                try await world.run("projects_snapshot_delete", ["snapshot": .string(snapshot)])
            }
            #expect(held?.message.contains("shop") == true)
            // Asking changes nothing; the first that needs it restores it, elsewhere since that node takes nothing.
            #expect(restored.allSatisfy { $0.all.isEmpty })
            try await world.run("nodes_cordon", ["node": .string("node-\(home + 1)")])
            let ensured = try await world.run("devcontainer.ensure", ["project": "shop"])
            #expect(ensured["state"] == "running")
            #expect(restored[1 - home].all.map(\.bytes) == [archive.bytes])
            #expect(residents[1 - home].residents[project]?.stay == 1)
            let back = try await world.run("projects_get", ["project": "shop"])
            #expect(back["archive"] == nil && back["node"] == .string("node-\(2 - home)"))
            #expect(try await Self.kinds(world) == [.projectCreated, .projectArchived, .projectRestored])
            #expect(try await world.audit("project.archived").count == 1)
            try await world.run("projects_snapshot_delete", ["snapshot": .string(snapshot)])
        }
    }

    @Test func manyCallersShareOneRestoreAndAreTold() async throws {
        try await World.with { world, nodes in
            let (_, _, archive) = try await Self.rested(world, nodes)
            try await world.run("devcontainer.archive", ["project": "shop"])
            let (begun, begins) = AsyncStream.makeStream(of: Void.self)
            let (goes, go) = AsyncStream.makeStream(of: Void.self)
            let restores = Mutex(0)
            nodes[0].handle(.snapshotRestore) { stream, opening in
                restores.withLock { $0 += 1 }
                begins.yield()
                for await _ in goes { break }
                let call = try NodeRequest<FileCall<SnapshotRestore>>(opening: opening).arguments
                while try await stream.next() != nil {}
                let facts = archive.facts
                #expect(call.arguments.sha256 == facts.sha256)
                try await SimulatedNode.send(
                    NodeReply.success(
                        SnapshotRestored(entries: facts.entries, contentBytes: facts.contentBytes, kept: nil)),
                    on: stream)
            }
            let told = Mutex<Set<String>>([])
            let context = world.context { event in
                if case .progress(let message, _) = event { told.withLock { _ = $0.insert(message) } }
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for index in 0..<8 {
                    group.addTask {
                        if index == 0 {
                            try await world.run("devcontainer.ensure", ["project": "shop"], context)
                        } else {
                            try await Self.use(world)
                        }
                    }
                }
                for await _ in begun { break }
                // Who comes when it is restored already waits for nothing, and is told nothing.
                try await eventually("who listens is told") { told.withLock { !$0.isEmpty } }
                #expect(try await Self.status(world)["state"] == "archived")
                #expect(try await Self.status(world)["reason"]?.string?.contains("estor") == true)
                go.yield()
                try await group.waitForAll()
            }
            #expect(restores.withLock(\.self) == 1)
            #expect(told.withLock(\.self).contains { $0.hasPrefix("Restoring the project.") })
        }
    }

    // MARK: what is refused

    @Test func whatIsUsedStays() async throws {
        try await World.with { world, nodes in
            let (project, residents, _) = try await Self.rested(world, nodes)
            residents[0].refuse(FastableError(.conflict, "The project was not given up: its files have changed."))
            let refused = await expectFailure(.conflict) {
                try await world.run("devcontainer.archive", ["project": "shop"])
            }
            #expect(refused?.message.contains("its files have changed") == true)
            #expect(try await Self.status(world)["state"] == "stopped")
            #expect(try await world.run("projects_get", ["project": "shop"])["archive"] == nil)
            #expect(residents[0].residents[project] != nil)
            try await Self.use(world)
            // Nothing to give up, and nothing that could be.
            try await world.run("projects_create", ["name": "unused"])
            await expectFailure(.conflict) { try await world.run("devcontainer.archive", ["project": "unused"]) }
        }
    }

    @Test func whatCannotBeSavedIsNotGivenUp() async throws {
        try await World.with(snapshotReserveBytes: .max) { world, nodes in
            let (project, residents, _) = try await Self.rested(world, nodes)
            await expectFailure(.unavailable) { try await world.run("devcontainer.archive", ["project": "shop"]) }
            #expect(residents[0].residents[project] != nil && residents[0].releases.isEmpty)
        }
        try await World.with { world, nodes in
            let (_, residents, archive) = try await Self.rested(world, nodes)
            var changing = archive
            changing.facts.isConsistent = false
            nodes[0].has(changing)
            await expectFailure(.unavailable) { try await world.run("devcontainer.archive", ["project": "shop"]) }
            // A node of an older release does not say what it was that it sent.
            nodes[0].has(archive)
            await expectFailure(.unavailable) { try await world.run("devcontainer.archive", ["project": "shop"]) }
            #expect(residents[0].releases.isEmpty)
        }
    }

    @Test func aRestoreThatFailsLeavesItArchived() async throws {
        try await World.with { world, nodes in
            let (project, residents, archive) = try await Self.rested(world, nodes)
            try await world.run("devcontainer.archive", ["project": "shop"])
            nodes[0].handle(.snapshotRestore) { _, _ in throw FastableError(.unavailable, "The disk is full.") }
            let failed = await expectFailure(.unavailable) {
                try await world.run("fs.read", ["project": "shop", "path": "a"])
            }
            #expect(failed?.message.contains("The disk is full.") == true)
            #expect(failed?.message.contains("It stays archived") == true)
            #expect(residents[0].residents[project] == nil, "what the node got of it is gone")
            #expect(residents[0].releases.last == ProjectRelease(project: project, stay: 1, saved: nil))
            #expect(try await Self.status(world)["state"] == "archived")
            let explained = try await world.run("devcontainer.explain", ["project": "shop"])
            #expect(explained["text"]?.string?.contains("to restore it failed: The disk is full.") == true)
            let restored = nodes[0].takesRestores()
            try await Self.use(world)
            #expect(restored.all.map(\.bytes) == [archive.bytes])
            #expect(residents[0].residents[project]?.stay == 2)
        }
    }

    @Test func aHeldSwitchLetsNothingComeBack() async throws {
        try await World.with { world, nodes in
            let (_, _, _) = try await Self.rested(world, nodes)
            _ = nodes[0].takesRestores()
            nodes[0].reply(.killApply) { (_: KillOrder) in
                KillAnswer(state: NodeSwitchState(version: 1, pending: [], local: nil), receipts: [], problem: nil)
            }
            try await world.run("devcontainer.archive", ["project": "shop"])
            try await world.run("kill.project", ["project": "shop", "reason": "looks odd", "hold": true])
            await expectFailure(.unavailable) { try await world.run("fs.read", ["project": "shop", "path": "a"]) }
            #expect(try await Self.status(world)["state"] == "archived")
        }
    }

    // MARK: by itself

    @Test func itIsAnnouncedThenArchivedThenDeleted() async throws {
        try await World.with { world, nodes in
            let start = Date(milliseconds: Date.nowMilliseconds.milliseconds / 1000 * 1000)
            let (project, residents, _) = try await Self.rested(world, nodes, since: start)
            let archiver = world.services.archiver
            try await world.run(
                "projects_set_lifecycle", ["project": "shop", "archiveAfterSeconds": 100, "deleteAfterSeconds": 1000])
            await archiver.round(now: start.addingTimeInterval(49))
            #expect(try await Self.kinds(world) == [.projectCreated])
            let explained = try await world.run("devcontainer.explain", ["project": "shop"])
            #expect(explained["next"]?["step"] == "archive")
            #expect(explained["text"]?.string?.contains("It will be archived in 1 minute") == true)
            for seconds in [50.0, 51, 60, 98] { await archiver.round(now: start.addingTimeInterval(seconds)) }
            #expect(try await Self.kinds(world) == [.projectCreated, .projectArchivingSoon], "once")
            let told = try #require(try await Self.events(world).last)
            #expect(told.data["at"] == .string(start.addingTimeInterval(100).formatted(.iso8601)))
            #expect(residents[0].releases.isEmpty)
            await archiver.round(now: start.addingTimeInterval(100))
            try await eventually("it is archived") { try await Self.kinds(world).last == .projectArchived }
            Self.report(world, nodes, residents)

            // The time of the archive begins with the archive, which has just come about by the clock on the wall.
            let archived = try #require(try await world.store.activeProjects([project]).first?.archive?.since)
            await archiver.round(now: archived.addingTimeInterval(499))
            #expect(try await Self.kinds(world).last == .projectArchived)
            // The work of archiving may still be at its last step.
            try await eventually("it is told") {
                await archiver.round(now: archived.addingTimeInterval(501))
                return try await Self.kinds(world).suffix(2) == [.projectArchived, .projectDeletingSoon]
            }
            await archiver.round(now: archived.addingTimeInterval(999))
            #expect(try await Self.kinds(world).last == .projectDeletingSoon)
            await archiver.round(now: archived.addingTimeInterval(1001))
            await expectFailure(.notFound) { try await world.run("projects_get", ["project": "shop"]) }
            #expect(try await Self.kinds(world).last == .projectDeleted)
            #expect(try await world.audit("project.deleted").map(\.door) == [.system])
            let saved = try await world.run("projects_snapshots")["snapshots"]?.array
            #expect(saved?.count == 1 && saved?[0]["expiresAt"]?.string != nil)
        }
    }

    @Test func useBeginsTheTimeAnew() async throws {
        try await World.with { world, nodes in
            let start = Date(milliseconds: Date.nowMilliseconds.milliseconds / 1000 * 1000)
            let (project, residents, _) = try await Self.rested(world, nodes, since: start)
            let archiver = world.services.archiver
            try await world.run("projects_set_lifecycle", ["project": "shop", "archiveAfterSeconds": 100])
            await archiver.round(now: start.addingTimeInterval(60))
            residents[0].rest(project, since: start.addingTimeInterval(90))
            Self.report(world, nodes, residents)
            for seconds in [100.0, 130, 139, 141, 142, 189] {
                await archiver.round(now: start.addingTimeInterval(seconds))
            }
            #expect(try await Self.kinds(world).filter { $0 == .projectArchivingSoon }.count == 2)
            #expect(residents[0].releases.isEmpty)
            // The report is old: its node knows of a use since.
            residents[0].rest(project, since: start.addingTimeInterval(185))
            await archiver.round(now: start.addingTimeInterval(200))
            try await eventually("it was asked") { nodes[0].methods.last == .containerStatus }
            #expect(residents[0].releases.isEmpty && !nodes[0].methods.contains(.snapshotRead))
        }
    }

    @Test func aFullStoreIsToldAndTriedAgain() async throws {
        try await World.with(snapshotReserveBytes: .max) { world, nodes in
            let start = Date(milliseconds: Date.nowMilliseconds.milliseconds / 1000 * 1000)
            let (_, residents, _) = try await Self.rested(world, nodes, since: start)
            let archiver = world.services.archiver
            try await world.run("projects_set_lifecycle", ["project": "shop", "archiveAfterSeconds": 2])
            await archiver.round(now: start.addingTimeInterval(1))
            for attempt in 1...2 {
                await archiver.round(now: start.addingTimeInterval(attempt == 1 ? 3 : 3600))
                try await eventually("attempt \(attempt) is told") {
                    try await Self.kinds(world).filter { $0 == .projectArchiveFailed }.count == attempt
                }
                // Not at once.
                await archiver.round(now: start.addingTimeInterval(4))
            }
            let failed = try #require(try await Self.events(world).last)
            #expect(failed.data["error"]?.string?.contains("too full") == true)
            #expect(failed.data["retryAt"]?.string != nil)
            let explained = try await world.run("devcontainer.explain", ["project": "shop"])
            #expect(
                explained["text"]?.string?.contains("to archive it failed: The controller's disk is too full") == true)
            #expect(explained["next"]?["step"] == "archive")
            #expect(residents[0].releases.isEmpty)
            #expect(try await Self.status(world)["state"] == "stopped")
        }
    }

    // MARK: a controller that was killed

    /// The node has given the files up, or not yet, and the controller that asked for it is no more.
    @Test(arguments: [true, false]) func anotherControllerGoesOn(isGivenUp: Bool) async throws {
        try await World.with { world, nodes in
            let (project, residents, archive) = try await Self.rested(world, nodes)
            residents[0].refuse(FastableError(.unavailable, "The link was lost.", retryAfterSeconds: 1))
            await expectFailure(.unavailable) { try await world.run("devcontainer.archive", ["project": "shop"]) }
            #expect(try await world.store.activeProjects([project]).first?.archive?.state == .removing)
            #expect(try await Self.status(world)["state"] == "stopped", "it is on its way")
            let next = try await world.restarted()
            residents[0].refuse(nil)
            if isGivenUp { try residents[0].release(ProjectRelease(project: project, stay: 0, saved: nil)) }
            await next.services.archiver.round(now: .nowMilliseconds)
            try await eventually("it is archived") {
                try await next.store.activeProjects([project]).first?.archive?.state == .archived
            }
            #expect(residents[0].releases.last?.saved?.fingerprint == "as it was")
            let restored = nodes[0].takesRestores()
            try await Self.use(next)
            #expect(restored.all.map(\.bytes) == [archive.bytes])
        }
    }

    @Test func whoNeedsItMeanwhileHasItWhereItIs() async throws {
        try await World.with { world, nodes in
            let (project, residents, _) = try await Self.rested(world, nodes)
            residents[0].refuse(FastableError(.unavailable, "The link was lost.", retryAfterSeconds: 1))
            await expectFailure(.unavailable) { try await world.run("devcontainer.archive", ["project": "shop"]) }
            residents[0].refuse(FastableError(.conflict, "The project was not given up: it was used."))
            try await Self.use(world)
            let shown = try #require(try await world.store.activeProjects([project]).first)
            #expect(shown.archive == nil && shown.node == nodes[0].id && shown.stay == 0)
            #expect(!nodes[0].methods.contains(.snapshotRestore))
        }
    }

    @Test func aRestoreThatNobodyCarriesOutIsUndone() async throws {
        try await World.with { world, nodes in
            let (project, residents, _) = try await Self.rested(world, nodes)
            try await world.run("devcontainer.archive", ["project": "shop"])
            _ = try await world.store.beginRestore(of: project, on: nodes[0].id, at: .nowMilliseconds)
            let next = try await world.restarted()
            await next.services.archiver.round(now: .nowMilliseconds)
            try await eventually("it is archived again") {
                try await next.store.activeProjects([project]).first?.archive?.state == .archived
            }
            #expect(residents[0].releases.last == ProjectRelease(project: project, stay: 1, saved: nil))
        }
    }

    @Test func anArchivedProjectIsDeletedWithItsNodeAway() async throws {
        try await World.with { world, nodes in
            _ = try await Self.rested(world, nodes)
            try await world.run("devcontainer.archive", ["project": "shop"])
            world.directory.drop(nodes[0].id)
            let deleted = try await world.run("projects_delete", ["project": "shop"])
            #expect(deleted["pending"] == false)
            let saved = try await world.run("projects_snapshots")["snapshots"]?.array
            #expect(saved?.map { $0["id"] } == [deleted["snapshot"]])
        }
    }
}
