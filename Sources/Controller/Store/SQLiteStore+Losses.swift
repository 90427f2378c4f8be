public import ControllerDomain
public import FastableCore
public import FoundationEssentials
import GRDB

extension SQLiteStore {
    public func nodeReturns(_ node: NodeID, leaseSeconds: Int?) async throws {
        try await write { db in
            // Of a lost node everything depends on this: a project leaves it only while it is on record as lost.
            try db.change(
                """
                UPDATE nodes SET lease_seconds = CASE WHEN $1 IS NULL THEN NULL ELSE MAX($1, COALESCE(lease_seconds, 0)) END,
                    told_state = CASE told_state WHEN 'lost' THEN 'offline' ELSE told_state END
                WHERE id = $2
                """,
                leaseSeconds, node.description)
        }
    }

    public func departures(from node: NodeID) async throws -> [ProjectDeparture] {
        try await read { db in
            let find = """
                SELECT project_id, MAX(stay) FROM remains
                WHERE node_id = $1 AND kind = 'set_aside' AND done_at IS NULL GROUP BY project_id
                """
            return try db.rows(find, node.description).map { row in
                var reader = RowReader(row)
                return ProjectDeparture(project: try reader.id(), stay: Int(try reader.integer()))
            }
        }
    }

    public func leaveUnsaved(
        _ project: Project, to snapshot: SnapshotID, isForced: Bool, at now: Date
    ) async throws -> Project {
        guard let node = project.node else { throw project.changedError }
        let left = try await write { db in
            let left = try db.project(
                """
                UPDATE projects SET node_id = NULL, archive_state = 'archived', archive_snapshot = $1, archive_since = $2,
                    archive_resting_since = $2, notice_step = NULL, \(Project.noMove)
                WHERE id = $3 AND node_id = $4 AND stay = $5 AND deleted_at IS NULL AND filling = 0
                    AND (archive_state IS NULL OR archive_state = 'removing')
                    AND EXISTS (SELECT 1 FROM snapshots WHERE id = $1 AND project_id = $3 AND state = 'verified')
                    AND ($6 = 1 OR (
                        lifecycle_sent = lifecycle_revision AND EXISTS (
                            SELECT 1 FROM nodes WHERE id = $4 AND told_state = 'lost' AND lease_seconds IS NOT NULL)))
                """,
                project.id, snapshot.description, now.milliseconds, project.id.description, node.description,
                project.stay, isForced ? 1 : 0)
            try db.change(
                """
                INSERT INTO remains (node_id, project_id, stay, workspace_id, since, kind, project_name)
                VALUES ($1, $2, $3, $4, $5, 'set_aside', $6)
                """,
                node.description, project.id.description, project.stay, project.workspace.description,
                now.milliseconds, project.name)
            let kind: PlatformEvent.Kind = isForced ? .projectMovedUnsaved : .projectLeftLostNode
            try PlatformEvent.left(left, kind, from: node, in: snapshot, at: now).append(storedAt: now, db)
            return left
        }
        signals.send()
        return left
    }

    public func wasSetAside(_ remains: ProjectRemains, path: String?, at now: Date) async throws {
        try await write { db in
            try db.change(
                "UPDATE remains SET done_at = $1, path = $2 WHERE node_id = $3 AND project_id = $4 AND stay = $5",
                now.milliseconds, path, remains.node.description, remains.project.description, remains.stay)
        }
    }

    public func setAside(
        of project: ProjectID?, in workspace: WorkspaceID, limit: Int
    ) async throws -> [SetAsideRecord] {
        try await read { db in
            let select = """
                SELECT node_id, project_id, stay, kind, since, project_name, done_at, path FROM remains
                WHERE kind = 'set_aside' AND workspace_id = $1
                """
            let order = "ORDER BY since DESC, project_id"
            let rows =
                if let project {
                    try db.rows(
                        "\(select) AND project_id = $2 \(order) LIMIT $3", workspace.description, project.description,
                        limit)
                } else {
                    try db.rows("\(select) \(order) LIMIT $2", workspace.description, limit)
                }
            return try rows.map { row in
                var reader = RowReader(row)
                let remains = try ProjectRemains(&reader)
                return SetAsideRecord(
                    remains: remains, projectName: try reader.text(), doneAt: try reader.optionalDate(),
                    path: try reader.optionalText())
            }
        }
    }
}
