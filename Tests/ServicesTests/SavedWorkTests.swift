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

/// Work that is saved before it is taken away, and copies on the node.
@Suite(.endsInTime) struct SavedWorkTests {
    private static func use(_ world: World, _ name: String = "shop") async throws -> ProjectID {
        let id = try await world.project(name)
        try await world.run("shell.exec", ["project": .string(name), "cmd": "true"])
        return id
    }

    private static func snapshots(_ world: World) async throws -> [JSONValue] {
        try await world.run("projects_snapshots")["snapshots"]?.array ?? []
    }

    // MARK: deletion

    @Test func theContentOfADeletedProjectCanBeHadBack() async throws {
        try await World.with { world, nodes in
            _ = try await Self.use(world)
            let archive = try SimulatedArchive()
            nodes[0].has(archive)
            let restored = nodes[0].takesRestores()
            let deleted = try await world.run("projects_delete", ["project": "shop"])
            let id = try #require(deleted["snapshot"])
            #expect(deleted["pending"] == false && deleted["snapshotError"] == nil)
            let methods = nodes[0].methods
            #expect(methods.firstIndex(of: .snapshotRead) ?? .max < methods.firstIndex(of: .projectDelete) ?? -1)
            let listed = try await Self.snapshots(world)
            #expect(listed.map { $0["id"] } == [id] && listed[0]["reason"] == "delete")
            #expect(listed[0]["expiresAt"]?.string != nil)
            try await world.run("projects_create", ["name": "again", "snapshot": id])
            #expect(restored.all.map(\.bytes) == [archive.bytes])
        }
    }

    @Test func whatCannotBeSavedIsNotDeletedUnlessForced() async throws {
        try await World.with { world, nodes in
            _ = try await Self.use(world)
            nodes[0].handle(.snapshotRead) { _, _ in throw FastableError(.limit, "The disk hangs.") }
            let error = await expectFailure(.limit) { try await world.run("projects_delete", ["project": "shop"]) }
            #expect(error?.message.contains("was not deleted: The disk hangs. To go on without") == true)
            #expect(!nodes[0].methods.contains(.projectDelete))
            #expect(try await world.run("projects_get", ["project": "shop"])["name"] == "shop")
            let forced = try await world.run("projects_delete", ["project": "shop", "force": true])
            #expect(forced["snapshotError"] == "The disk hangs." && forced["snapshot"] == nil)
            #expect(nodes[0].methods.last == .projectDelete)
        }
    }

    @Test func anotherImageComesWhenTheContentIsSaved() async throws {
        try await World.with { world, nodes in
            _ = try await Self.use(world)
            await expectFailure(.unprocessable) {
                try await world.run("projects_set_image", ["project": "shop", "image": "nowhere"])
            }
            nodes[0].handle(.snapshotRead) { _, _ in throw FastableError(.limit, "The disk hangs.") }
            func image() async throws -> JSONValue? {
                try await world.run("projects_get", ["project": "shop"])["image"]
            }
            let before = try await image()
            let change: JSONValue = ["project": "shop", "image": "other"]
            world.directory.set(World.facts(images: ["vibn-dev", "other"]), of: nodes[0].id)
            let error = await expectFailure(.limit) { try await world.run("projects_set_image", change) }
            #expect(error?.message.contains("was not given another image: The disk hangs.") == true)
            #expect(try await image() == before)
            nodes[0].has(try SimulatedArchive())
            let changed = try await world.run("projects_set_image", change)
            #expect(changed["snapshot"] != nil && changed["snapshotError"] == nil)
            let methods = nodes[0].methods
            #expect(try await image() == "other")
            #expect(methods.filter { $0 == .containerStop }.count == 3, "before each saving, and after the change")
            #expect(methods.last == .containerStop)
            #expect(try await Self.snapshots(world).first?["reason"] == "image")
            // What it has already costs nothing.
            #expect(try await world.run("projects_set_image", change)["snapshot"] == nil)
            #expect(nodes[0].methods.filter { $0 == .containerStop }.count == 3)
        }
    }

