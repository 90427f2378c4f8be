import ControllerDomain
import ControllerStore
import FastableCore
import FoundationEssentials
import Logging
import Synchronization

/// The way back.
extension ProjectArchiver {
    typealias Listener = @Sendable (OperationEvent) async throws -> Void

    /// The project as it is on a node: one that is archived is restored first. Any number of callers share one restore.
    ///
    /// - Parameter chosen: the content that it gets; that of its archive unless given.
    /// - Throws: why it cannot be restored; it stays archived then.
    func comeBack(
        _ project: Project, from chosen: Snapshot? = nil, telling listener: Listener?
    ) async throws -> Project {
        while true {
            let fresh = try await store.project(.id(project.id), in: project.workspace)
            guard fresh.isAway || projects.whereabouts.isPassed(fresh) else { return fresh }
            let (work, _) = start(.restore, fresh.id) { [self] in try await restore(fresh, chosen) }
            do {
                let back = try await follow(work, of: fresh.id, listener)
                if !back.isAway { return back }
            } catch {
                if work.kind == .restore || Task.isCancelled { throw error }
            }
            // An archiving or a move has ended, whichever way: what there is now is looked at again.
        }
    }

    private func follow(_ work: Work, of project: ProjectID, _ listener: Listener?) async throws -> Project {
        guard let listener else { return try await work.task.value }
        return try await withThrowingTaskGroup(of: Project?.self) { group in
            group.addTask { try await work.task.value }
            group.addTask {
                while true {
                    let stage = self.state.withLock { $0.stages[project] }
                    try await listener(
                        .progress(message: stage?.message ?? Self.opening(of: work.kind), fraction: stage?.fraction))
                    try await Task.sleep(for: .milliseconds(Limits.workProgressMilliseconds))
                }
            }
            defer { group.cancelAll() }
            guard let back = try await group.next().flatMap(\.self) else { throw CancellationError() }
            return back
        }
    }

    private static func opening(of kind: Work.Kind) -> String {
        kind == .move ? "The project moves to another node." : "Restoring the project."
    }

    private func restore(_ known: Project, _ chosen: Snapshot?) async throws -> Project {
        let (id, workspace) = (known.id, known.workspace)
        var project = try await store.project(.id(id), in: workspace)
        if project.move?.state == .switching { project = try await settled(project, by: settleMove) }
        if project.archive?.state == .removing { project = try await settled(project, by: finish) }
        if project.archive?.state == .restoring { project = try await abandon(project) }
        guard let archive = project.archive else {
            projects.whereabouts.settles(id, stay: project.stay)
            return project
        }
        do {
            let back = try await fill(project, chosen?.id ?? archive.snapshot)
            state.withLock { $0.failures[id] = nil }
            return back
        } catch {
            let failure = FastableError.unexpected(error, doing: "restoring the project")
            fail(id, failure, now: .nowMilliseconds)
            throw Self.explained(failure, project)
        }
    }

    /// A project of whose node nobody knows whether it still has it, once that is known.
    private func settled(
        _ project: Project, by step: @Sendable (Project) async throws -> Project
    ) async throws -> Project {
        do { return try await step(project) } catch let error as FastableError where error.code == .conflict {
            // It was used where it is, so it stays there.
            return try await store.project(.id(project.id), in: project.workspace)
        } catch let error as FastableError where error.code == .unavailable {
            guard let left = try await leaveLost(project) else { throw error }
            return left
        }
    }

    private static func explained(_ failure: FastableError, _ project: Project) -> FastableError {
        var explained = failure
        explained.message =
            "The project ‘\(project.name)’ is archived, and could not be restored: \(failure.message) It stays archived, and the "
            + "next use tries again."
        return explained
    }

