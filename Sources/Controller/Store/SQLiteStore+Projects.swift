public import ControllerDomain
public import FastableCore
public import FoundationEssentials
import GRDB

extension SQLiteStore {
    public func createProject(_ project: Project, isFilling: Bool) async throws {
        let project = try project.validated()
        let environment = try JSON.text(project.environment)
        let origin = project.origin.columns
        let lifecycle = try project.lifecycle.column
        try await write { db in
            let count = try db.integer(
                "SELECT COUNT(*) FROM projects WHERE workspace_id = $1 AND deleted_at IS NULL",
                project.workspace.description)
            guard count < Limits.projectsPerWorkspace else {
                throw FastableError(
                    .limit, "The workspace has its most projects, \(Limits.projectsPerWorkspace). Delete some first.",
                    details: ["limit": .integer(Int64(Limits.projectsPerWorkspace))])
            }
            try WorkspaceQuota.checkDisk(project.limits.diskBytes, of: project.id, in: project.workspace, db)
            let added = try db.change(
                """
                INSERT INTO projects (\(Project.ownColumns), lifecycle, filling)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
                ON CONFLICT DO NOTHING
                """,
                project.id.description, project.workspace.description, project.name, project.image, project.limits.cpus,
                project.limits.memoryBytes, project.limits.pids, project.limits.diskBytes, environment,
                project.node?.description, origin.url, origin.branch, project.createdAt.milliseconds,
                project.deletedAt?.milliseconds, lifecycle, isFilling ? 1 : 0)
            guard added == 1 else {
                throw FastableError(
                    .conflict,
                    "A project named ‘\(project.name)’ exists already. Choose another name, or delete that one first.",
                    details: ["field": "name"])
            }
            try PlatformEvent.created(project).append(storedAt: project.createdAt, db)
        }
        signals.send()
    }

    public func projectIsFilled(_ id: ProjectID) async throws {
        try await write { db in try db.change("UPDATE projects SET filling = 0 WHERE id = $1", id.description) }
    }

    public func fillingProjects(limit: Int) async throws -> [Project] {
        try await read { db in
            let find = "SELECT \(Project.columns) FROM projects WHERE filling <> 0 AND deleted_at IS NULL LIMIT $1"
            return try db.rows(find, limit).map(Project.init(_:))
        }
    }

    public func project(_ key: ProjectKey, in workspace: WorkspaceID) async throws -> Project {
        try await read { db in
            switch key {
            case .id(let id):
                let project = try Project.find(id, in: workspace, db)
                guard project.state == .active else { throw project.goneError }
                return project
            case .name(let name):
                let find = """
                    SELECT \(Project.columns) FROM projects WHERE workspace_id = $1 AND name = $2 AND deleted_at IS NULL
                    """
                guard let row = try db.row(find, workspace.description, name) else {
                    throw FastableError.missing(.project, name)
                }
                return try Project(row)
            }
        }
    }

    public func projects(in workspace: WorkspaceID, after cursor: String?, limit: Int) async throws -> ProjectPage {
        let limit = min(max(1, limit), Limits.pageRows)
        return try await read { db in
            // One row more than asked for tells whether there is a next page.
            let rows = try db.rows(
                """
                SELECT \(Project.columns) FROM projects WHERE workspace_id = $1 AND name > $2 AND deleted_at IS NULL
                ORDER BY name LIMIT $3
                """,
                workspace.description, cursor ?? "", limit + 1)
            let projects = try rows.prefix(limit).map(Project.init(_:))
            return ProjectPage(projects: projects, next: rows.count > limit ? projects.last?.name : nil)
        }
    }

    public func placeProject(_ id: ProjectID, on node: NodeID) async throws -> Project {
        try await write { db in
            let place = """
                UPDATE projects SET node_id = $1
                WHERE id = $2 AND node_id IS NULL AND deleted_at IS NULL AND archive_state IS NULL
                    AND \(NodeRecord.takesProjects("$1"))
                RETURNING \(Project.columns)
                """
            if let row = try db.row(place, node.description, id.description) { return try Project(row) }
            let project = try Project.find(id, in: nil, db)
            guard project.state == .active else { throw project.goneError }
            guard project.node != nil || project.archive != nil else { throw project.changedError }
            return project
        }
    }

    public func markProjectDeleting(
        _ id: ProjectID, in workspace: WorkspaceID, at now: Date
    ) async throws -> Project {
        let marked = try await write { db in
            let mark = """
                UPDATE projects SET deleted_at = $1 WHERE id = $2 AND workspace_id = $3 AND deleted_at IS NULL
                RETURNING \(Project.columns)
                """
            if let row = try db.row(mark, now.milliseconds, id.description, workspace.description) {
                let project = try Project(row)
                try project.noteDeletion(at: now, db)
                return project
            }
            return try Project.find(id, in: workspace, db)
        }
        signals.send()
        return marked
    }