    @Test func anotherImageComesByForceWhenTheContentCannotBeSaved() async throws {
        try await World.with { world, nodes in
            _ = try await Self.use(world)
            world.directory.set(World.facts(images: ["vibn-dev", "other"]), of: nodes[0].id)
            nodes[0].handle(.snapshotRead) { _, _ in throw FastableError(.limit, "The disk hangs.") }
            let forced = try await world.run(
                "projects_set_image", ["project": "shop", "image": "other", "force": true])
            #expect(forced["image"] == "other")
            #expect(forced["snapshotError"] == "The disk hangs." && forced["snapshot"] == nil)
            let stops = nodes[0].methods.count { $0 == .containerStop }
            #expect(stops == 2, "before the saving, and after the change")
            #expect(try await Self.snapshots(world).isEmpty)
            #expect(try await world.run("projects_get", ["project": "shop"])["image"] == "other")
            try await world.run("devcontainer.ensure", ["project": "shop"])
            #expect(try nodes[0].requests(.containerEnsure, ContainerSpec.self).last?.image == "other")
        }
    }

    @Test func aFullControllerRefusesTheDeletion() async throws {
        try await World.with(snapshotReserveBytes: .max) { world, nodes in
            _ = try await Self.use(world)
            nodes[0].has(try SimulatedArchive())
            await expectFailure(.unavailable) { try await world.run("projects_delete", ["project": "shop"]) }
            #expect(!nodes[0].methods.contains(.projectDelete))
        }
    }

    @Test func whatIsEmptyOrWasNeverUsedCostsNoArchive() async throws {
        try await World.with { world, nodes in
            try await world.project("unused")
            let unused = try await world.run("projects_delete", ["project": "unused"])
            #expect(unused["snapshot"] == nil && nodes[0].methods.isEmpty)
            _ = try await Self.use(world)
            let empty = try await world.run("projects_delete", ["project": "shop"])
            #expect(empty["snapshot"] == nil && empty["snapshotError"] == nil)
            #expect(!FileManager.default.fileExists(atPath: world.snapshotDirectory))
        }
    }

    @Test func snapshotsOfDeletedProjectsGoAfterTheirTime() async throws {
        try await World.with { world, nodes in
            let project = try await Self.use(world)
            nodes[0].has(try SimulatedArchive())
            try await world.run("projects_snapshot", ["project": "shop"])
            try await world.run("projects_delete", ["project": "shop"])
            #expect(try await Self.snapshots(world).count == 2)
            let now = Date.nowMilliseconds
            let days = Double(Limits.deletedProjectSnapshotDays)
            #expect(try await world.store.expiredSnapshots(at: now, limit: 10).isEmpty)
            let later = try await world.store.expiredSnapshots(
                at: now.addingTimeInterval(days * 86_400 + 60), limit: 10)
            #expect(later.map(\.project) == [project, project])
            // One whose time is over.
            var old = try #require(later.first)
            old.id = SnapshotID()
            old.expiresAt = now.addingTimeInterval(-1)
            try await world.store.recordSnapshot(old)
            let path = "\(world.snapshotDirectory)/\(old.id).tar.zst"
            #expect(FileManager.default.createFile(atPath: path, contents: Data()))
            let running = Task { try await world.services.run() }
            try await eventually("it is gone") { try await Self.snapshots(world).count == 2 }
            running.cancel()
            try await running.value
            #expect(!FileManager.default.fileExists(atPath: path))
        }
    }

    @Test func onlyTheNewestAreKept() async throws {
        try await World.with { world, nodes in
            let project = try await Self.use(world)
            nodes[0].has(try SimulatedArchive(files: 1, fileBytes: 80))
            for _ in 0..<(Limits.snapshotsKeptManual + 3) {
                try await world.run("projects_snapshot", ["project": "shop"])
            }
            let kept = try await world.store.snapshots(of: project, in: world.workspace, before: nil, limit: 500)
            #expect(kept.count == Limits.snapshotsKeptManual)
            let files = try FileManager.default.contentsOfDirectory(atPath: world.snapshotDirectory)
            #expect(Set(files) == Set(kept.map { "\($0.id).tar.zst" }))
        }
    }

    // MARK: copies on the node

    private static func tell(_ result: TreeWorkResult, on stream: MuxStream) async throws {
        let progress = TreeWorkEvent.progress(TreeProgress(entries: 7, contentBytes: 3 << 20))
        try await stream.send(message: ByteBuffer(bytes: try JSON.encode(NodeReply.success(progress))))
        try await SimulatedNode.send(NodeReply.success(TreeWorkEvent.finished(result)), on: stream)
    }