    private func fill(_ project: Project, _ snapshot: SnapshotID) async throws -> Project {
        try await projects.kills.checkStart(project)
        let snapshot = try await store.snapshot(snapshot, in: project.workspace)
        let node = try await destination(of: project, except: [])
        let begun = try await store.beginRestore(of: project.id, on: node, at: .nowMilliseconds)
        projects.whereabouts.leaves(project.id)
        projects.forget(begun)
        do {
            let began = ContinuousClock.now
            let context = context(begun) { [self] event in
                guard case .progress(let message, let fraction) = event else { return }
                state.withLock {
                    $0.stages[begun.id] = Stage(message: "Restoring the project. \(message)", fraction: fraction)
                }
            }
            _ = try await snapshots.restore(snapshot, into: begun, on: node, keepingAs: nil, context: context)
            let back = try await store.finishRestore(of: begun, from: snapshot.id, at: .nowMilliseconds)
            projects.forget(back)
            projects.whereabouts.settles(back.id, stay: back.stay)
            await note("project.restored", back)
            logger.notice(
                "A project was restored from its archive.",
                metadata: [
                    "project": "\(back.id)", "snapshot": "\(snapshot.id)", "node": "\(node)",
                    "took": "\(ContinuousClock.now - began)",
                ])
            return back
        } catch {
            do { _ = try await abandon(begun) } catch {
                // The node may have a part of it. It is asked again in a while, and before the next attempt.
                logger.info(
                    "A restore that failed waits to be undone.",
                    metadata: ["project": "\(begun.id)", "error": "\(error)"])
            }
            throw error
        }
    }

    /// What was read before this work began may be old: somebody may use the project by now.
    func abandonIfRestoring(_ known: Project) async throws -> Project {
        let fresh = try await store.project(.id(known.id), in: known.workspace)
        return fresh.archive?.state == .restoring ? try await abandon(fresh) : fresh
    }

    /// Undoes a restore that nobody carries out any more: nobody ever used what the node has of it. Only as the project's one work.
    func abandon(_ project: Project) async throws -> Project {
        var isRemoved = true
        if let node = project.node {
            do {
                try await removePart(of: project.id, project.stay, on: node, isAwaited: true)
            } catch let error as FastableError
                where error.code == .unavailable
            {
                // It is asked again when it is back, and gets the project not before.
                isRemoved = false
            }
        }
        let archived = try await store.abandonRestore(of: project, isRemoved: isRemoved, at: .nowMilliseconds)
        projects.forget(archived)
        return archived
    }

    /// The node may still be at work with what was cut off: it needs a moment to notice.
    func removePart(of project: ProjectID, _ stay: Int, on node: NodeID, isAwaited: Bool) async throws {
        let deadline = ContinuousClock.now + .seconds(isAwaited ? Limits.nodeAnswerSeconds : 0)
        while true {
            do {
                return try await release(ProjectRelease(project: project, stay: stay, saved: nil), on: node)
            } catch let error as FastableError where error.code == .conflict && ContinuousClock.now < deadline {
                try await Task.sleep(for: .milliseconds(Limits.workProgressMilliseconds))
            }
        }
    }

    /// Remembers that something failed, for people and for the next attempt.
    func fail(_ project: ProjectID, _ failure: FastableError, restingSince: Date? = nil, now: Date) {
        state.withLock { state in
            let last = state.failures[project].flatMap { $0.restingSince == restingSince ? $0 : nil }
            let attempts = (last?.attempts ?? 0) + 1
            state.failures[project] = Failure(
                message: failure.message, attempts: attempts,
                retryAt: now.addingTimeInterval(Double(Self.pauseSeconds(after: attempts))),
                restingSince: restingSince)
        }
    }

    /// What failed last, unless the project was used since.
    func failure(of project: ProjectID, restingSince: Date?) -> Failure? {
        state.withLock { state in
            state.failures[project].flatMap {
                $0.restingSince == nil || $0.restingSince == restingSince ? $0 : nil
            }
        }
    }

    /// Doubles with each failure, up to the longest.
    static func pauseSeconds(after attempts: Int) -> Int {
        let doublings = min(max(0, attempts - 1), 16)
        return min(Limits.archiveRetryLongestSeconds, Limits.archiveRetryFirstSeconds << doublings)
    }
}
