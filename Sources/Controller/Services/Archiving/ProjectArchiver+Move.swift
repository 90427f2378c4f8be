import ControllerDomain
import ControllerFleet
import ControllerStore
package import FastableCore
import FoundationEssentials
import Logging
import Synchronization

/// From one node to another.
///
/// The content goes through the controller's store: saved from the one, written to the other, and only then given up by the first, which
/// refuses when anything has happened to it since. Who comes meanwhile waits.
extension ProjectArchiver {
    /// Moves a project off a node. Returns it as it is then, also when it is elsewhere already.
    ///
    /// - Parameters:
    ///   - isUrgent: what works in it is asked to end; otherwise it is not touched.
    ///   - isForced: when its content cannot be saved, it goes on from its last snapshot.
    /// - Throws: why it stays where it is: `conflict` while something works in it.
    func move(_ project: Project, off node: NodeID, isUrgent: Bool, isForced: Bool = false) async throws -> Project {
        let (work, isNew) = start(.move, project.id) { [self] in
            let (id, workspace) = (project.id, project.workspace)
            do {
                let known = try await store.project(.id(id), in: workspace)
                let moved: Project
                do { moved = try await takeElsewhere(known, off: node, isUrgent: isUrgent) } catch let error as Unsaved
                {
                    guard isForced else { throw error.failure }
                    moved = try await forceAway(
                        try await store.project(.id(id), in: workspace), isUrgent: isUrgent, instead: error.failure)
                }
                snapshots.metrics.add(.projectMoves, 1, ["ok"])
                return moved
            } catch {
                let failure = FastableError.unexpected(error, doing: "moving the project")
                if failure.code != .conflict { snapshots.metrics.add(.projectMoves, 1, [failure.code.rawValue]) }
                throw failure
            }
        }
        guard isNew || work.kind == .move else { throw Self.isBusy(project, work.kind) }
        return try await withTaskCancellationHandler {
            try await work.task.value
        } onCancel: {
            work.task.cancel()
        }
    }

    /// The content cannot be saved: why.
    private struct Unsaved: Error { var failure: FastableError }

    /// How far it is, for people.
    private func tell(_ project: ProjectID, _ message: String, _ fraction: Double? = nil) {
        state.withLock {
            $0.stages[project] = Stage(message: "The project moves to another node. \(message)", fraction: fraction)
        }
    }

    private func takeElsewhere(_ known: Project, off node: NodeID, isUrgent: Bool) async throws -> Project {
        var project = known
        if project.move != nil { project = try await settleMove(project) }
        guard project.node == node, project.archive == nil else { return project }
        // Before anything ends: there must be a place for it.
        let target = try await destination(of: project, except: [node])
        tell(project.id, "Its container ends.")
        let source = try await quiet(project, on: node, isUrgent: isUrgent)
        projects.whereabouts.leaves(project.id)
        do {
            // Whoever came before that is seen here; whoever comes now waits.
            let restingSince = try await stop(source, isUrgent: isUrgent)
            let moving = try await copy(source, to: target, restingSince)
            return try await switchOver(moving)
        } catch {
            // A step that its node may have taken stays open; everything else is undone, also after a cancellation.
            await Task { await undoMove(of: project) }.value
            throw error
        }
    }

    /// The project's node, once nothing works in its container any more, or once what did was ended.
    private func quiet(_ project: Project, on node: NodeID, isUrgent: Bool) async throws -> PlacedProject {
        let source = PlacedProject(project: project, client: try projects.nodes.client(for: node))
        // A node that was not asked for anything yet knows the project from here on, so that what comes late is seen by it.
        do {
            _ = try await source.client.call(
                .projectPrepare, project.containerSpec, returning: Empty.self, request: RequestID(),
                timeout: .seconds(Limits.nodeAnswerSeconds))
        } catch {
            try Task.checkCancellation()
            // Its disk cannot be opened, for one thing.
            throw Unsaved(failure: FastableError.unexpected(error, doing: "looking at the project's files"))
        }
        _ = try await stop(source, isUrgent: isUrgent)
        return source
    }

