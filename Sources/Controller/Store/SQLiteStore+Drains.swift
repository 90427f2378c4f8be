public import ControllerDomain
public import FastableCore
public import FoundationEssentials
import GRDB

extension SQLiteStore {
    public func setDrain(_ drain: NodeDrain, of node: NodeID) async throws -> NodeRecord {
        let column = try JSON.text(drain)
        return try await write { db in
            let set = """
                UPDATE nodes SET scheduling = 'cordoned', drain = $1 WHERE id = $2 AND scheduling <> 'removed'
                RETURNING \(NodeRecord.columns)
                """
            guard let row = try db.row(set, column, node.description) else {
                throw try NodeRecord.absence(of: node, db)
            }
            return try NodeRecord(row)
        }
    }

    public func endDrain(of node: NodeID, at now: Date) async throws -> Bool {
        let isOver = try await write { db in
            let end = """
                UPDATE nodes SET drain = NULL
                WHERE id = $1 AND drain IS NOT NULL AND scheduling <> 'removed'
                    AND NOT EXISTS (SELECT 1 FROM projects WHERE node_id = $1)
                    AND NOT EXISTS (SELECT 1 FROM projects WHERE move_node = $1 AND move_snapshot IS NOT NULL)
                RETURNING \(NodeRecord.columns)
                """
            guard let row = try db.row(end, node.description) else { return false }
            try PlatformEvent.drained(try NodeRecord(row), at: now).append(storedAt: now, db)
            return true
        }
        if isOver { signals.send() }
        return isOver
    }

    public func drainingNodes() async throws -> [NodeRecord] {
        try await read { db in
            try db.rows(
                "SELECT \(NodeRecord.columns) FROM nodes WHERE drain IS NOT NULL AND scheduling <> 'removed' ORDER BY id"
            ).map(NodeRecord.init(_:))
        }
    }

    public func recordState(_ change: NodeStateMachine.Change, of node: NodeID, at now: Date) async throws {
        try await write { db in
            let set = "UPDATE nodes SET told_state = $1, told_at = $2 WHERE id = $3 RETURNING \(NodeRecord.columns)"
            guard let row = try db.row(set, change.to.rawValue, now.milliseconds, node.description) else {
                throw FastableError.missing(.node, node.description)
            }
            try PlatformEvent.changed(change, of: try NodeRecord(row), at: now).append(storedAt: now, db)
        }
        signals.send()
    }

    public func projects(on node: NodeID, after last: ProjectID?, limit: Int) async throws -> [Project] {
        let limit = min(max(1, limit), Limits.pageRows)
        return try await read { db in
            let select = """
                SELECT \(Project.columns) FROM projects WHERE node_id = $1 AND id > $2 AND deleted_at IS NULL
                ORDER BY id LIMIT $3
                """
            return try db.rows(select, node.description, last?.description ?? "", limit).map(Project.init(_:))
        }
    }
}
