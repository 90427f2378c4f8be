import ControllerDomain
import ControllerFleet
import ControllerStore
import FastableCore
import FoundationEssentials
import Logging
import NIOCore
import Synchronization

extension SnapshotService {
    /// Puts a snapshot's content into a project's workspace. The archive is checked here before anything is sent, and again by the
    /// node before anything is replaced.
    ///
    /// - Parameters:
    ///   - node: where the workspace is made when it is not there yet; the node that the project is placed on when it is `nil`. So a
    ///     project can be filled elsewhere before it is placed there.
    ///   - checkpoint: what is replaced is kept as this checkpoint on the node; `nil` discards it.
    func restore(
        _ snapshot: Snapshot, into project: Project, on node: NodeID? = nil, keepingAs checkpoint: CheckpointID?,
        context: OperationContext
    ) async throws -> SnapshotRestored {
        try await projects.kills.checkStart(project)
        let placed = try await prepare(project, on: node, context)
        return try await fill(placed, with: snapshot, keepingAs: checkpoint, context: context)
    }

    /// The same for a project that its node knows already.
    func fill(
        _ placed: PlacedProject, with snapshot: Snapshot, keepingAs checkpoint: CheckpointID?, context: OperationContext
    ) async throws -> SnapshotRestored {
        try await line.pass {
            try await check(snapshot, context)
            let archive = try StoredArchive(archives.path(snapshot.id))
            let facts = snapshot.facts
            let request = SnapshotRestore(
                entries: facts.entries, contentBytes: facts.contentBytes, archiveBytes: facts.archiveBytes,
                sha256: facts.sha256, keepAs: checkpoint)
            let stream = try await transfers.open(.snapshotRestore, request, placed, context)
            let teller = ProgressTeller(of: facts.archiveBytes, context)
            return try await StallGuard.watch(stream, seconds: stallSeconds) { guarding in
                let bytes = StoredArchiveBytes(archive: archive) {
                    guarding.touch()
                    try await teller.add($0)
                }
                return try await transfers.send(bytes, on: stream, returning: SnapshotRestored.self)
            }
        }
    }

    private func prepare(
        _ project: Project, on node: NodeID?, _ context: OperationContext
    ) async throws -> PlacedProject {
        // One that comes back from the archive has its node already, and must not wait for itself.
        guard let node, node != project.node || project.archive != nil else {
            return try await projects.prepared(project, request: context.requestID)
        }
        let client = try projects.nodes.client(for: node)
        _ = try await client.call(
            .projectPrepare, project.containerSpec, returning: Empty.self, request: context.requestID,
            timeout: .seconds(Limits.nodeAnswerSeconds))
        return PlacedProject(project: project, client: client)
    }

    /// Throws, and remembers, when the archive is not what it was when it was taken.
    private func check(_ snapshot: Snapshot, _ context: OperationContext) async throws {
        guard snapshot.state == .verified else { throw Self.damaged(snapshot, nil) }
        try await context.events?(.progress(message: "Checking the archive.", fraction: nil))
        do {
            let found = try await ArchiveCheck.run(archives.path(snapshot.id), on: FileThread())
            guard found == ArchiveCheck.Found(snapshot.facts) else { throw Self.damaged(snapshot, "\(found)") }
        } catch let error as FastableError where error.code == .internal || error.code == .notFound {
            metrics.add(.damagedSnapshots, 1)
            try? await store.setSnapshotState(.damaged, of: snapshot.id)
            logger.error(
                "A snapshot's archive is damaged.", metadata: ["snapshot": "\(snapshot.id)", "error": "\(error)"])
            throw Self.damaged(snapshot, error.context)
        }
    }

    private static func damaged(_ snapshot: Snapshot, _ context: String?) -> FastableError {
        FastableError(
            .internal,
            "The archive of the snapshot ‘\(snapshot.id)’ is damaged or gone. Nothing was changed. Restore another one: "
                + "`fastable project snapshots` shows them.", context: context,
            details: ["snapshot": .string(snapshot.id.description)])
    }

    /// `WorkProgress` for whoever sends.
    private actor ProgressTeller {
        private var progress: WorkProgress
        private let context: OperationContext

        init(of totalBytes: Int64, _ context: OperationContext) {
            progress = WorkProgress("Restored", of: totalBytes)
            self.context = context
        }

        func add(_ count: Int) async throws {
            var progress = progress
            try await progress.add(count, context)
            self.progress = progress
        }
    }
}