    func stop(_ source: PlacedProject, isUrgent: Bool) async throws -> Date {
        let isOld = try await store.node(.id(source.client.node)).leaseSeconds == nil
        guard isUrgent || !isOld else {
            throw FastableError(
                .unavailable,
                "Its node is of an older release, which spares nothing that works. Upgrade it, or set a deadline.")
        }
        let wish = ContainerStop(
            project: source.project.id,
            reason:
                "Its node is drained: the project moves to another one. It is made again on next use; files are kept.",
            manner: isUrgent ? .grace : .idle)
        let status = try await source.client.call(
            .containerStop, wish, returning: ContainerStatus.self, request: RequestID(),
            timeout: .seconds(Limits.containerStopSeconds + Limits.drainGraceSeconds + Limits.nodeAnswerSeconds))
        guard let restingSince = status.restingSince else {
            throw FastableError(.conflict, "Its container is needed just now (\(status.state.rawValue)).")
        }
        return restingSince
    }

    private func copy(_ source: PlacedProject, to target: NodeID, _ restingSince: Date) async throws -> Project {
        let project = source.project
        let told = context(project) { [self] event in
            if case .progress(let message, let fraction) = event { tell(project.id, message, fraction) }
        }
        tell(project.id, "Its files are saved.")
        let snapshot = try await save(source, told)
        try Task.checkCancellation()
        let moving = try await store.beginMove(
            of: project, to: target, savedIn: snapshot.id, restingSince: restingSince, at: .nowMilliseconds)
        projects.forget(moving)
        guard let move = moving.move else { throw FastableError(.internal, "The move was not stored.") }
        var guest = moving
        (guest.node, guest.stay) = (target, move.stay)
        try await projects.kills.checkStart(guest)
        let place = PlacedProject(project: guest, client: try projects.nodes.client(for: target))
        _ = try await place.client.call(
            .projectPrepare, guest.containerSpec, returning: Empty.self, request: RequestID(),
            timeout: .seconds(Limits.nodeAnswerSeconds))
        _ = try await snapshots.fill(place, with: snapshot, keepingAs: nil, context: told)
        return moving
    }

    private func save(_ source: PlacedProject, _ context: OperationContext) async throws -> Snapshot {
        do {
            guard let snapshot = try await snapshots.take(source, reason: .drain, context: context) else {
                throw FastableError(.internal, "The project's content was not saved.")
            }
            try Self.requireFence(snapshot.facts)
            return snapshot
        } catch {
            // Who went away did not force anything.
            try Task.checkCancellation()
            throw Unsaved(failure: FastableError.unexpected(error, doing: "saving the project's content"))
        }
    }

    private func switchOver(_ moving: Project) async throws -> Project {
        guard let target = moving.move?.target else { return moving }
        // Nothing is given up for a node that has just gone.
        _ = try projects.nodes.client(for: target)
        try Task.checkCancellation()
        tell(moving.id, "Its node gives it up.")
        let switching = try await store.switchMove(of: moving, at: .nowMilliseconds)
        projects.forget(switching)
        return try await settleMove(switching)
    }

    /// Takes a move that nobody carries out any more to its end: back while the target has only a part of the content, forth otherwise,
    /// unless the project was used on its node meanwhile. Only as the project's one work. Cheap to repeat.
    func settleMove(_ project: Project) async throws -> Project {
        guard let move = project.move, let node = project.node else { return project }
        guard move.state == .switching else { return try await keepInPlace(project) }
        projects.whereabouts.leaves(project.id)
        let snapshot = try await store.snapshot(move.snapshot, in: project.workspace)
        guard let fingerprint = snapshot.facts.fingerprint else { return try await keepInPlace(project) }
        // Once its node was asked there is no way to take that back.
        return try await Task { [self] in
            do {
                let saved = ProjectRelease.Saved(fingerprint: fingerprint, restingSince: move.restingSince)
                try await release(ProjectRelease(project: project.id, stay: project.stay, saved: saved), on: node)
            } catch let error as FastableError where error.code == .conflict {
                _ = try await keepInPlace(project)
                throw error
            }
            let moved = try await store.finishMove(of: project, at: .nowMilliseconds)
            projects.forget(moved)
            projects.whereabouts.settles(moved.id, stay: moved.stay)
            await note("project.moved", moved)
            logger.notice(
                "A project was moved to another node.",
                metadata: [
                    "project": "\(moved.id)", "snapshot": "\(move.snapshot)", "from": "\(node)", "to": "\(move.target)",
                ])
            Task { await projects.sendLifecycles(to: move.target) }
            return moved
        }.value
    }

