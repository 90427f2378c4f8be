import ControllerDomain
import ControllerFleet
import ControllerStore
import FastableCore
import FoundationEssentials
import Logging
import Synchronization

/// Takes projects that nobody uses from their nodes into the controller's store, and gives them back when somebody does; and takes them
/// from one node to another.
///
/// One piece of work at a time for each project. Every step is stored before its consequence: whenever this program is killed, the next
/// one finds in the store how far it was, and goes on there.
package final class ProjectArchiver: Sendable {
    struct Failure: Sendable {
        var message: String
        var attempts: Int
        var retryAt: Date
        /// What was tried after a use since is another attempt.
        var restingSince: Date?
    }

    /// How far a restore has come.
    struct Stage: Sendable {
        var message: String
        var fraction: Double?
    }

    struct Work: Sendable {
        enum Kind: Sendable { case archive, restore, move }

        var kind: Kind
        var task: Task<Project, any Error>
    }

    /// When a project is looked at next, and what was known of it.
    struct Look: Sendable {
        var restingSince: Date?
        var at: Date
        /// No node reports it.
        var isArchived = false
    }

    struct State {
        var work: [ProjectID: Work] = [:]
        var failures: [ProjectID: Failure] = [:]
        var stages: [ProjectID: Stage] = [:]
        var looks: [ProjectID: Look] = [:]
        var hasListed = false
    }

    let store: any Store
    let projects: ProjectService
    let snapshots: SnapshotService
    let conditions: NodeConditions
    let audit: AuditLog
    let logger: Logger
    let state = Mutex(State())

    init(
        store: any Store, projects: ProjectService, snapshots: SnapshotService, conditions: NodeConditions,
        audit: AuditLog, logger: Logger
    ) {
        self.conditions = conditions
        self.store = store
        self.projects = projects
        self.snapshots = snapshots
        self.audit = audit
        self.logger = logger
    }

    /// Archives a project now, which must have no container.
    ///
    /// - Parameters:
    ///   - rested: it must not have been used since then; since this call when it is `nil`.
    ///   - isDue: nobody asked for it, so that a failure is remembered, and waited after.
    /// - Throws: `conflict` when it is used, and why its content cannot be saved. Nothing was removed then.
    func archive(_ project: Project, restingSince rested: Date? = nil, isDue: Bool = false) async throws -> Project {
        let (work, isNew) = start(.archive, project.id) { [self] in
            let (id, workspace) = (project.id, project.workspace)
            do {
                let archived = try await takeAway(try await store.project(.id(id), in: workspace), rested)
                await note("project.archived", archived)
                state.withLock { $0.failures[id] = nil }
                return archived
            } catch {
                let failure = FastableError.unexpected(error, doing: "archiving the project")
                // Before anybody can begin anew.
                if isDue { fail(id, failure, restingSince: rested, now: .nowMilliseconds) }
                throw failure
            }
        }
        guard isNew || work.kind == .archive else { throw Self.isBusy(project, work.kind) }
        return try await work.task.value
    }

    static func isBusy(_ project: Project, _ kind: Work.Kind) -> FastableError {
        let how =
            switch kind {
            case .archive: "archived"
            case .restore: "restored"
            case .move: "moved to another node"
            }
        return FastableError(.conflict, "The project ‘\(project.name)’ is being \(how).", retryAfterSeconds: 5)
    }

    // MARK: one at a time

    /// Begins a piece of work, or gives the one that is under way.
    func start(
        _ kind: Work.Kind, _ project: ProjectID, _ body: @escaping @Sendable () async throws -> Project
    ) -> (work: Work, isNew: Bool) {
        state.withLock { state in
            if let known = state.work[project] { return (known, false) }
            let task = Task {
                defer { ended(project) }
                return try await body()
            }
            let work = Work(kind: kind, task: task)
            state.work[project] = work
            return (work, true)
        }
    }

    private func ended(_ project: ProjectID) {
        state.withLock { state in
            state.work[project] = nil
            state.stages[project] = nil
            // What becomes of it next is seen anew.
            state.looks[project] = nil
            // What is on no node is reported by none.
            state.hasListed = false
        }
    }

    // MARK: into the archive

    private func takeAway(_ project: Project, _ rested: Date?) async throws -> Project {
        if let archive = project.archive {
            switch archive.state {
            case .removing: return try await finish(project)
            case .archived: return project
            case .restoring: throw Self.isBusy(project, .restore)
            }
        }
        let restingSince = try await restingSince(of: project)
        if let rested, Int(restingSince.timeIntervalSince1970) > Int(rested.timeIntervalSince1970) {
            throw FastableError(.conflict, "The project ‘\(project.name)’ was used meanwhile.")
        }
        let context = context(project)
        guard let snapshot = try await snapshots.take(project, reason: .archive, context: context) else {
            throw FastableError(.internal, "The project's content was not saved.")
        }
        try Self.requireFence(snapshot.facts)
        guard project.move == nil else { throw Self.isBusy(project, .move) }
        // From here on nobody asks its node for anything without a look at what became of it.
        projects.whereabouts.leaves(project.id)
        let removing: Project
        do {
            removing = try await store.beginRemoval(
                of: project.id, savedIn: snapshot.id, restingSince: restingSince, at: .nowMilliseconds)
        } catch {
            projects.whereabouts.settles(project.id, stay: project.stay)
            throw error
        }
        projects.forget(removing)
        return try await finish(removing)
    }

    static func requireFence(_ facts: SnapshotFacts) throws {
        guard facts.isConsistent else {
            throw FastableError(.unavailable, "Its files changed while they were saved. Try again.")
        }
        guard facts.fingerprint != nil else {
            throw FastableError(.unavailable, "Its node is of an older release, which gives nothing up. Upgrade it.")
        }
    }

    /// As its node says now.
    private func restingSince(of project: Project) async throws -> Date {
        let status: ContainerStatus = try await projects.askContainer(
            .containerStatus, ProjectReference(project: project.id), of: project, request: RequestID()
        ) { _ in
            throw FastableError(.conflict, "The project was not used yet: there is nothing to archive.")
        }
        guard let restingSince = status.restingSince else {
            throw FastableError(
                .conflict,
                "The project ‘\(project.name)’ has a container (\(status.state.rawValue)). Stop it first with devcontainer.stop.",
                details: ["state": .string(status.state.rawValue)])
        }
        return restingSince
    }

    /// Lets the node give the files up, which are saved. Cheap to repeat.
    ///
    /// - Throws: `conflict` when the project was used since: it is what it was then.
    func finish(_ project: Project) async throws -> Project {
        projects.whereabouts.leaves(project.id)
        guard let archive = project.archive, let node = project.node else { return project }
        let snapshot = try await store.snapshot(archive.snapshot, in: project.workspace)
        guard snapshot.state == .verified, let fingerprint = snapshot.facts.fingerprint else {
            throw FastableError(.internal, "The snapshot ‘\(snapshot.id)’ is damaged: the project stays where it is.")
        }
        do {
            let saved = ProjectRelease.Saved(fingerprint: fingerprint, restingSince: archive.restingSince)
            try await release(ProjectRelease(project: project.id, stay: project.stay, saved: saved), on: node)
        } catch let error as FastableError where error.code == .conflict {
            let kept = try await store.cancelRemoval(of: project.id)
            projects.forget(kept)
            projects.whereabouts.settles(kept.id, stay: kept.stay)
            throw error
        }
        let archived = try await store.finishRemoval(of: project.id, at: .nowMilliseconds)
        projects.forget(archived)
        logger.notice(
            "A project was archived.", metadata: ["project": "\(project.id)", "snapshot": "\(snapshot.id)"])
        return archived
    }

    /// A node that was removed from the fleet has nothing that counts any more.
    func release(_ release: ProjectRelease, on node: NodeID) async throws {
        guard try await store.node(.id(node)).scheduling != .removed else { return }
        try await keepResults(of: release.project, from: node)
        _ = try await projects.nodes.client(for: node).call(
            .projectRelease, release, returning: Empty.self, request: RequestID(),
            timeout: .seconds(Limits.projectDeleteSeconds + Limits.nodeAnswerSeconds))
    }

    /// How its commands ended, which only the node knows and is to be known for days.
    private func keepResults(of project: ProjectID, from node: NodeID) async throws {
        do { try await copyResults(of: project, from: node) } catch let error as FastableError
            where ![.unavailable, .timeout, .cancelled].contains(error.code)
        {
            // A node that cannot tell it never will, and must not hold the project for that.
            logger.warning(
                "How commands of a project ended is not known any more.",
                metadata: ["project": "\(project)", "node": "\(node)", "error": "\(error)"])
        }
    }

    private func copyResults(of project: ProjectID, from node: NodeID) async throws {
        let client = try projects.nodes.client(for: node)
        var last: ExecID?
        repeat {
            let page = try await store.execs(of: project, before: last, limit: Limits.execsPerList)
            let open = page.filter { $0.node == node && $0.result == nil }.map(\.id)
            if !open.isEmpty {
                let known = try await client.call(
                    .execQuery, ExecQuery(project: project, execs: open), returning: [ExecStatus].self,
                    request: RequestID(), timeout: .seconds(Limits.nodeAnswerSeconds))
                try await store.keepResults(known.compactMap(\.result), of: project, on: node)
            }
            last = page.count == Limits.execsPerList ? page.last?.id : nil
        } while last != nil
    }

    // MARK: for others

    /// The platform's own wish.
    func context(
        _ project: Project, events: (@Sendable (OperationEvent) async throws -> Void)? = nil
    ) -> OperationContext {
        let principal = Principal(token: TokenID(), workspace: project.workspace, name: "fastable", scopes: [])
        return OperationContext(principal: principal, requestID: RequestID(), door: .system, events: events)
    }

    /// Nobody asked for it, so it stands in the audit by itself.
    func note(_ operation: String, _ project: Project) async {
        let detail = project.archive.map { ["snapshot": JSONValue.string($0.snapshot.description)] } ?? [:]
        await audit.append(
            AuditEvent(
                timeMilliseconds: 0, workspace: project.workspace, actor: nil, door: .system, request: RequestID(),
                operation: operation, project: project.id, subject: project.name, phase: .outcome, detail: detail))
    }
}
