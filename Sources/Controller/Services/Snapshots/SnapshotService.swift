import ControllerDomain
import ControllerFleet
import ControllerStore
import FastableCore
import FastableWire
import FoundationEssentials
import Logging
import NIOCore
import NIOFoundationEssentialsCompat
import Synchronization

/// Saved work: takes archives of workspaces into the controller's own store, and puts them back.
///
/// A snapshot exists once it was read back from the disk and was what the node had counted. Whatever ends before that leaves nothing
/// behind but an error.
final class SnapshotService: Sendable {
    let store: any Store
    let archives: ArchiveStore
    let projects: ProjectService
    let transfers: TransferService
    let metrics: Metrics
    let logger: Logger
    /// A node from which nothing comes for so long holds no place any more.
    let stallSeconds: Int
    let line = WaitingLine(places: Limits.snapshotsAtOnce)

    init(
        store: any Store, archives: ArchiveStore, projects: ProjectService, transfers: TransferService,
        metrics: Metrics, stallSeconds: Int = Limits.snapshotStallSeconds, logger: Logger
    ) {
        self.stallSeconds = stallSeconds
        self.store = store
        self.archives = archives
        self.projects = projects
        self.transfers = transfers
        self.metrics = metrics
        self.logger = logger
    }

    /// What became of a project's content before a step that takes it away.
    enum SavedWork: Sendable {
        /// There is nothing in the workspace.
        case nothing
        case saved(Snapshot)
        /// It could not be saved, and the step was forced.
        case unsaved(FastableError)
    }

    /// Saves a project's content before a step that takes it away: deletion, archive, drain, a change of the image. The snapshot is
    /// verified when this returns; an empty workspace costs one question.
    ///
    /// - Parameters:
    ///   - step: what is refused when the content cannot be saved, to follow ‘was not’: `deleted`.
    ///   - isForced: goes on without a snapshot when there can be none.
    /// - Throws: why the content cannot be saved, as a refusal of the step.
    func requireVerified(
        _ project: Project, reason: Snapshot.Reason, step: String, isForced: Bool, context: OperationContext
    ) async throws -> SavedWork {
        if let archive = try await store.activeProjects([project.id]).first?.archive {
            let snapshot = try await store.snapshot(archive.snapshot, in: project.workspace)
            guard snapshot.state != .verified else { return .saved(snapshot) }
            let error = FastableError(.unprocessable, "The archive with its content, \(snapshot.id), is damaged.")
            return .unsaved(try give(up: project, error, step, isForced) { Self.refusal($0, project, step) })
        }
        // Nothing was ever put into what has no place yet.
        guard project.node != nil else { return .nothing }
        do { _ = try await projects.placed(project) } catch {
            // Where the node is, and what to do, is what that error says.
            return .unsaved(try give(up: project, error, step, isForced, throwing: \.self))
        }
        do {
            guard let snapshot = try await take(project, reason: reason, keepsEmpty: false, context: context) else {
                return .nothing
            }
            return .saved(snapshot)
        } catch {
            return .unsaved(try give(up: project, error, step, isForced) { Self.refusal($0, project, step) })
        }
    }

    private func give(
        up project: Project, _ error: any Error, _ step: String, _ isForced: Bool,
        throwing refusal: (FastableError) -> FastableError
    ) throws -> FastableError {
        let failure = FastableError.unexpected(error, doing: "saving the project's content")
        // Who went away did not force anything.
        guard !Task.isCancelled else { throw failure }
        guard isForced else { throw refusal(failure) }
        logger.warning(
            "A project's content is given up without a snapshot.",
            metadata: ["project": "\(project.id)", "step": "\(step)", "error": "\(failure)"])
        return failure
    }

    private static func refusal(_ failure: FastableError, _ project: Project, _ step: String) -> FastableError {
        var refusal = failure
        refusal.message =
            "The content of ‘\(project.name)’ could not be saved, so it was not \(step): \(failure.message) To go on without "
            + "saving it, force the step."
        return refusal
    }

    /// Takes a snapshot. `nil` for an empty workspace, unless it is to be kept all the same.
    func take(
        _ project: Project, reason: Snapshot.Reason, keepsEmpty: Bool = true, context: OperationContext
    ) async throws -> Snapshot? {
        let placed = try await projects.prepared(project, request: context.requestID, telling: context.events)
        return try await take(placed, reason: reason, keepsEmpty: keepsEmpty, context: context)
    }

    /// The same for a project whose node is known to have it.
    func take(
        _ placed: PlacedProject, reason: Snapshot.Reason, keepsEmpty: Bool = true, context: OperationContext
    ) async throws -> Snapshot? {
        // Asked before the turn comes: what is empty waits for nobody.
        if !keepsEmpty {
            let (stream, head) = try await begin(placed, context)
            stream.reset(FastableError(.cancelled, "Only the head was wanted."))
            if head.isEmpty { return nil }
        }
        do {
            let snapshot = try await line.pass {
                try await receive(try await begin(placed, context).stream, from: placed, reason: reason, context)
            }
            metrics.add(.snapshots, 1, [reason.rawValue, "ok"])
            await removeSurplus(of: placed.project)
            return snapshot
        } catch {
            let failure = FastableError.unexpected(error, doing: "taking a snapshot")
            metrics.add(.snapshots, 1, [reason.rawValue, failure.code.rawValue])
            throw failure
        }
    }

