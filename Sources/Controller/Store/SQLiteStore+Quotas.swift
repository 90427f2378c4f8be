public import ControllerDomain
public import FastableCore
import GRDB

extension SQLiteStore {
    public func setQuota(_ quota: WorkspaceQuota, of workspace: WorkspaceID) async throws -> Workspace {
        let quota = try quota.validated()
        let column = quota == WorkspaceQuota() ? nil : try JSON.text(quota)
        return try await write { db in
            let set = "UPDATE workspaces SET quota = $1 WHERE workspace_id = $2 RETURNING \(Workspace.columns)"
            guard let row = try db.row(set, column, workspace.description) else {
                throw FastableError.missing(.workspace, workspace.description)
            }
            return try Workspace(row)
        }
    }

    public func placedLimits(in workspace: WorkspaceID) async throws -> [ProjectID: PlacedLimits] {
        try await read { db in
            let find = """
                SELECT id, node_id, cpus, memory_bytes, pids FROM projects WHERE workspace_id = $1 AND node_id IS NOT NULL
                """
            var found: [ProjectID: PlacedLimits] = [:]
            for row in try db.rows(find, workspace.description) {
                var reader = RowReader(row)
                let project: ProjectID = try reader.id()
                found[project] = PlacedLimits(
                    node: try reader.id(),
                    limits: ResourceLimits(
                        cpus: try reader.real(), memoryBytes: Int(try reader.integer()), pids: Int(try reader.integer())
                    ))
            }
            return found
        }
    }

    public func diskUsage(of workspace: WorkspaceID) async throws -> (bytes: Int, projectsWithoutDisk: Int) {
        try await read { db in try WorkspaceQuota.disks(of: workspace, db) }
    }
}

extension WorkspaceQuota {
    fileprivate static func disks(
        of workspace: WorkspaceID, without project: ProjectID? = nil, _ db: Database
    ) throws -> (bytes: Int, projectsWithoutDisk: Int) {
        let sum = """
            SELECT COALESCE(SUM(disk_bytes), 0), COUNT(*) - COUNT(disk_bytes) FROM projects
            WHERE workspace_id = $1 AND id <> $2 AND deleted_at IS NULL
            """
        guard let row = try db.row(sum, workspace.description, project?.description ?? "") else { return (0, 0) }
        var reader = RowReader(row)
        return (Int(try reader.integer()), Int(try reader.integer()))
    }

    /// In the transaction that gives a project its disk: of two that come at the same time the second sees the first.
    static func checkDisk(
        _ disk: Int?, of project: ProjectID, in workspace: WorkspaceID, _ db: Database
    ) throws {
        let find = "SELECT quota FROM workspaces WHERE workspace_id = $1 AND quota IS NOT NULL"
        guard let row = try db.row(find, workspace.description) else { return }
        var reader = RowReader(row)
        let quota: WorkspaceQuota = try reader.json()
        guard quota.diskBytes != nil else { return }
        try quota.check(disk: disk, besides: disks(of: workspace, without: project, db).bytes)
    }
}
