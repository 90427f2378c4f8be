import FastableCore
import FoundationEssentials
import Glibc
import NodeFiles
import NodeLinux
import TestSupport
import Testing

@Suite(.needsRoot) struct CheckpointTests {
    private static func checkpoint(_ workspace: Workspace, reserve: Int = 0, note: String = "") async throws
        -> CheckpointID
    {
        let id = CheckpointID()
        let result = try await workspace.service.checkpoint(
            CheckpointCreate(id: id, note: note), in: workspace.checkpoints, reserveBytes: reserve, work: TreeWork())
        #expect(result.checkpoint == id)
        return id
    }

    private static func rollBack(_ workspace: Workspace, to id: CheckpointID) async throws -> CheckpointID? {
        try await workspace.service.rollBack(
            CheckpointRollback(id: id, keepAs: CheckpointID()), in: workspace.checkpoints, reserveBytes: 0,
            work: TreeWork()
        ).checkpoint
    }

    @Test func rollingBackGivesEveryByteAndKeepsWhatWasThere() async throws {
        let workspace = try Workspace()
        try await SampleTree.make(in: workspace)
        let first = try SnapshotTests.listing(workspace)
        let id = try await Self.checkpoint(workspace, note: "first")
        let listed = try workspace.checkpoints.list()
        #expect(listed.map(\.id) == [id] && listed[0].note == "first" && listed[0].changedFiles == 0)
        #expect(try SnapshotTests.listing(workspace) == first, "a copy changes nothing")

        try workspace.put("changed", "links/first")
        try workspace.put("new", "new/file")
        try Errno.check { unlink(workspace.path + "/dangling") }
        let second = try SnapshotTests.listing(workspace)
        let kept = try #require(try await Self.rollBack(workspace, to: id))
        #expect(try SnapshotTests.listing(workspace) == first)
        #expect(try Set(workspace.checkpoints.list().map(\.id)) == [id, kept])
        #expect(try await Self.rollBack(workspace, to: kept) != nil)
        #expect(try SnapshotTests.listing(workspace) == second)
        #expect(try await Self.rollBack(workspace, to: id) != nil, "a checkpoint can be gone back to again")
        #expect(try SnapshotTests.listing(workspace) == first)
        try SnapshotTests.expectClean(workspace, checkpoints: 4)
    }

    @Test func aForkHasTheSameTreeUnderItsOwnIds() async throws {
        let source = try Workspace()
        try await SampleTree.make(in: source)
        let id = try await Self.checkpoint(source)
        let first = try SnapshotTests.listing(source)
        try source.put("later", "later")
        for (checkpoint, expected) in [(id, first), (nil, try SnapshotTests.listing(source))]
            as [(CheckpointID?, [String])]
        {
            let target = try Workspace(uidBase: 1_700_000_000)
            let result = try await target.service.fill(
                from: source.service, checkpoint: checkpoint, of: source.checkpoints, checkpoints: target.checkpoints,
                reserveBytes: 0, work: TreeWork())
            #expect(result.checkpoint == nil)
            #expect(try SnapshotTests.listing(target) == expected)
            try SnapshotTests.expectClean(target)
            let error = try await expectError {
                try await target.service.fill(
                    from: source.service, checkpoint: nil, of: source.checkpoints, checkpoints: target.checkpoints,
                    reserveBytes: 0, work: TreeWork())
            }
            #expect(error.code == .conflict)
            #expect(try SnapshotTests.listing(target) == expected)
        }
    }

    @Test func theOldestGoWhenThereAreTooMany() async throws {
        let workspace = try Workspace(inMemory: true)
        var ids: [CheckpointID] = []
        for index in 0..<(Limits.checkpointsPerProject + 2) {
            try workspace.put("\(index)", "file")
            ids.append(try await Self.checkpoint(workspace))
        }
        // Two of the same millisecond have no order.
        #expect(try workspace.checkpoints.list().count == Limits.checkpointsPerProject)
        let last = try #require(ids.max())
        try workspace.checkpoints.remove(last)
        #expect(throws: FastableError.self) { try workspace.checkpoints.remove(last) }
        let error = try await expectError { try await Self.rollBack(workspace, to: last) }
        #expect(error.code == .notFound)
    }

    @Test func whatIsNotWantedAnyMoreLeavesNothing() async throws {
        let workspace = try Workspace()
        try await SampleTree.make(in: workspace)
        let before = try SnapshotTests.listing(workspace)
        let work = TreeWork()
        work.cancel()
        let error = try await expectError {
            try await workspace.service.checkpoint(
                CheckpointCreate(id: CheckpointID(), note: ""), in: workspace.checkpoints, reserveBytes: 0, work: work)
        }
        #expect(error.code == .cancelled)
        let full = try await expectError { try await Self.checkpoint(workspace, reserve: .max) }
        #expect(full.code == .unavailable)
        #expect(try SnapshotTests.listing(workspace) == before)
        try SnapshotTests.expectClean(workspace)
        #expect(try FileManager.default.contentsOfDirectory(atPath: workspace.base + "/checkpoints") == [])
    }

    // MARK: restores

    @Test func aRestoreKeepsWhatItReplaces() async throws {
        let source = try Workspace()
        try await SampleTree.make(in: source)
        let taken = try await SnapshotTests.take(source)
        let target = try Workspace()
        try await SampleTree.make(in: target, seed: 99)
        try target.put("only here", "only")
        let before = try SnapshotTests.listing(target)
        let id = CheckpointID()
        #expect(try await SnapshotTests.restore(taken.bytes, taken.request(keepAs: id), to: target) == id)
        #expect(try SnapshotTests.listing(target) == SnapshotTests.listing(source))
        try SnapshotTests.expectClean(target, checkpoints: 1)
        _ = try await Self.rollBack(target, to: id)
        #expect(try SnapshotTests.listing(target) == before)
        // Where nothing was, nothing is kept.
        let empty = try Workspace()
        #expect(try await SnapshotTests.restore(taken.bytes, taken.request(keepAs: CheckpointID()), to: empty) == nil)
        try SnapshotTests.expectClean(empty)
    }