    public func deletingProjects(on node: NodeID?, after last: Project?, limit: Int) async throws -> [Project] {
        let limit = min(max(1, limit), Limits.pageRows)
        let deletedAfter = last?.deletedAt?.milliseconds ?? .min
        let idAfter = last?.id.description ?? ""
        return try await read { db in
            let select = """
                SELECT \(Project.columns) FROM projects
                WHERE deleted_at IS NOT NULL AND (deleted_at, id) > ($1, $2)
                """
            let order = "ORDER BY deleted_at, id"
            let rows =
                if let node {
                    try db.rows(
                        "\(select) AND node_id = $3 \(order) LIMIT $4", deletedAfter, idAfter, node.description, limit)
                } else {
                    try db.rows("\(select) \(order) LIMIT $3", deletedAfter, idAfter, limit)
                }
            return try rows.map(Project.init(_:))
        }
    }

    public func removeProject(_ id: ProjectID) async throws {
        try await write { db in
            let removed = try db.change(
                "DELETE FROM projects WHERE id = $1 AND deleted_at IS NOT NULL", id.description)
            guard removed == 0, try db.row("SELECT id FROM projects WHERE id = $1", id.description) != nil else {
                return
            }
            throw FastableError(.conflict, "The project ‘\(id)’ is not marked for deletion. Delete it first.")
        }
    }

    public func nodeLoads(for workspace: WorkspaceID) async throws -> [NodeID: NodeLoad] {
        try await read { db in
            let rows = try db.rows(
                """
                SELECT node_id, COUNT(*), SUM(CASE WHEN workspace_id = $1 THEN 1 ELSE 0 END),
                       COALESCE(SUM(disk_bytes), 0)
                FROM (
                    SELECT node_id, workspace_id, disk_bytes FROM projects WHERE node_id IS NOT NULL
                    UNION ALL
                    SELECT move_node, workspace_id, disk_bytes FROM projects
                    WHERE move_snapshot IS NOT NULL AND move_node IS NOT NULL)
                GROUP BY node_id
                """,
                workspace.description)
            var loads: [NodeID: NodeLoad] = [:]
            for row in rows {
                var reader = RowReader(row)
                let node: NodeID = try reader.id()
                loads[node] = NodeLoad(
                    projects: Int(try reader.integer()), workspaceProjects: Int(try reader.integer()),
                    diskBytes: Int(try reader.integer()))
            }
            return loads
        }
    }
}

extension Project {
    static let columns = """
        \(ownColumns), lifecycle, \
        (SELECT lifecycle FROM workspaces WHERE workspaces.workspace_id = projects.workspace_id), lifecycle_revision, \
        stay, archive_state, archive_snapshot, archive_since, archive_resting_since, move_state, move_node, move_stay, \
        move_snapshot, move_resting_since, move_since, notice_step, notice_resting_since, \
        notice_told_at, supervised
        """

    fileprivate static let ownColumns = """
        id, workspace_id, name, image, cpus, memory_bytes, pids, disk_bytes, environment, node_id, origin_url, \
        origin_branch, created_at, deleted_at
        """

    init(_ row: Row) throws {
        var reader = RowReader(row)
        self.init(
            id: try reader.id(), workspace: try reader.id(), name: try reader.text(), image: try reader.text(),
            limits: ResourceLimits(
                cpus: try reader.real(), memoryBytes: Int(try reader.integer()), pids: Int(try reader.integer()),
                diskBytes: try reader.optionalInteger().map { Int($0) }),
            environment: try reader.json(), node: try reader.optionalID(),
            origin: ProjectOrigin(url: try reader.optionalText(), branch: try reader.optionalText()),
            createdAt: try reader.date(), deletedAt: try reader.optionalDate(),
            lifecycle: try reader.optionalJSON() ?? LifecyclePolicy(),
            inheritedLifecycle: try reader.optionalJSON() ?? LifecyclePolicy(),
            lifecycleRevision: Int(try reader.integer()), stay: Int(try reader.integer()),
            archive: try ProjectArchive(&reader),
            move: try ProjectMove(&reader), notice: try ProjectDescent.Notice(&reader),
            supervised: try reader.optionalJSON() ?? [])
    }

    /// In any state; in any workspace when it is `nil`.
    static func find(_ id: ProjectID, in workspace: WorkspaceID?, _ db: Database) throws -> Project {
        guard let row = try db.row("SELECT \(columns) FROM projects WHERE id = $1", id.description) else {
            throw FastableError.missing(.project, id.description)
        }
        let project = try Project(row)
        guard workspace == nil || project.workspace == workspace else {
            throw FastableError.missing(.project, id.description)
        }
        return project
    }

    var goneError: FastableError {
        FastableError(.gone, "The project ‘\(name)’ is being deleted. Create a new one.")
    }
}

extension ProjectOrigin {
    fileprivate init(url: String?, branch: String?) {
        if let url { self = .git(url: url, branch: branch) } else { self = .empty }
    }

    fileprivate var columns: (url: String?, branch: String?) {
        switch self {
        case .empty: (nil, nil)
        case .git(let url, let branch): (url, branch)
        }
    }
}
