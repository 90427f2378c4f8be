import ControllerDomain
import ControllerServices
import FastableCore
import FastableWire
import FoundationEssentials
import NIOCore
import Synchronization
import TestSupport
import Testing

@Suite(.endsInTime) struct SnapshotTests {
    private static func files(_ world: World) -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: world.snapshotDirectory)) ?? []).sorted()
    }

    private static func count(_ world: World) async throws -> Int {
        try await world.run("projects_snapshots")["snapshots"]?.array?.count ?? -1
    }

    private static func take(_ world: World, _ project: String = "shop") async throws -> String {
        try #require(try await world.run("projects_snapshot", ["project": .string(project)])["id"]?.string)
    }

    // MARK: taking

    @Test func aSnapshotIsStoredReadBackAndListed() async throws {
        try await World.with { world, nodes in
            let project = try await world.project()
            let archive = try SimulatedArchive()
            nodes[0].has(archive)
            let told = Mutex<[String]>([])
            let context = world.context { event in
                if case .progress(let message, _) = event { told.withLock { $0.append(message) } }
            }
            let taken = try await world.run("projects_snapshot", ["project": "shop"], context)
            let id = try #require(taken["id"]?.string)
            #expect(taken["state"] == "verified" && taken["reason"] == "manual" && taken["consistent"] == true)
            #expect(taken["sha256"] == .string(archive.facts.sha256))
            #expect(taken["entries"] == 4 && taken["node"] == "node-1" && taken["project"] == .string("\(project)"))
            #expect(told.withLock(\.self).contains("Checking the archive."))
            #expect(Self.files(world) == ["\(id).tar.zst"])
            let path = "\(world.snapshotDirectory)/\(id).tar.zst"
            #expect(FileManager.default.contents(atPath: path).map { Array($0) } == archive.bytes)
            let attributes = try FileManager.default.attributesOfItem(atPath: path)
            #expect(attributes[.posixPermissions] as? Int == 0o600)
            let listed = try await world.run("projects_snapshots", ["project": "shop"])
            #expect(listed["snapshots"]?.array?.compactMap { $0["id"]?.string } == [id])
            try await world.run("projects_snapshot_delete", ["snapshot": .string(id)])
            #expect(Self.files(world) == [])
            await expectFailure(.notFound) { try await world.run("projects_restore", ["project": "shop"]) }
        }
    }

    /// What a node may send instead of a whole archive.
    enum Lie: CaseIterable {
        case otherBytes, otherDigest, otherSize, moreEntries, lessContent, noFacts, cutShort, noArchive, error, lostLink
    }

    @Test(arguments: Lie.allCases) func whatIsNotWholeLeavesNothing(_ lie: Lie) async throws {
        try await World.with { world, nodes in
            try await world.project()
            let honest = try SimulatedArchive()
            nodes[0].handle(.snapshotRead) { stream, _ in
                var archive = honest
                switch lie {
                case .otherBytes: archive.bytes[archive.bytes.count / 2] ^= 1
                case .otherDigest: archive.facts.sha256 = String(repeating: "0", count: 64)
                case .otherSize: archive.facts.archiveBytes += 1
                case .moreEntries: archive.facts.entries += 1
                case .lessContent: archive.facts.contentBytes -= 1
                case .noFacts:
                    try await archive.sendHead(on: stream)
                    try await stream.send(data: ByteBuffer(bytes: archive.bytes), channel: 1)
                    return try await stream.finish()
                case .cutShort, .noArchive:
                    // With right sums over what is no whole archive.
                    let bytes = lie == .cutShort ? Array(honest.bytes.dropLast(1000)) : Array("no archive".utf8)
                    archive.resum(bytes)
                case .error:
                    try await archive.sendHead(on: stream)
                    try await stream.send(data: ByteBuffer(bytes: archive.bytes.prefix(100_000)), channel: 1)
                    throw FastableError(.limit, "The node's disk hangs.")
                case .lostLink:
                    try await archive.sendHead(on: stream)
                    try await stream.send(data: ByteBuffer(bytes: archive.bytes.prefix(100_000)), channel: 1)
                    return nodes[0].severLink()
                }
                try await archive.send(on: stream)
            }
            await expectFailure(.internal, .unavailable, .limit, .cancelled) {
                try await world.run("projects_snapshot", ["project": "shop"])
            }
            #expect(Self.files(world) == [])
            #expect(try await Self.count(world) == 0)
        }
    }

    @Test func oneThatIsGivenUpLeavesNothing() async throws {
        try await World.with { world, nodes in
            try await world.project()
            let archive = try SimulatedArchive()
            let (sent, continuation) = AsyncStream.makeStream(of: Void.self)
            nodes[0].handle(.snapshotRead) { stream, _ in
                try await archive.sendHead(on: stream)
                try await stream.send(data: ByteBuffer(bytes: archive.bytes.prefix(300_000)), channel: 1)
                continuation.finish()
                while try await stream.next() != nil {}
            }
            let taking = Task { try await world.run("projects_snapshot", ["project": "shop"]) }
            for await _ in sent {}
            try await eventually("the draft is there") { Self.files(world).count == 1 }
            taking.cancel()
            await expectFailure(.cancelled) { _ = try await taking.value }
            #expect(Self.files(world) == [])
            #expect(try await Self.count(world) == 0)
        }
    }

    @Test func aFullDiskIsRefusedBeforeAnythingIsSent() async throws {
        try await World.with(snapshotReserveBytes: .max) { world, nodes in
            try await world.project()
            nodes[0].has(try SimulatedArchive())
            let error = await expectFailure(.unavailable) {
                try await world.run("projects_snapshot", ["project": "shop"])
            }
            #expect(error?.message.contains("too full") == true)
            #expect(error?.details["freeBytes"]?.integer != nil)
            #expect(Self.files(world) == [])
        }
    }

    @Test(.needsRoot) func aDiskThatBecomesFullLeavesNothing() async throws {
        try await withTemporaryDirectory { folder in
            try await withSmallDisk(at: folder + "/disk", megabytes: 2) {
                try await World.with(snapshotDirectory: folder + "/disk/snapshots") { world, nodes in
                    try await world.project()
                    nodes[0].has(try SimulatedArchive(files: 20))
                    let error = await expectFailure(.unavailable) {
                        try await world.run("projects_snapshot", ["project": "shop"])
                    }
                    #expect(error?.message.contains("too full") == true)
                    #expect(Self.files(world) == [])
                    #expect(try await Self.count(world) == 0)
                    nodes[0].has(try SimulatedArchive())
                    let taken = try await Self.take(world)
                    #expect(Self.files(world) == [taken + ".tar.zst"])
                }
            }
        }
    }

    @Test func whatAnEarlierRunHadBegunIsRemovedAtTheStart() async throws {
        try await World.with { world, nodes in
            try await world.project()
            nodes[0].has(try SimulatedArchive())
            let kept = try await Self.take(world)
            for name in ["\(SnapshotID()).tar.zst.draft", "\(SnapshotID()).tar.zst", "somebody's file"] {
                #expect(FileManager.default.createFile(atPath: "\(world.snapshotDirectory)/\(name)", contents: Data()))
            }
            let running = Task { try await world.services.run() }
            try await eventually("they are gone") { Self.files(world) == ["\(kept).tar.zst", "somebody's file"] }
            running.cancel()
            try await running.value
        }
    }

    // MARK: restoring

    @Test func aRestoreSendsEveryByteAndKeepsWhatWasThere() async throws {
        try await World.with { world, nodes in
            let project = try await world.project()
            let archive = try SimulatedArchive(files: 10)
            nodes[0].has(archive)
            let restored = nodes[0].takesRestores()
            let id = try await Self.take(world)
            let answer = try await world.run("projects_restore", ["project": "shop"])
            #expect(answer["snapshot"] == .string(id) && answer["entries"] == 11)
            #expect(answer["replaced"]?.string.flatMap(CheckpointID.init) != nil)
            let request = try #require(
                try nodes[0].requests(.snapshotRestore, FileCall<SnapshotRestore>.self).first
            ).arguments
            #expect(request.sha256 == archive.facts.sha256 && request.contentBytes == archive.facts.contentBytes)
            let discarding = try await world.run(
                "projects_restore", ["project": "shop", "at": .string(id), "discardCurrent": true])
            #expect(discarding["replaced"] == nil)
            #expect(restored.all.map(\.project) == [project, project])
            #expect(restored.all.allSatisfy { $0.bytes == archive.bytes })
        }
    }

    @Test(arguments: ["flipped", "cut", "gone"])
    func aDamagedArchiveIsNoticedBeforeTheNodeIsAsked(_ damage: String) async throws {
        try await World.with { world, nodes in
            try await world.project()
            nodes[0].has(try SimulatedArchive())
            let restored = nodes[0].takesRestores()
            let older = try await Self.take(world)
            let id = try await Self.take(world)
            let path = "\(world.snapshotDirectory)/\(id).tar.zst"
            var bytes = try #require(FileManager.default.contents(atPath: path))
            switch damage {
            case "flipped": bytes[bytes.count / 2] ^= 1
            case "cut": bytes = bytes.dropLast(bytes.count / 3)
            default: break
            }
            if damage == "gone" {
                try FileManager.default.removeItem(atPath: path)
            } else {
                try bytes.write(to: URL(filePath: path))
            }
            let error = await expectFailure(.internal) {
                try await world.run("projects_restore", ["project": "shop", "at": .string(id)])
            }
            #expect(error?.message.contains("Nothing was changed") == true)
            #expect(restored.all.isEmpty, "nothing may reach the node")
            let listed = try await world.run("projects_snapshots", ["project": "shop"])
            #expect(listed["snapshots"]?.array?.first { $0["id"] == .string(id) }?["state"] == "damaged")
            // The newest good one is taken by itself.
            #expect(try await world.run("projects_restore", ["project": "shop"])["snapshot"] == .string(older))
        }
    }

    @Test func anotherProjectsSnapshotIsForNewProjectsOnly() async throws {
        try await World.with { world, nodes in
            try await world.project()
            try await world.project("other")
            nodes[0].has(try SimulatedArchive())
            let restored = nodes[0].takesRestores()
            let id = try await Self.take(world)
            await expectFailure(.conflict) {
                try await world.run("projects_restore", ["project": "other", "at": .string(id)])
            }
            let made = try await world.run("projects_create", ["name": "new", "snapshot": .string(id)])
            #expect(made["node"] == "node-1")
            #expect(restored.all.map { JSONValue.string($0.project.description) } == [made["id"] ?? .null])
            await expectFailure(.unprocessable) {
                try await world.run(
                    "projects_create",
                    ["name": "both", "snapshot": .string(id), "git": ["url": "https://example.com/a.git"]])
            }
        }
    }

    @Test func aNewProjectWhoseRestoreFailsIsNotThere() async throws {
        try await World.with { world, nodes in
            try await world.project()
            nodes[0].has(try SimulatedArchive())
            let id = try await Self.take(world)
            nodes[0].handle(.snapshotRestore) { _, _ in throw FastableError(.limit, "No space.") }
            await expectFailure(.limit) {
                try await world.run("projects_create", ["name": "new", "snapshot": .string(id)])
            }
            await expectFailure(.notFound) { try await world.run("projects_get", ["project": "new"]) }
            #expect(nodes[0].methods.last == .projectDelete)
        }
    }

    @Test func anotherWorkspacesSnapshotDoesNotExist() async throws {
        try await World.with { world, nodes in
            try await world.project()
            nodes[0].has(try SimulatedArchive())
            let id = try await Self.take(world)
            let stranger = world.context(world.principal(in: world.other))
            try await world.run("projects_create", ["name": "theirs"], stranger)
            for (operation, input) in [
                ("projects_restore", ["project": "theirs", "at": .string(id)]),
                ("projects_create", ["name": "new", "snapshot": .string(id)]),
                ("projects_snapshot_delete", ["snapshot": .string(id)]), ("projects_snapshots", ["project": "shop"]),
            ] as [(String, JSONValue)] {
                await expectFailure(.notFound) { try await world.run(operation, input, stranger) }
            }
            #expect(try await world.run("projects_snapshots", [:], stranger)["snapshots"] == [])
            #expect(Self.files(world).count == 1)
        }
    }
}

extension SimulatedArchive {
    /// Other bytes, with right sums.
    mutating func resum(_ bytes: [UInt8]) {
        self.bytes = bytes
        facts.archiveBytes = Int64(bytes.count)
        facts.sha256 = Self.digest(bytes)
    }
}
