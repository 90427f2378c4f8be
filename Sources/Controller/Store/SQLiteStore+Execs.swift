public import ControllerDomain
public import FastableCore
public import FoundationEssentials
import GRDB

extension SQLiteStore {
    public func recordExec(_ exec: ExecHandle, intent: AuditEvent?) async throws {
        let draft = try intent.map(AuditDraft.init)
        try await write(.soon) { db in
            if let draft { try AuditRows.append(draft, db) }
            try db.change(
                """
                INSERT INTO execs (id, workspace_id, project_id, node_id, started_at, command)
                VALUES ($1, $2, $3, $4, $5, $6)
                """,
                exec.id.description, exec.workspace.description, exec.project.description, exec.node.description,
                exec.startedAt.milliseconds, exec.command)
        }
    }

    public func exec(_ id: ExecID, in workspace: WorkspaceID) async throws -> ExecHandle {
        try await read { db in
            let find = """
                SELECT id, workspace_id, project_id, node_id, started_at, command, result
                FROM execs WHERE id = $1 AND workspace_id = $2
                """
            guard let row = try db.row(find, id.description, workspace.description) else {
                throw FastableError.missing(.exec, id.description)
            }
            return try Self.exec(row)
        }
    }

    public func execs(of project: ProjectID, before: ExecID?, limit: Int) async throws -> [ExecHandle] {
        try await read { db in
            try db.rows(
                """
                SELECT id, workspace_id, project_id, node_id, started_at, command, result
                FROM execs WHERE project_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3
                """,
                project.description, before?.description ?? "~", limit
            ).map(Self.exec)
        }
    }

    private static func exec(_ row: Row) throws -> ExecHandle {
        var reader = RowReader(row)
        return ExecHandle(
            id: try reader.id(), workspace: try reader.id(), project: try reader.id(), node: try reader.id(),
            startedAt: try reader.date(), command: try reader.text(), result: try reader.optionalJSON())
    }

    public func keepResults(_ results: [ExecResult], of project: ProjectID, on node: NodeID) async throws {
        let rows = try results.map { result in
            (id: result.exec.description, text: String(decoding: try JSON.encode(result), as: UTF8.self))
        }
        try await write { db in
            for row in rows {
                try db.change(
                    "UPDATE execs SET result = $1 WHERE id = $2 AND project_id = $3 AND node_id = $4", row.text, row.id,
                    project.description, node.description)
            }
        }
    }

    /// In small steps, so that other writes wait for none of them long.
    public func pruneExecs(startedBefore: Date) async throws -> Int {
        let step = 2000
        var total = 0
        while true {
            let pruned = try await write(.soon) { db in
                try db.change(
                    """
                    DELETE FROM execs
                    WHERE id IN (SELECT id FROM execs WHERE started_at < $1 ORDER BY started_at LIMIT $2)
                    """,
                    startedBefore.milliseconds, step)
            }
            total += pruned
            if pruned < step { return total }
        }
    }
}
