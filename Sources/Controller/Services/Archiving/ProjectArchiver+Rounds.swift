import ControllerDomain
import ControllerFleet
import ControllerStore
import FastableCore
package import FoundationEssentials
import Logging
import Synchronization

/// What happens by itself, from what the nodes report and what is stored. Any round may be missed.
extension ProjectArchiver {
    /// Returns when its task is cancelled.
    func run() async {
        while !Task.isCancelled {
            await round(now: .nowMilliseconds)
            try? await Task.sleep(for: .seconds(Limits.archiveLookSeconds))
        }
    }

    /// Settings were changed: what was expected of the projects holds no longer.
    func lookAgain() {
        state.withLock { state in
            state.looks = [:]
            state.hasListed = false
        }
    }

    /// Takes the steps that are due, or begins them.
    package func round(now: Date) async {
        do {
            try await listArchived(now)
            let rests = reportedRests()
            let due = state.withLock { state -> [ProjectID] in
                // What is neither reported nor archived was deleted, or is in use.
                state.looks = state.looks.filter { $0.value.isArchived || rests[$0.key] != nil }
                for (project, rest) in rests where state.looks[project]?.restingSince != rest.since {
                    state.looks[project] = Look(restingSince: rest.since, at: now)
                }
                return state.looks.filter { $0.value.at <= now && state.work[$0.key] == nil }.keys.sorted()
            }
            for start in stride(from: 0, to: due.count, by: Limits.pageRows) {
                let page = Array(due[start..<min(due.count, start + Limits.pageRows)])
                let found = try await store.activeProjects(page)
                let missing = Set(page).subtracting(found.map(\.id))
                state.withLock { state in for project in missing { state.looks[project] = nil } }
                for project in found { await look(at: project, rests[project.id], now) }
            }
        } catch {
            logger.warning("Projects that are to be archived cannot be looked at.", metadata: ["error": "\(error)"])
        }
    }

    /// Those that no node reports.
    private func listArchived(_ now: Date) async throws {
        guard state.withLock({ !$0.hasListed }) else { return }
        state.withLock { $0.hasListed = true }
        var last: ProjectID?
        do {
            repeat {
                let page = try await store.archivedProjects(after: last, limit: Limits.pageRows)
                state.withLock { state in
                    for project in page where state.looks[project.id] == nil {
                        state.looks[project.id] = Look(restingSince: nil, at: now, isArchived: true)
                    }
                }
                last = page.count < Limits.pageRows ? nil : page.last?.id
            } while last != nil
        } catch {
            state.withLock { $0.hasListed = false }
            throw error
        }
    }

    typealias Rest = (since: Date, node: NodeID)

    private func reportedRests() -> [ProjectID: Rest] {
        var rests: [ProjectID: Rest] = [:]
        for node in projects.nodes.connectedNodes() {
            for container in node.containers {
                if let since = container.restingSince { rests[container.project] = (since, node.id) }
            }
        }
        return rests
    }

    private func look(at project: Project, _ rest: Rest?, _ now: Date) async {
        do { try await step(project, rest, now) } catch {
            // Somebody was first, or the database does not answer: it is looked at again.
            logger.info(
                "A project was not taken a step down.", metadata: ["project": "\(project.id)", "error": "\(error)"])
        }
    }

    private func step(_ project: Project, _ rest: Rest?, _ now: Date) async throws {
        let situation = situation(of: project, restingSince: rest?.node == project.node ? rest?.since : nil)
        guard let next = ProjectDescent.next(situation, now: now), next.at <= now else {
            let next = ProjectDescent.next(situation, now: now)
            return state.withLock {
                $0.looks[project.id] = Look(
                    restingSince: rest?.since, at: next?.at ?? .distantFuture, isArchived: project.archive != nil)
            }
        }
        switch next.action {
        case .announce(let step, let due):
            guard let restingSince = situation.restingSince else { return }
            let notice = ProjectDescent.Notice(step: step, restingSince: restingSince, toldAt: now)
            try await store.announce(notice, of: project, due: due)
            projects.cache.forget(project)
        case .archive, .goOnRemoving: archiveLater(project, situation.restingSince)
        case .abandonRestore:
            _ = start(.restore, project.id) { [self] in
                do { return try await abandonIfRestoring(project) } catch {
                    fail(project.id, FastableError.unexpected(error, doing: "undoing a restore"), now: now)
                    throw error
                }
            }
        case .delete:
            // Who restores it meanwhile is first, or finds it deleted: the store decides.
            let deleted = try await store.deleteArchived(project, at: .nowMilliseconds)
            await note("project.deleted", deleted)
            await projects.removeDeleted(deleted)
            state.withLock { $0.looks[project.id] = nil }
        }
    }

