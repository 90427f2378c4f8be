public import ControllerDomain
public import FastableCore
public import FoundationEssentials
import GRDB

extension SQLiteStore {
    public func bootstrap(now: Date) async throws -> Workspace {
        try await write { db in
            let add = """
                INSERT INTO workspaces (workspace_id, name, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
                """
            try db.change(add, WorkspaceID.system.description, Workspace.systemName, now.milliseconds)
            try db.change(add, WorkspaceID().description, Workspace.defaultName, now.milliseconds)
            let find = "SELECT \(Workspace.columns) FROM workspaces WHERE name = $1"
            guard let row = try db.row(find, Workspace.defaultName) else {
                throw FastableError.missing(.workspace, Workspace.defaultName)
            }
            return try Workspace(row)
        }
    }

    public func createWorkspace(_ workspace: Workspace) async throws {
        try Rules.projectName(workspace.name)
        try await write { db in
            let added = try db.change(
                "INSERT INTO workspaces (workspace_id, name, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                workspace.id.description, workspace.name, workspace.createdAt.milliseconds)
            guard added == 1 else {
                throw FastableError(
                    .conflict, "A workspace named ‘\(workspace.name)’ exists already. Choose another name.",
                    details: ["field": "name"])
            }
        }
    }

    public func workspace(_ id: WorkspaceID) async throws -> Workspace {
        try await read { db in
            let find = "SELECT \(Workspace.columns) FROM workspaces WHERE workspace_id = $1"
            guard let row = try db.row(find, id.description) else {
                throw FastableError.missing(.workspace, id.description)
            }
            return try Workspace(row)
        }
    }

    public func workspaces() async throws -> [Workspace] {
        try await read { db in
            try db.rows("SELECT \(Workspace.columns) FROM workspaces ORDER BY name").map(Workspace.init(_:))
        }
    }

    public func counts() async throws -> StoreCounts {
        try await read { db in
            StoreCounts(
                workspaces: try db.integer("SELECT COUNT(*) FROM workspaces"),
                activeProjects: try db.integer("SELECT COUNT(*) FROM projects WHERE deleted_at IS NULL"),
                deletingProjects: try db.integer("SELECT COUNT(*) FROM projects WHERE deleted_at IS NOT NULL"),
                nodes: try db.integer("SELECT COUNT(*) FROM nodes WHERE scheduling <> 'removed'"),
                tokens: try db.integer("SELECT COUNT(*) FROM tokens WHERE revoked_at IS NULL"),
                execs: try db.integer("SELECT COUNT(*) FROM execs"),
                auditEvents: Int(try AuditRows.head(db).sequence))
        }
    }
}

extension Workspace {
    static let columns = "workspace_id, name, created_at, lifecycle, disk_bytes, quota"

    init(_ row: Row) throws {
        var reader = RowReader(row)
        self.init(
            id: try reader.id(), name: try reader.text(), createdAt: try reader.date(),
            lifecycle: try reader.optionalJSON() ?? LifecyclePolicy(),
            diskBytes: try reader.optionalInteger().map { Int($0) },
            quota: try reader.optionalJSON() ?? WorkspaceQuota())
    }
}