    @Test func checkpointsAreMadeListedAndGoneBackTo() async throws {
        try await World.with { world, nodes in
            let project = try await Self.use(world)
            let result = TreeWorkResult(entries: 9, contentBytes: 10, changedFiles: 1, skipped: 0)
            nodes[0].handle(.checkpointCreate) { stream, opening in
                var made = result
                let call = try NodeRequest<FileCall<CheckpointCreate>>(opening: opening).arguments
                made.checkpoint = call.arguments.id
                try await Self.tell(made, on: stream)
            }
            nodes[0].handle(.checkpointRollback) { stream, opening in
                var made = result
                let call = try NodeRequest<FileCall<CheckpointRollback>>(opening: opening).arguments
                made.checkpoint = call.arguments.keepAs
                try await Self.tell(made, on: stream)
            }
            let told = Mutex<[String]>([])
            let context = world.context { event in
                if case .progress(let message, _) = event { told.withLock { $0.append(message) } }
            }
            let made = try await world.run("projects_checkpoint", ["project": "shop", "note": "n"], context)
            #expect(told.withLock(\.self) == ["Copied 7 files, 3 MiB."])
            #expect(made["entries"] == 9 && made["changedFiles"] == 1)
            let id = try #require(made["id"]?.string.flatMap(CheckpointID.init))
            let info = CheckpointInfo(id: id, createdAt: .nowMilliseconds, note: "n")
            nodes[0].reply(.checkpointList) { (_: ProjectReference) in CheckpointListResult(checkpoints: [info]) }
            let listed = try await world.run("projects_checkpoints", ["project": "shop"])
            #expect(listed["checkpoints"]?.array?.map { $0["id"] } == [made["id"]])
            let back = try await world.run("projects_rollback", ["project": "shop"])
            #expect(back["checkpoint"] == made["id"] && back["replaced"]?.string != made["id"]?.string)
            nodes[0].reply(.checkpointRemove) { (_: FileCall<CheckpointReference>) in Empty() }
            try await world.run("projects_checkpoint_delete", ["project": "shop", "checkpoint": .string("\(id)")])
            let removed = try nodes[0].requests(.checkpointRemove, FileCall<CheckpointReference>.self)
            #expect(removed.map(\.project) == [project] && removed.map(\.arguments.id) == [id])
            await expectFailure(.notFound) {
                try await world.run("projects_rollback", ["project": "shop", "at": "nonsense"])
            }
        }
    }

    @Test func aForkIsMadeOnTheNodeOfItsSource() async throws {
        try await World.with(nodes: 3) { world, nodes in
            let source = try await Self.use(world)
            let home = try #require(nodes.first { !$0.methods.isEmpty })
            for node in nodes {
                node.handle(.projectFork) { stream, _ in
                    let result = TreeWorkResult(entries: 1, contentBytes: 1, changedFiles: 0, skipped: 0)
                    try await SimulatedNode.send(NodeReply.success(TreeWorkEvent.finished(result)), on: stream)
                }
            }
            let made = try await world.run("projects_fork", ["project": "shop", "name": "try"])
            #expect(try await world.run("projects_get", ["project": "shop"])["node"] == made["node"])
            let request = try #require(try home.requests(.projectFork, ProjectFork.self).first)
            #expect(request.source == source && request.target.project.description == made["id"]?.string)
            await expectFailure(.conflict) {
                try await world.run("projects_fork", ["project": "shop", "name": "try"])
            }
            home.handle(.projectFork) { _, _ in throw FastableError(.unavailable, "No space.") }
            await expectFailure(.unavailable) {
                try await world.run("projects_fork", ["project": "shop", "name": "second"])
            }
            await expectFailure(.notFound) { try await world.run("projects_get", ["project": "second"]) }
            try await world.run("nodes_cordon", ["node": .string(home.id.description)])
            let error = await expectFailure(.unavailable) {
                try await world.run("projects_fork", ["project": "shop", "name": "third"])
            }
            #expect(error?.message.contains("cordon") == true)
        }
    }
}
