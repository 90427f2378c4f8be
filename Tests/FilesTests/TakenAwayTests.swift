import FastableCore
import FoundationEssentials
import Glibc
import NodeFiles
import NodeLinux
import Synchronization
import TestSupport
import Testing

/// What is removed while somebody copies from it: a part must not count as the whole.
@Suite(.needsRoot) struct TakenAwayTests {
    private static func large() throws -> Workspace {
        let workspace = try Workspace(inMemory: true)
        for directory in 0..<40 {
            for file in 0..<200 { try workspace.put("text \(file)", "d\(directory)/f\(file)") }
        }
        return workspace
    }

    /// A copy in the midst of which something happens once: it has begun, and is not at its end.
    private static func work(_ event: @escaping @Sendable () throws -> Void) -> TreeWork {
        let isOver = Atomic(false)
        return TreeWork { progress in
            guard progress.entries > 0, !isOver.exchange(true, ordering: .relaxed) else { return }
            #expect(throws: Never.self) { try event() }
        }
    }

    @Test func aCheckpointThatGoesMeanwhileIsNotRolledBackTo() async throws {
        let workspace = try Self.large()
        let id = CheckpointID()
        _ = try await workspace.service.checkpoint(
            CheckpointCreate(id: id, note: ""), in: workspace.checkpoints, reserveBytes: 0, work: TreeWork())
        try workspace.put("later", "later")
        let before = try SnapshotTests.listing(workspace)
        let work = Self.work { [checkpoints = workspace.checkpoints] in try checkpoints.remove(id) }
        await expectFailure(.notFound) {
            _ = try await workspace.service.rollBack(
                CheckpointRollback(id: id, keepAs: CheckpointID()), in: workspace.checkpoints, reserveBytes: 0,
                work: work)
        }
        #expect(try SnapshotTests.listing(workspace) == before)
    }

    /// Removal takes the whole tree in its first step, so what a crash leaves of one is none.
    @Test func halfACheckpointIsNone() async throws {
        let workspace = try Workspace()
        try await SampleTree.make(in: workspace)
        let id = CheckpointID()
        _ = try await workspace.service.checkpoint(
            CheckpointCreate(id: id, note: ""), in: workspace.checkpoints, reserveBytes: 0, work: TreeWork())
        let place = "\(workspace.base)/checkpoints/\(id)"
        try Errno.check { rename(place + "/tree", place + "/removed") }
        #expect(try workspace.checkpoints.list().isEmpty)
        workspace.checkpoints.removeUnfinished()
        #expect(access(place, F_OK) != 0)
    }

    @Test func anArchiveOfWhatIsRemovedMeanwhileIsNone() async throws {
        let workspace = try Self.large()
        let stream = try workspace.service.readSnapshot()
        _ = try await stream.next()
        try Errno.check { rename(workspace.path, workspace.base + "/trash") }
        await expectFailure(.gone) { while try await stream.next() != nil {} }
    }

    @Test func aForkOfWhatIsRemovedMeanwhileIsNone() async throws {
        let source = try Self.large()
        let target = try Workspace(inMemory: true, uidBase: 1_700_000_000)
        let work = Self.work { [path = source.path, base = source.base] in
            try Errno.check { rename(path, base + "/trash") }
        }
        await expectFailure(.gone) {
            _ = try await target.service.fill(
                from: source.service, checkpoint: nil, of: source.checkpoints, checkpoints: target.checkpoints,
                reserveBytes: 0, work: work)
        }
        #expect(try await target.service.isEmpty())
    }
}