    func situation(of project: Project, restingSince: Date?) -> ProjectDescent.Situation {
        let phase: ProjectDescent.Phase =
            switch project.archive?.state {
            case .removing: .removing
            case .restoring: .restoring
            case .archived: .archived(since: project.archive?.since ?? .distantFuture)
            case nil: restingSince.map { .resting(since: $0) } ?? .inUse
            }
        let retryAt = failure(of: project.id, restingSince: restingSince)?.retryAt
        // A restore that failed says nothing about when the project is to be deleted.
        let isArchived = project.archive?.state == .archived
        return ProjectDescent.Situation(
            phase: phase, policy: project.lifecyclePolicy, notice: project.notice,
            retryAt: isArchived ? nil : retryAt)
    }

    /// A few at a time; the others have their turn in a later round.
    private func archiveLater(_ project: Project, _ restingSince: Date?) {
        let busy = state.withLock { state in state.work.values.count { $0.kind == .archive } }
        guard busy < Limits.archivesAtOnce else { return }
        Task {
            do {
                _ = try await archive(project, restingSince: restingSince, isDue: true)
            } catch {
                await tellFailure(FastableError.unexpected(error, doing: "archiving the project"), of: project)
            }
        }
    }

    private func tellFailure(_ failure: FastableError, of project: Project) async {
        let now = Date.nowMilliseconds
        logger.warning(
            "A project could not be archived.", metadata: ["project": "\(project.id)", "error": "\(failure)"])
        guard failure.code != .conflict, let retryAt = state.withLock({ $0.failures[project.id]?.retryAt }) else {
            return
        }
        let event = PlatformEvent.archiveFailed(project, failure, retryAt: retryAt, at: now)
        do { try await store.appendEvent(event) } catch {
            logger.error("An event could not be stored.", metadata: ["kind": "\(event.kind)", "error": "\(error)"])
        }
    }
}

extension ProjectDescent.Situation {
    /// What a notice is bound to.
    fileprivate var restingSince: Date? {
        switch phase {
        case .resting(let since), .archived(let since): since
        case .inUse, .removing, .restoring: nil
        }
    }
}

/// What people are told.
extension ProjectArchiver {
    /// Adds what the node does not know: what becomes of the project when nobody uses it.
    func complete(_ explanation: inout ContainerExplanation, of project: Project) {
        let now = Date.nowMilliseconds
        let since = reportedRests()[project.id].flatMap { $0.node == project.node ? $0.since : nil }
        if let failure = failure(of: project.id, restingSince: since), since != nil || project.archive != nil {
            explanation.text +=
                " The last attempt \(since != nil ? "to archive it" : "to restore it") failed: \(failure.message)"
        }
        guard explanation.next == nil,
            let (step, due) = ProjectDescent.step(situation(of: project, restingSince: since), now: now),
            let shown = ContainerExplanation.Next.Step(rawValue: step.rawValue)
        else { return }
        let seconds = max(0, Int(due.timeIntervalSince(now)))
        explanation.next = ContainerExplanation.Next(step: shown, at: max(due, now), inSeconds: seconds)
        let word = step == .archive ? "archived" : "deleted"
        explanation.text +=
            " It will be \(word) in \(SpanText.of(.seconds(seconds))) unless it is used before."
    }

    /// The state of a project that is on no node.
    func stage(of project: ProjectID) -> Stage? { state.withLock { $0.stages[project] } }
}
