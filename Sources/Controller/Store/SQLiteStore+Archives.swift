public import ControllerDomain
public import FastableCore
public import FoundationEssentials
import GRDB

extension SQLiteStore {
    public func activeProjects(_ ids: [ProjectID]) async throws -> [Project] {
        try await read { db in
            let find = "SELECT \(Project.columns) FROM projects WHERE id = $1 AND deleted_at IS NULL"
            return try ids.compactMap { try db.row(find, $0.description).map(Project.init(_:)) }
        }
    }

    public func archivedProjects(after last: ProjectID?, limit: Int) async throws -> [Project] {
        let limit = min(max(1, limit), Limits.pageRows)
        return try await read { db in
            let select = """
                SELECT \(Project.columns) FROM projects
                WHERE archive_snapshot IS NOT NULL AND id > $1 AND deleted_at IS NULL ORDER BY id LIMIT $2
                """
            return try db.rows(select, last?.description ?? "", limit).map(Project.init(_:))
        }
    }

    // MARK: there

    public func beginRemoval(
        of project: ProjectID, savedIn snapshot: SnapshotID, restingSince: Date, at now: Date
    ) async throws -> Project {
        try await write { db in
            try db.project(
                """
                UPDATE projects SET archive_state = 'removing', archive_snapshot = $1, archive_since = $2,
                    archive_resting_since = $3
                WHERE id = $4 AND archive_state IS NULL AND move_state IS NULL AND node_id IS NOT NULL AND deleted_at IS NULL
                    AND EXISTS (SELECT 1 FROM snapshots WHERE id = $1 AND project_id = $4 AND state = 'verified')
                """,
                project, snapshot.description, now.milliseconds, restingSince.milliseconds, project.description)
        }
    }

    public func finishRemoval(of project: ProjectID, at now: Date) async throws -> Project {
        let archived = try await write { db in
            let archived = try db.project(
                """
                UPDATE projects SET archive_state = 'archived', archive_since = $1, node_id = NULL, notice_step = NULL
                WHERE id = $2 AND archive_state = 'removing' AND deleted_at IS NULL
                """,
                project, now.milliseconds, project.description)
            if let snapshot = archived.archive?.snapshot {
                try PlatformEvent.archived(archived, in: snapshot, at: now).append(storedAt: now, db)
            }
            return archived
        }
        signals.send()
        return archived
    }

    public func cancelRemoval(of project: ProjectID) async throws -> Project {
        try await write { db in
            try db.project(
                """
                UPDATE projects SET \(Project.noArchive)
                WHERE id = $1 AND archive_state = 'removing' AND deleted_at IS NULL
                """,
                project, project.description)
        }
    }

    // MARK: and back

    public func beginRestore(of project: ProjectID, on node: NodeID, at now: Date) async throws -> Project {
        try await write { db in
            try db.project(
                """
                UPDATE projects SET archive_state = 'restoring', archive_since = $1, node_id = $2,
                    stay = MAX(stay, last_stay) + 1, last_stay = MAX(stay, last_stay) + 1
                WHERE id = $3 AND archive_state IN ('archived', 'restoring') AND deleted_at IS NULL
                    AND NOT EXISTS (SELECT 1 FROM remains WHERE project_id = $3 AND node_id = $2 AND done_at IS NULL)
                    AND \(ProjectRemains.noneRuns("$3")) AND \(NodeRecord.takesProjects("$2"))
                """,
                project, now.milliseconds, node.description, project.description)
        }
    }

    public func finishRestore(
        of project: Project, from snapshot: SnapshotID, at now: Date
    ) async throws -> Project {
        let restored = try await write { db in
            let restored = try db.project(
                """
                UPDATE projects SET \(Project.noArchive)
                WHERE id = $1 AND archive_state = 'restoring' AND stay = $2 AND deleted_at IS NULL
                """,
                project.id, project.id.description, project.stay)
            try PlatformEvent.restored(restored, from: snapshot, at: now).append(storedAt: now, db)
            return restored
        }
        signals.send()
        return restored
    }

