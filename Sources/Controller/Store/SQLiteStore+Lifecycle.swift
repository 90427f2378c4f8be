public import ControllerDomain
public import FastableCore
import FoundationEssentials
import GRDB

extension SQLiteStore {
    public func setLifecycle(
        _ lifecycle: LifecyclePolicy, of project: ProjectID, in workspace: WorkspaceID
    ) async throws -> Project {
        let column = try lifecycle.validated().column
        return try await write { db in
            let set = """
                UPDATE projects SET lifecycle = $1, lifecycle_revision = lifecycle_revision + 1, notice_step = NULL
                WHERE id = $2 AND workspace_id = $3 AND deleted_at IS NULL
                RETURNING \(Project.columns)
                """
            if let row = try db.row(set, column, project.description, workspace.description) { return try Project(row) }
            throw try Project.find(project, in: workspace, db).goneError
        }
    }

    public func setSupervised(
        of project: ProjectID, in workspace: WorkspaceID,
        _ change: @escaping @Sendable (inout [SupervisedProcess], _ revision: Int) throws -> Void
    ) async throws -> Project {
        try await write { db in
            let before = try Project.find(project, in: workspace, db)
            guard before.state == .active else { throw before.goneError }
            var supervised = before.supervised
            try change(&supervised, before.lifecycleRevision + 1)
            guard supervised != before.supervised else { return before }
            let column = supervised.isEmpty ? nil : String(decoding: try JSON.encode(supervised), as: UTF8.self)
            let set = """
                UPDATE projects SET supervised = $1, lifecycle_revision = lifecycle_revision + 1 WHERE id = $2
                RETURNING \(Project.columns)
                """
            guard let row = try db.row(set, column, project.description) else { throw before.goneError }
            return try Project(row)
        }
    }

    public func setImage(_ image: String, of project: ProjectID, in workspace: WorkspaceID) async throws -> Project {
        try Rules.imageName(image)
        return try await write { db in
            let set = """
                UPDATE projects SET image = $1 WHERE id = $2 AND workspace_id = $3 AND deleted_at IS NULL
                RETURNING \(Project.columns)
                """
            if let row = try db.row(set, image, project.description, workspace.description) { return try Project(row) }
            throw try Project.find(project, in: workspace, db).goneError
        }
    }

    public func setLifecycle(_ lifecycle: LifecyclePolicy, of workspace: WorkspaceID) async throws -> Workspace {
        let column = try lifecycle.validated().column
        return try await write { db in
            let set = "UPDATE workspaces SET lifecycle = $1 WHERE workspace_id = $2 RETURNING \(Workspace.columns)"
            guard let row = try db.row(set, column, workspace.description) else {
                throw FastableError.missing(.workspace, workspace.description)
            }
            try db.change(
                """
                UPDATE projects SET lifecycle_revision = lifecycle_revision + 1, notice_step = NULL
                WHERE workspace_id = $1
                """,
                workspace.description)
            return try Workspace(row)
        }
    }

    public func setDisk(_ bytes: Int?, of workspace: WorkspaceID) async throws -> Workspace {
        _ = try ResourceLimits(diskBytes: bytes).validated()
        return try await write { db in
            let set = "UPDATE workspaces SET disk_bytes = $1 WHERE workspace_id = $2 RETURNING \(Workspace.columns)"
            guard let row = try db.row(set, bytes, workspace.description) else {
                throw FastableError.missing(.workspace, workspace.description)
            }
            return try Workspace(row)
        }
    }

    public func setLimits(
        _ limits: ResourceLimits, of project: ProjectID, in workspace: WorkspaceID, replacing revision: Int
    ) async throws -> Project {
        let limits = try limits.validated()
        return try await write { db in
            let before = try Project.find(project, in: workspace, db).limits.diskBytes
            if let disk = limits.diskBytes, disk > before ?? 0 {
                try WorkspaceQuota.checkDisk(disk, of: project, in: workspace, db)
            }
            let set = """
                UPDATE projects SET cpus = $1, memory_bytes = $2, pids = $3, disk_bytes = $4,
                       lifecycle_revision = lifecycle_revision + 1
                WHERE id = $5 AND workspace_id = $6 AND lifecycle_revision = $7 AND deleted_at IS NULL
                RETURNING \(Project.columns)
                """
            if let row = try db.row(
                set, limits.cpus, limits.memoryBytes, limits.pids, limits.diskBytes, project.description,
                workspace.description, revision)
            {
                return try Project(row)
            }
            let found = try Project.find(project, in: workspace, db)
            guard found.state == .active else { throw found.goneError }
            throw FastableError(
                .conflict, "The project's settings were changed at the same time. Try again.", retryAfterSeconds: 1)
        }
    }

    public func unsentLifecycles(on node: NodeID, after last: ProjectID?, limit: Int) async throws -> [Project] {
        let limit = min(max(1, limit), Limits.pageRows)
        return try await read { db in
            let select = """
                SELECT \(Project.columns) FROM projects
                WHERE lifecycle_sent <> lifecycle_revision AND node_id = $1 AND id > $2 AND deleted_at IS NULL
                ORDER BY id LIMIT $3
                """
            return try db.rows(select, node.description, last?.description ?? "", limit).map(Project.init(_:))
        }
    }

    public func lifecycleWasSent(_ project: Project) async throws {
        try await write { db in
            let note = "UPDATE projects SET lifecycle_sent = $1 WHERE id = $2 AND lifecycle_sent < $1"
            try db.change(note, project.lifecycleRevision, project.id.description)
        }
    }
}

extension LifecyclePolicy {
    /// `nil` when nothing is set.
    var column: String? {
        get throws { self == LifecyclePolicy() ? nil : try JSON.text(self) }
    }
}