    // MARK: cut short

    /// As `StagedTree` leaves it when the daemon ends at some point of a restore.
    private static func abandon(
        _ workspace: Workspace, keep: CheckpointID?, swapped: Bool, noted: Bool
    ) throws {
        let root = try FileDescriptor(opening: workspace.path, O_RDONLY | O_DIRECTORY)
        let directory = try root.makeDirectory(".fastable-push-0123456789abcdef", mode: 0o700, owner: geteuid())
        let tree = try directory.makeDirectory("tree", mode: 0o755, owner: workspace.uidBase)
        try tree.openEntry("new", O_WRONLY | O_CREAT, mode: 0o644).writeAll(Array("new".utf8))
        let swap = try TreeSwap(from: tree, into: root)
        if noted { try swap.note(in: directory) }
        if let keep { try directory.openEntry("keep", O_WRONLY | O_CREAT, mode: 0o600).writeAll(Array("\(keep)".utf8)) }
        if swapped { try swap.perform(tree, root) }
    }

    @Test(arguments: [false, true], [false, true])
    func aRestoreThatWasCutShortIsUndone(swapped: Bool, keeps: Bool) throws {
        let workspace = try Workspace()
        try workspace.put("old", "old")
        try Self.abandon(workspace, keep: keeps ? CheckpointID() : nil, swapped: swapped, noted: true)
        try AbandonedTrees(workspace: workspace.path, checkpoints: workspace.checkpoints)?.remove()
        #expect(try workspace.names() == ["old"])
        #expect(try workspace.text("old") == "old")
        try SnapshotTests.expectClean(workspace)
    }

    @Test func whatARestoreReplacedIsKeptAlthoughItWasCutShort() async throws {
        let workspace = try Workspace()
        try workspace.put("old", "old")
        let id = CheckpointID()
        try Self.abandon(workspace, keep: id, swapped: true, noted: false)
        for _ in 0..<2 {
            try AbandonedTrees(workspace: workspace.path, checkpoints: workspace.checkpoints)?.remove()
            #expect(try workspace.names() == ["new"])
            #expect(try workspace.checkpoints.list().map(\.id) == [id])
        }
        _ = try await Self.rollBack(workspace, to: id)
        #expect(try workspace.names() == ["old"])
        #expect(try workspace.text("old") == "old")
    }

    @Test func checkpointsThatWereCutShortGo() async throws {
        let workspace = try Workspace()
        try workspace.put("x", "file")
        let id = try await Self.checkpoint(workspace)
        let begun = CheckpointID()
        try Errno.check { mkdir("\(workspace.base)/checkpoints/\(begun)", 0o700) }
        try Errno.check { mkdir("\(workspace.base)/checkpoints/\(begun)/draft", 0o700) }
        #expect(try workspace.checkpoints.list().map(\.id) == [id])
        workspace.checkpoints.removeUnfinished()
        #expect(access("\(workspace.base)/checkpoints/\(begun)", F_OK) != 0)
        #expect(try workspace.checkpoints.list().map(\.id) == [id])
    }

    // MARK: full disks

    /// Workspace and checkpoints on a file system of 4 MiB.
    @Test func aFullDiskLeavesTheOldTreeAndNothingElse() async throws {
        let workspace = try Workspace()
        let disk = workspace.base + "/disk"
        try Errno.check { mkdir(disk, 0o755) }
        try await HostCommand("mount", ["-t", "tmpfs", "-o", "size=4m", "tmpfs", disk]).runChecked("mount")
        do {
            try await Self.checkFullDisk(disk, workspace.uidBase)
        } catch {
            umount(disk)
            throw error
        }
        umount(disk)
    }

    private static func checkFullDisk(_ disk: String, _ uidBase: UInt32) async throws {
        let path = disk + "/workspace"
        try Errno.check { mkdir(path, 0o755) }
        let service = try FileService(root: path, uidBase: uidBase)
        let checkpoints = Checkpoints(directory: disk + "/checkpoints")
        let file = try FileDescriptor(opening: path + "/file", O_WRONLY | O_CREAT, mode: 0o644)
        try file.writeAll([UInt8](repeating: 7, count: 2_500_000))
        let before = try TreeListing.of(path, uidBase: uidBase)
        let copy = try await expectError {
            try await service.checkpoint(
                CheckpointCreate(id: CheckpointID(), note: ""), in: checkpoints, reserveBytes: 0, work: TreeWork())
        }
        #expect(copy.code == .unavailable, "\(copy)")
        #expect(try checkpoints.list().isEmpty)

        let source = try Workspace()
        try source.put((0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 / 9) }, "large")
        let taken = try await SnapshotTests.take(source)
        let sink = try await service.restoreSnapshot(taken.request(keepAs: CheckpointID()), checkpoints: checkpoints)
        let restore = try await expectError { try await sink.write(taken.bytes) }
        #expect(restore.code == .limit, "\(restore)")
        #expect(try TreeListing.of(path, uidBase: uidBase) == before)
        #expect(try checkpoints.list().isEmpty)
        var facts = statvfs()
        #expect(statvfs(disk, &facts) == 0)
        #expect(facts.f_bfree * facts.f_frsize > 1_000_000, "what was begun has given its space back")
    }
}
