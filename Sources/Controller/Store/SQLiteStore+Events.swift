public import ControllerDomain
public import FastableCore
public import FoundationEssentials
import GRDB

extension SQLiteStore {
    public func appendEvent(_ event: PlatformEvent) async throws -> Int64 {
        let data = try JSON.text(event.data)
        return try await write { db in try Self.append(event, data, db) }
    }

    public func recordTransitions(_ batch: TransitionBatch, of node: NodeID) async throws -> Int {
        try await write { db in
            let known = try Self.journalEnd(of: node, batch.journal, db)
            var appended = 0
            for change in batch.transitions where change.number > known {
                // A node speaks for its own projects only.
                let owner = try db.row(
                    "SELECT workspace_id FROM projects WHERE id = $1 AND node_id = $2", change.project.description,
                    node.description)
                guard let owner else { continue }
                var reader = RowReader(owner)
                let event = PlatformEvent.changed(change, in: try reader.id(), on: node)
                _ = try Self.append(event, try JSON.text(event.data), db)
                appended += 1
            }
            if let last = batch.transitions.last?.number, last > known {
                try db.change(
                    """
                    INSERT INTO node_journals (node_id, workspace_id, journal, number) VALUES ($1, $2, $3, $4)
                    ON CONFLICT (node_id) DO UPDATE SET journal = $3, number = $4
                    """,
                    node.description, WorkspaceID.system.description, batch.journal, last)
            }
            return appended
        }
    }

    public func events(_ filter: EventFilter, after sequence: Int64, limit: Int) async throws -> EventPage {
        let limit = min(max(1, limit), Limits.pageRows)
        let workspaces = filter.workspaces.map(\.description).sorted()
        return try await read { db in
            let find = """
                SELECT \(StoredEvent.columns) FROM events
                WHERE sequence > $1 AND workspace_id IN (\(workspaces.indices.map { "$\($0 + 2)" }.joined(separator: ", ")))
                ORDER BY sequence LIMIT $\(workspaces.count + 2)
                """
            let values: [(any DatabaseValueConvertible)?] = [sequence] + workspaces + [limit]
            let rows = try db.rows(find, values: values).map(StoredEvent.init(_:))
            return EventPage(
                events: rows.filter { filter.admits($0.event) }, last: rows.last?.sequence ?? sequence,
                isLast: rows.count < limit)
        }
    }

    public func eventRange() async throws -> EventRange {
        try await read { db in
            let find = "SELECT COALESCE(MIN(sequence), 0), COALESCE(MAX(sequence), 0) FROM events"
            guard let row = try db.row(find) else { return EventRange(oldest: 0, newest: 0) }
            var reader = RowReader(row)
            return EventRange(oldest: try reader.integer(), newest: try reader.integer())
        }
    }

    public func pruneEvents(before: Date, keeping most: Int) async throws -> Int {
        try await write { db in
            // The newest one stays, so that a reader sees whether it missed some.
            try db.change(
                """
                DELETE FROM events WHERE sequence < (SELECT MAX(sequence) FROM events)
                    AND (at < $1 OR sequence <= (SELECT MAX(sequence) FROM events) - $2)
                """,
                before.milliseconds, most)
        }
    }

    private static func append(_ event: PlatformEvent, _ data: String, _ db: Database) throws -> Int64 {
        let row = try db.row(
            """
            INSERT INTO events (workspace_id, kind, at, project_id, node_id, data) VALUES ($1, $2, $3, $4, $5, $6)
            RETURNING sequence
            """,
            event.workspace.description, event.kind.rawValue, event.at.milliseconds, event.project?.description,
            event.node?.description, data)
        guard let row else { throw FastableError(.internal, "An event was not stored.") }
        var reader = RowReader(row)
        return try reader.integer()
    }

    /// How far a node's journal is known; a new one begins at 0.
    private static func journalEnd(of node: NodeID, _ journal: String, _ db: Database) throws -> Int64 {
        let find = "SELECT number FROM node_journals WHERE node_id = $1 AND journal = $2"
        guard let row = try db.row(find, node.description, journal) else { return 0 }
        var reader = RowReader(row)
        return try reader.integer()
    }
}

extension StoredEvent {
    fileprivate static let columns = "sequence, workspace_id, kind, at, project_id, node_id, data"

    fileprivate init(_ row: Row) throws {
        var reader = RowReader(row)
        let sequence = try reader.integer()
        let event = PlatformEvent(
            workspace: try reader.id(), kind: try reader.oneOf(), at: try reader.date(), project: try reader.optionalID(),
            node: try reader.optionalID(), data: try reader.json())
        self.init(sequence: sequence, event: event)
    }
}