    private func begin(
        _ placed: PlacedProject, _ context: OperationContext
    ) async throws -> (stream: MuxStream, head: SnapshotHead) {
        let stream = try await transfers.open(.snapshotRead, SnapshotRead(), placed, context)
        let head = try await StallGuard.watch(stream, seconds: stallSeconds) { _ in
            try await TransferService.message(of: SnapshotHead.self, from: stream)
        }
        return (stream, head)
    }

    private func receive(
        _ stream: MuxStream, from placed: PlacedProject, reason: Snapshot.Reason, _ context: OperationContext
    ) async throws -> Snapshot {
        let began = ContinuousClock.now
        let draft: ArchiveDraft
        do { draft = try await archives.begin(SnapshotID()) } catch {
            stream.reset(FastableError(.cancelled, "The controller cannot take the archive."))
            throw error
        }
        do {
            let facts = try await StallGuard.watch(stream, seconds: stallSeconds) { guarding in
                try await collect(stream, into: draft, guarding, context)
            }
            try await context.events?(.progress(message: "Checking the archive.", fraction: nil))
            try await draft.commit(expecting: facts)
            let project = placed.project
            let snapshot = Snapshot(
                id: draft.id, workspace: project.workspace, project: project.id, projectName: project.name,
                node: placed.client.node, image: project.image, createdAt: .nowMilliseconds, reason: reason,
                facts: facts)
            try await store.recordSnapshot(snapshot)
            archives.end(draft.id)
            logger.info(
                "A snapshot was taken.",
                metadata: [
                    "snapshot": "\(draft.id)", "project": "\(project.id)", "reason": "\(reason.rawValue)",
                    "bytes": "\(facts.archiveBytes)", "took": "\(ContinuousClock.now - began)",
                ])
            return snapshot
        } catch {
            // Also after a cancellation: half an archive must not stay.
            await Task { await draft.discard() }.value
            stream.reset(FastableError(.cancelled, "The controller gave the archive up."))
            throw error
        }
    }

    /// The node's counts come behind its last byte: without them the archive is not whole.
    private func collect(
        _ stream: MuxStream, into draft: ArchiveDraft, _ guarding: StallGuard, _ context: OperationContext
    ) async throws -> SnapshotFacts {
        var facts: SnapshotFacts?
        var progress = WorkProgress("Archived", of: nil)
        while let event = try await stream.next() {
            guarding.touch()
            switch event {
            case .data(_, let bytes):
                metrics.add(.transferredBytes, Double(bytes.readableBytes), ["out"])
                try await draft.write(bytes)
                try await progress.add(bytes.readableBytes, context)
            case .message(let payload):
                facts = try JSON.decode(NodeReply<SnapshotFacts>.self, from: Data(buffer: payload)).get()
            case .end: break
            }
        }
        guard let facts else {
            throw FastableError(.unavailable, "The node ended the archive too early. Try again.", retryAfterSeconds: 5)
        }
        return facts
    }

    // MARK: keeping and removing

    /// The newest one that can be restored, or the one with this id, of this project.
    func snapshot(_ id: String?, of project: Project) async throws -> Snapshot {
        guard let id else {
            let newest = try await store.snapshots(
                of: project.id, in: project.workspace, before: nil, limit: Limits.pageRows)
            guard let found = newest.first(where: { $0.state == .verified }) else {
                throw FastableError(
                    .notFound,
                    "The project ‘\(project.name)’ has no snapshot yet. `fastable project snapshot` takes one.")
            }
            return found
        }
        let found = try await snapshot(id, in: project.workspace)
        guard found.project == project.id else {
            throw FastableError(
                .conflict,
                "The snapshot ‘\(found.id)’ is one of ‘\(found.projectName)’. Make a new project from it: "
                    + "`fastable project create NAME --from-snapshot \(found.id)`.",
                details: ["snapshot": .string(found.id.description)])
        }
        return found
    }

    func snapshot(_ text: String, in workspace: WorkspaceID) async throws -> Snapshot {
        guard let id = SnapshotID(text) else { throw FastableError.missing(.snapshot, text) }
        return try await store.snapshot(id, in: workspace)
    }

    /// Removes what the retention does not keep. What fails is tried again after the next snapshot.
    private func removeSurplus(of project: Project) async {
        do {
            let all = try await store.snapshots(
                of: project.id, in: project.workspace, before: nil, limit: Limits.pageRows)
            let fresh = try await store.activeProjects([project.id]).first
            let held = fresh?.archive?.snapshot ?? fresh?.move?.snapshot
            for snapshot in SnapshotRetention.surplus(of: all, holding: held) { try await remove(snapshot) }
        } catch {
            logger.warning(
                "Old snapshots could not be removed.", metadata: ["project": "\(project.id)", "error": "\(error)"])
        }
    }

    /// The row goes first: an archive without one is removed with the next round.
    func remove(_ snapshot: Snapshot) async throws {
        try await store.removeSnapshot(snapshot.id)
        await archives.remove(snapshot.id)
    }

    /// At the start of the program, and from time to time: what was begun and never became a snapshot.
    func removeAbandoned() async {
        for id in await archives.removeDrafts() {
            guard let isKnown = try? await store.snapshotExists(id), !isKnown else { continue }
            await archives.remove(id)
        }
    }

    /// From time to time: snapshots of projects that were deleted long ago.
    func removeExpired(at now: Date) async {
        do {
            for snapshot in try await store.expiredSnapshots(at: now, limit: Limits.pageRows) {
                try await remove(snapshot)
            }
        } catch {
            logger.warning("Expired snapshots could not be removed.", metadata: ["error": "\(error)"])
        }
    }
}
