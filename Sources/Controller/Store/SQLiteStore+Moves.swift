public import ControllerDomain
public import FastableCore
public import FoundationEssentials
import GRDB

extension SQLiteStore {
    public func beginMove(
        of project: Project, to target: NodeID, savedIn snapshot: SnapshotID, restingSince: Date, at now: Date
    ) async throws -> Project {
        try await write { db in
            let moving = try db.project(
                """
                UPDATE projects SET move_state = 'copying', move_node = $1, move_snapshot = $2, move_since = $3,
                    move_resting_since = $4, move_stay = MAX(stay, last_stay) + 1, last_stay = MAX(stay, last_stay) + 1
                WHERE id = $5 AND node_id = $6 AND node_id <> $1 AND stay = $7 AND move_state IS NULL
                    AND archive_state IS NULL AND filling = 0 AND deleted_at IS NULL
                    AND EXISTS (SELECT 1 FROM snapshots WHERE id = $2 AND project_id = $5 AND state = 'verified')
                    AND NOT EXISTS (SELECT 1 FROM remains WHERE project_id = $5 AND node_id = $1 AND done_at IS NULL)
                    AND \(NodeRecord.takesProjects("$1"))
                """,
                project.id, target.description, snapshot.description, now.milliseconds, restingSince.milliseconds,
                project.id.description, project.node?.description, project.stay)
            guard let move = moving.move else { throw moving.changedError }
            try db.change(
                """
                INSERT INTO remains (node_id, project_id, stay, workspace_id, since) VALUES ($1, $2, $3, $4, $5)
                """,
                target.description, project.id.description, move.stay, project.workspace.description, now.milliseconds)
            return moving
        }
    }

    public func switchMove(of project: Project, at now: Date) async throws -> Project {
        try await write { db in
            try db.project(
                """
                UPDATE projects SET move_state = 'switching', move_since = $1
                WHERE id = $2 AND move_stay = $3 AND move_state = 'copying' AND deleted_at IS NULL
                """,
                project.id, now.milliseconds, project.id.description, project.move?.stay)
        }
    }

    public func finishMove(of project: Project, at now: Date) async throws -> Project {
        guard let move = project.move else { throw project.changedError }
        let moved = try await write { db in
            // The target has the settings as they were when it got the content.
            let moved = try db.project(
                """
                UPDATE projects SET node_id = move_node, stay = move_stay, lifecycle_sent = -1, notice_step = NULL,
                    \(Project.noMove)
                WHERE id = $1 AND move_stay = $2 AND move_state = 'switching' AND deleted_at IS NULL
                """,
                project.id, project.id.description, move.stay)
            try db.change(
                "DELETE FROM remains WHERE node_id = $1 AND project_id = $2 AND stay = $3", move.target.description,
                project.id.description, move.stay)
            try PlatformEvent.moved(moved, from: project.node, in: move.snapshot, at: now).append(storedAt: now, db)
            return moved
        }
        signals.send()
        return moved
    }

    public func cancelMove(of project: Project) async throws -> Project {
        try await write { db in
            try db.project(
                """
                UPDATE projects SET \(Project.noMove)
                WHERE id = $1 AND move_stay = $2 AND move_state IS NOT NULL AND deleted_at IS NULL
                """,
                project.id, project.id.description, project.move?.stay)
        }
    }

    public func movingProjects(limit: Int) async throws -> [Project] {
        try await read { db in
            let select = """
                SELECT \(Project.columns) FROM projects
                WHERE move_snapshot IS NOT NULL AND move_state IS NOT NULL AND deleted_at IS NULL ORDER BY id LIMIT $1
                """
            return try db.rows(select, limit).map(Project.init(_:))
        }
    }

    public func remains(
        of project: ProjectID?, after last: ProjectRemains?, limit: Int
    ) async throws -> [ProjectRemains] {
        try await read { db in
            let select = """
                SELECT node_id, project_id, stay, kind, since FROM remains
                WHERE done_at IS NULL AND (node_id, project_id, stay) > ($1, $2, $3) AND NOT EXISTS (
                    SELECT 1 FROM projects WHERE projects.id = project_id AND move_stay = remains.stay
                        AND move_state IS NOT NULL AND deleted_at IS NULL)
                """
            let order = "ORDER BY node_id, project_id, stay LIMIT"
            let (node, id, stay) = (last?.node.description ?? "", last?.project.description ?? "", last?.stay ?? -1)
            let rows =
                if let project {
                    try db.rows(
                        "\(select) AND project_id = $4 \(order) $5", node, id, stay, project.description, limit)
                } else {
                    try db.rows("\(select) \(order) $4", node, id, stay, limit)
                }
            return try rows.map { row in
                var reader = RowReader(row)
                return try ProjectRemains(&reader)
            }
        }
    }

    public func forget(_ remains: ProjectRemains) async throws {
        try await write { db in
            try db.change(
                "DELETE FROM remains WHERE node_id = $1 AND project_id = $2 AND stay = $3", remains.node.description,
                remains.project.description, remains.stay)
        }
    }
}

extension ProjectRemains {
    /// That no container of a project may run at a place that it has left. A lost node has ended what it had before it was lost, and
    /// one that comes back does so first of all.
    static func noneRuns(_ project: String) -> String {
        """
        NOT EXISTS (
            SELECT 1 FROM remains JOIN nodes ON nodes.id = remains.node_id
            WHERE remains.project_id = \(project) AND kind = 'set_aside' AND done_at IS NULL
                AND scheduling <> 'removed' AND COALESCE(told_state, '') <> 'lost')
        """
    }

    init(_ reader: inout RowReader) throws {
        self.init(
            node: try reader.id(), project: try reader.id(), stay: Int(try reader.integer()), kind: try reader.oneOf(),
            since: try reader.date())
    }
}

extension Project {
    static let noMove = """
        move_state = NULL, move_node = NULL, move_stay = NULL, move_snapshot = NULL, move_resting_since = NULL, \
        move_since = NULL
        """
}

extension ProjectMove {
    init?(_ reader: inout RowReader) throws {
        let state = try reader.optionalText()
        let target: NodeID? = try reader.optionalID()
        let stay = try reader.optionalInteger()
        let snapshot: SnapshotID? = try reader.optionalID()
        let (restingSince, since) = (try reader.optionalDate(), try reader.optionalDate())
        guard let state else { return nil }
        guard let state = State(rawValue: state), let target, let stay, let snapshot, let restingSince, let since else {
            throw reader.damaged()
        }
        self.init(
            state: state, target: target, stay: Int(stay), snapshot: snapshot, restingSince: restingSince, since: since)
    }
}