    public func abandonRestore(of project: Project, isRemoved: Bool, at now: Date) async throws -> Project {
        try await write { db in
            let archived = try db.project(
                """
                UPDATE projects SET archive_state = 'archived', archive_since = $1, node_id = NULL
                WHERE id = $2 AND archive_state = 'restoring' AND stay = $3 AND deleted_at IS NULL
                """,
                project.id, now.milliseconds, project.id.description, project.stay)
            if !isRemoved, let node = project.node {
                try db.change(
                    """
                    INSERT INTO remains (node_id, project_id, stay, workspace_id, since) VALUES ($1, $2, $3, $4, $5)
                    """,
                    node.description, project.id.description, project.stay, project.workspace.description,
                    now.milliseconds)
            }
            return archived
        }
    }

    // MARK: what is told, and the end

    public func announce(
        _ notice: ProjectDescent.Notice, of project: Project, due: Date
    ) async throws {
        try await write { db in
            _ = try db.project(
                """
                UPDATE projects SET notice_step = $1, notice_resting_since = $2, notice_told_at = $3
                WHERE id = $4 AND lifecycle_revision = $5 AND deleted_at IS NULL
                """,
                project.id, notice.step.rawValue, notice.restingSince.milliseconds, notice.toldAt.milliseconds,
                project.id.description, project.lifecycleRevision)
            try PlatformEvent.announced(notice.step, of: project, due: due, at: notice.toldAt).append(
                storedAt: notice.toldAt, db)
        }
        signals.send()
    }

    public func deleteArchived(_ project: Project, at now: Date) async throws -> Project {
        let marked = try await write { db in
            guard let archive = project.archive else { throw project.changedError }
            let marked = try db.project(
                """
                UPDATE projects SET deleted_at = $1
                WHERE id = $2 AND archive_state = 'archived' AND archive_since = $3 AND lifecycle_revision = $4
                    AND deleted_at IS NULL
                """,
                project.id, now.milliseconds, project.id.description, archive.since.milliseconds,
                project.lifecycleRevision)
            try marked.noteDeletion(at: now, db)
            return marked
        }
        signals.send()
        return marked
    }
}

extension Database {
    /// A change of one project that is made only in the right state. Throws `conflict` in another one.
    func project(
        _ change: String, _ id: ProjectID, _ values: (any DatabaseValueConvertible)?...
    ) throws -> Project {
        let changed = try Row.fetchOne(
            cachedStatement(sql: "\(change) RETURNING \(Project.columns)"), arguments: StatementArguments(values))
        if let changed { return try Project(changed) }
        let project = try Project.find(id, in: nil, self)
        throw project.state == .active ? project.changedError : project.goneError
    }
}

extension Project {
    static let noArchive = """
        archive_state = NULL, archive_snapshot = NULL, archive_since = NULL, archive_resting_since = NULL, \
        notice_step = NULL
        """

    var changedError: FastableError {
        FastableError(
            .conflict, "Something else became of the project ‘\(name)’ meanwhile. Try again.", retryAfterSeconds: 1)
    }

    /// The event, and the end of its snapshots.
    func noteDeletion(at now: Date, _ db: Database) throws {
        try PlatformEvent.deleted(self, at: now).append(storedAt: now, db)
        try db.change(
            "UPDATE snapshots SET expires_at = $1 WHERE project_id = $2",
            Snapshot.expiry(ofProjectDeletedAt: now).milliseconds, id.description)
    }
}

extension ProjectArchive {
    init?(_ reader: inout RowReader) throws {
        let state = try reader.optionalText()
        let snapshot: SnapshotID? = try reader.optionalID()
        let (since, restingSince) = (try reader.optionalDate(), try reader.optionalDate())
        guard let state else { return nil }
        guard let state = State(rawValue: state), let snapshot, let since, let restingSince else {
            throw reader.damaged()
        }
        self.init(state: state, snapshot: snapshot, since: since, restingSince: restingSince)
    }
}

extension ProjectDescent.Notice {
    init?(_ reader: inout RowReader) throws {
        let step = try reader.optionalText()
        let (restingSince, toldAt) = (try reader.optionalDate(), try reader.optionalDate())
        guard let step else { return nil }
        guard let step = ProjectDescent.Step(rawValue: step), let restingSince, let toldAt else {
            throw reader.damaged()
        }
        self.init(step: step, restingSince: restingSince, toldAt: toldAt)
    }
}
