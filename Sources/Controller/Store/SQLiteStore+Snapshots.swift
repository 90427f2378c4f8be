public import ControllerDomain
public import FastableCore
public import FoundationEssentials
import GRDB

extension SQLiteStore {
    public func recordSnapshot(_ snapshot: Snapshot) async throws {
        let facts = try JSON.text(snapshot.facts)
        try await write { db in
            let isActive = try db.row(
                "SELECT id FROM projects WHERE id = $1 AND deleted_at IS NULL", snapshot.project.description)
            // A project that was deleted meanwhile has marked its snapshots already.
            let expiry = isActive == nil ? Snapshot.expiry(ofProjectDeletedAt: snapshot.createdAt) : nil
            try db.change(
                """
                INSERT INTO snapshots (\(Snapshot.columns)) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
                """,
                snapshot.id.description, snapshot.workspace.description, snapshot.project.description,
                snapshot.projectName, snapshot.node.description, snapshot.image, snapshot.createdAt.milliseconds,
                snapshot.reason.rawValue, facts, snapshot.state.rawValue,
                (snapshot.expiresAt ?? expiry)?.milliseconds)
        }
    }

    public func snapshot(_ id: SnapshotID, in workspace: WorkspaceID) async throws -> Snapshot {
        try await read { db in
            let find = "SELECT \(Snapshot.columns) FROM snapshots WHERE id = $1 AND workspace_id = $2"
            guard let row = try db.row(find, id.description, workspace.description) else {
                throw FastableError.missing(.snapshot, id.description)
            }
            return try Snapshot(row)
        }
    }

    public func snapshots(
        of project: ProjectID?, in workspace: WorkspaceID, before: SnapshotID?, limit: Int
    ) async throws -> [Snapshot] {
        let limit = min(max(1, limit), Limits.pageRows)
        let before = before?.description ?? "~"
        return try await read { db in
            let select = "SELECT \(Snapshot.columns) FROM snapshots WHERE workspace_id = $1 AND id < $2"
            let rows =
                if let project {
                    try db.rows(
                        "\(select) AND project_id = $3 ORDER BY id DESC LIMIT $4", workspace.description, before,
                        project.description, limit)
                } else {
                    try db.rows("\(select) ORDER BY id DESC LIMIT $3", workspace.description, before, limit)
                }
            return try rows.map(Snapshot.init(_:))
        }
    }

    public func setSnapshotState(_ state: Snapshot.State, of id: SnapshotID) async throws {
        try await write { db in
            try db.change("UPDATE snapshots SET state = $1 WHERE id = $2", state.rawValue, id.description)
        }
    }

    public func removeSnapshot(_ id: SnapshotID) async throws {
        try await write { db in
            let mover = "SELECT name FROM projects WHERE move_snapshot = $1 AND deleted_at IS NULL"
            if let row = try db.row(mover, id.description) {
                var reader = RowReader(row)
                throw FastableError(
                    .conflict,
                    "The snapshot ‘\(id)’ is needed: the project ‘\(try reader.text())’ is being moved to another node with it.",
                    details: ["snapshot": .string(id.description)], retryAfterSeconds: 5)
            }
            let holder = "SELECT name FROM projects WHERE archive_snapshot = $1 AND deleted_at IS NULL"
            if let row = try db.row(holder, id.description) {
                var reader = RowReader(row)
                let name = try reader.text()
                throw FastableError(
                    .conflict,
                    "The snapshot ‘\(id)’ has the content of the archived project ‘\(name)’. Use the project, which restores it, or "
                        + "delete it.", details: ["snapshot": .string(id.description)])
            }
            try db.change("DELETE FROM snapshots WHERE id = $1", id.description)
        }
    }

    public func expiredSnapshots(at now: Date, limit: Int) async throws -> [Snapshot] {
        try await read { db in
            try db.rows(
                """
                SELECT \(Snapshot.columns) FROM snapshots WHERE expires_at IS NOT NULL AND expires_at <= $1
                ORDER BY expires_at LIMIT $2
                """,
                now.milliseconds, limit
            ).map(Snapshot.init(_:))
        }
    }

    public func snapshotExists(_ id: SnapshotID) async throws -> Bool {
        try await read { db in try db.row("SELECT id FROM snapshots WHERE id = $1", id.description) != nil }
    }
}

extension Snapshot {
    fileprivate static let columns = """
        id, workspace_id, project_id, project_name, node_id, image, created_at, reason, facts, state, expires_at
        """

    fileprivate init(_ row: Row) throws {
        var reader = RowReader(row)
        self.init(
            id: try reader.id(), workspace: try reader.id(), project: try reader.id(), projectName: try reader.text(),
            node: try reader.id(), image: try reader.text(), createdAt: try reader.date(),
            reason: try reader.oneOf(), facts: try reader.json(), state: try reader.oneOf(),
            expiresAt: try reader.optionalDate())
    }
}