    private func keepInPlace(_ project: Project) async throws -> Project {
        let kept = try await store.cancelMove(of: project)
        projects.forget(kept)
        projects.whereabouts.settles(kept.id, stay: kept.stay)
        return kept
    }

    private func undoMove(of project: Project) async {
        do {
            let fresh = try await store.project(.id(project.id), in: project.workspace)
            switch fresh.move?.state {
            // Its node was asked, and did not answer: it is asked again.
            case .switching: return
            case .copying: _ = try await keepInPlace(fresh)
            case nil: projects.whereabouts.settles(fresh.id, stay: fresh.stay)
            }
            await sweepRemains(of: project.id)
        } catch {
            logger.info(
                "A move that failed waits to be undone.", metadata: ["project": "\(project.id)", "error": "\(error)"])
        }
    }

    /// Moves that an earlier run of the program had begun, or whose node did not answer.
    package func settleMoves() async throws {
        for project in try await store.movingProjects(limit: Limits.pageRows) {
            let (work, isNew) = start(.move, project.id) { [self] in
                try await settleMove(try await store.project(.id(project.id), in: project.workspace))
            }
            guard isNew else { continue }
            do { _ = try await work.task.value } catch {
                logger.info(
                    "A move is not settled yet.", metadata: ["project": "\(project.id)", "error": "\(error)"])
            }
        }
    }

    // MARK: where to, and what is left there

    /// A node for the project, which must have nothing left of it from an earlier time.
    func destination(of project: Project, except excluded: Set<NodeID>) async throws -> NodeID {
        var remains = try await store.remains(of: project.id, after: nil, limit: Limits.pageRows)
        if !remains.isEmpty {
            await sweepRemains(of: project.id, isAwaited: true)
            remains = try await store.remains(of: project.id, after: nil, limit: Limits.pageRows)
        }
        if project.archive != nil {
            for aside in remains where aside.kind == .setAside { try await requireEnd(of: aside, project) }
        }
        let decision = try await projects.placement.decide(
            PlacementDemand(project), for: project.workspace, except: excluded.union(remains.map(\.node)),
            placing: project.id)
        return try decision.requireNode()
    }

    /// Lets nodes remove what they have of moves that were given up. A node that is away is asked when it is back.
    ///
    /// - Parameter isAwaited: somebody waits for it, so that a node which has not noticed yet that a call was cut off gets a moment for that.
    package func sweepRemains(of project: ProjectID? = nil, on node: NodeID? = nil, isAwaited: Bool = false) async {
        do {
            let linked = Set(projects.nodes.connectedNodes().map(\.id))
            let known = Set(try await store.nodes().map(\.id))
            var last: ProjectRemains?
            while true {
                let page = try await store.remains(of: project, after: last, limit: Limits.pageRows)
                for remains in page where node == nil || remains.node == node {
                    if linked.contains(remains.node) {
                        await remove(remains, isAwaited)
                    } else if !known.contains(remains.node), remains.kind == .remove {
                        // A node that was removed from the fleet has nothing that counts any more.
                        try await store.forget(remains)
                    }
                }
                guard page.count == Limits.pageRows else { return }
                last = page.last
            }
        } catch {
            logger.warning("What is left of moves cannot be looked at.", metadata: ["error": "\(error)"])
        }
    }

    private func remove(_ remains: ProjectRemains, _ isAwaited: Bool) async {
        do {
            if remains.kind == .setAside { return try await confirmSetAside(remains) }
            try await removePart(of: remains.project, remains.stay, on: remains.node, isAwaited: isAwaited)
            try await store.forget(remains)
        } catch {
            logger.info(
                "What is left of a move waits for its node.",
                metadata: ["project": "\(remains.project)", "node": "\(remains.node)", "error": "\(error)"])
        }
    }

    /// A node that was lost has set it aside before it was let in; now it tells where.
    private func confirmSetAside(_ remains: ProjectRemains) async throws {
        let copy = try await projects.nodes.client(for: remains.node).call(
            .projectSetAside, ProjectDeparture(project: remains.project, stay: remains.stay),
            returning: SetAsideCopy.self, request: RequestID(),
            timeout: .seconds(Limits.containerStopSeconds + Limits.nodeAnswerSeconds))
        try await store.wasSetAside(remains, path: copy.path, at: .nowMilliseconds)
    }
}
