import ControllerDomain
import FastableCore
import FoundationEssentials
import GRDB

extension TransitionBatch {
    /// Makes events of what is new in the batch; `false` when nothing is.
    func record(of node: NodeID, at now: Date, _ db: Database) throws -> Bool {
        let known = try journalEnd(of: node, db)
        var last = known
        for change in transitions where change.number > last {
            try tellLost(change.number - last - 1, of: node, at: now, db)
            last = change.number
            // A node speaks for its own projects only.
            guard let workspace = try change.owner(on: node, db) else { continue }
            if let limit = change.limit {
                try PlatformEvent.limitReached(change, limit, in: workspace, on: node).append(storedAt: now, db)
                continue
            }
            if let due = change.due {
                try PlatformEvent.comes(change, due: due, in: workspace, on: node).append(storedAt: now, db)
                continue
            }
            guard let from = try change.before(db) else { continue }
            try PlatformEvent.changed(change, from: from, in: workspace, on: node).append(storedAt: now, db)
        }
        guard last > known else { return false }
        try keepJournal(of: node, at: last, db)
        return true
    }

    private func tellLost(_ count: Int64, of node: NodeID, at now: Date, _ db: Database) throws {
        guard count > 0 else { return }
        try PlatformEvent(
            workspace: .system, kind: .nodeChangesLost, at: now, node: node, data: ["count": .integer(count)]
        ).append(storedAt: now, db)
    }

    /// How far the journal is known; a new one begins at 0.
    private func journalEnd(of node: NodeID, _ db: Database) throws -> Int64 {
        let find = "SELECT number FROM node_journals WHERE node_id = $1 AND journal = $2"
        guard let row = try db.row(find, node.description, journal) else { return 0 }
        var reader = RowReader(row)
        return try reader.integer()
    }

    private func keepJournal(of node: NodeID, at last: Int64, _ db: Database) throws {
        try db.change(
            """
            INSERT INTO node_journals (workspace_id, node_id, journal, number) VALUES ($1, $2, $3, $4)
            ON CONFLICT (node_id, journal) DO UPDATE SET number = excluded.number
            """,
            WorkspaceID.system.description, node.description, journal, last)
        // A daemon that was replaced may still be heard for a moment: the last few are told apart.
        try db.change(
            """
            DELETE FROM node_journals WHERE node_id = $1 AND opened NOT IN (
                SELECT opened FROM node_journals WHERE node_id = $1 ORDER BY opened DESC LIMIT $2)
            """,
            node.description, Limits.journalsPerNode)
    }
}

extension ContainerTransition {
    /// The workspace of the project if the node has it, or was the last to have it before it was deleted.
    fileprivate func owner(on node: NodeID, _ db: Database) throws -> WorkspaceID? {
        if let row = try db.row("SELECT workspace_id, node_id FROM projects WHERE id = $1", project.description) {
            return try Self.workspace(row, on: node)
        }
        let last = """
            SELECT workspace_id, node_id FROM events WHERE project_id = $1 AND node_id IS NOT NULL
            ORDER BY sequence DESC LIMIT 1
            """
        return try db.row(last, project.description).flatMap { try Self.workspace($0, on: node) }
    }

    private static func workspace(_ row: Row, on node: NodeID) throws -> WorkspaceID? {
        var reader = RowReader(row)
        let workspace: WorkspaceID = try reader.id()
        return try reader.optionalID() == node ? workspace : nil
    }

    /// The state before the change; `nil` when it is no news.
    fileprivate func before(_ db: Database) throws -> ContainerState? {
        guard isFound else { return from }
        let find = """
            SELECT data FROM events WHERE project_id = $1 AND kind = 'container.changed' ORDER BY sequence DESC LIMIT 1
            """
        var told = from
        if let row = try db.row(find, project.description) {
            var reader = RowReader(row)
            let data: [String: JSONValue] = try reader.json()
            told = data["to"]?.string.flatMap(ContainerState.init) ?? from
        }
        return told == to ? nil : told
    }
}
