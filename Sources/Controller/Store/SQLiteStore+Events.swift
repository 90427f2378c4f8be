public import ControllerDomain
public import FastableCore
public import FoundationEssentials
import GRDB

extension SQLiteStore {
    @discardableResult
    public func appendEvent(_ event: PlatformEvent) async throws -> Int64 {
        let sequence = try await write(.soon) { db in try event.append(storedAt: event.at, db) }
        signals.send()
        return sequence
    }

    public func recordTransitions(_ batch: TransitionBatch, of node: NodeID, at now: Date) async throws {
        let batch = try batch.validated()
        let hasNews = try await write { db in try batch.record(of: node, at: now, db) }
        if hasNews { signals.send() }
    }

    public func eventSignals() -> AsyncStream<Void> { signals.stream() }

    public func events(_ filter: EventFilter, after sequence: Int64, limit: Int) async throws -> EventPage {
        let limit = min(max(1, limit), Limits.pageRows)
        return try await read { db in
            let range = try EventRange.read(db)
            let rows = try StoredEvent.rows(filter, after: sequence, limit: limit, db)
            let isLast = rows.count < limit
            // Of one moment: behind the newest event nothing was overlooked.
            let last = isLast ? max(sequence, range.newest) : rows.last?.sequence ?? sequence
            return EventPage(
                events: rows.filter { filter.admits($0.event) }, last: last, isLast: isLast, range: range)
        }
    }

    public func eventRange() async throws -> EventRange { try await read { db in try EventRange.read(db) } }

    public func pruneEvents(before: Date, keeping most: Int) async throws -> Int {
        try await write(.soon) { db in
            let range = try EventRange.read(db)
            let end = min(range.newest, range.oldest + Int64(Limits.eventsPrunedAtOnce)) - 1
            // From the oldest on, so that no hole comes to be whatever the clock did.
            let firstYoung = """
                SELECT sequence FROM events WHERE sequence <= $1 AND stored_at >= $2 ORDER BY sequence LIMIT 1
                """
            var aged = end
            if let row = try db.row(firstYoung, end, before.milliseconds) {
                var reader = RowReader(row)
                aged = try reader.integer() - 1
            }
            let last = min(end, max(aged, range.newest - Int64(most)))
            guard last >= range.oldest else { return 0 }
            try Webhook.passIdle(upTo: last, db)
            return try db.change("DELETE FROM events WHERE sequence <= $1", last)
        }
    }
}

extension PlatformEvent {
    /// - Parameter storedAt: by the controller's clock; `at` may be a node's.
    @discardableResult
    func append(storedAt: Date, _ db: Database) throws -> Int64 {
        let row = try db.row(
            """
            INSERT INTO events (workspace_id, kind, at, stored_at, project_id, node_id, data)
            VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING sequence
            """,
            workspace.description, kind.rawValue, at.milliseconds, storedAt.milliseconds, project?.description,
            node?.description, try JSON.text(data))
        guard let row else { throw FastableError(.internal, "An event was not stored.") }
        var reader = RowReader(row)
        return try reader.integer()
    }
}

extension EventRange {
    fileprivate static func read(_ db: Database) throws -> EventRange {
        let find = "SELECT (SELECT MIN(sequence) FROM events), (SELECT MAX(sequence) FROM events)"
        guard let row = try db.row(find) else { return EventRange(oldest: 0, newest: 0) }
        var reader = RowReader(row)
        return EventRange(oldest: try reader.optionalInteger() ?? 0, newest: try reader.optionalInteger() ?? 0)
    }
}

extension StoredEvent {
    private static let columns = "sequence, workspace_id, kind, at, project_id, node_id, data"

    fileprivate static func rows(
        _ filter: EventFilter, after sequence: Int64, limit: Int, _ db: Database
    ) throws -> [StoredEvent] {
        let workspaces = filter.workspaces.map(\.description).sorted()
        var values: [(any DatabaseValueConvertible)?] = [sequence]
        var condition = "sequence > $1"
        if let project = filter.project {
            values.append(project.description)
            condition += " AND project_id = $2"
        }
        let places = workspaces.indices.map { "$\(values.count + 1 + $0)" }.joined(separator: ", ")
        for workspace in workspaces { values.append(workspace) }
        values.append(limit)
        let find = """
            SELECT \(columns) FROM events WHERE \(condition) AND workspace_id IN (\(places))
            ORDER BY sequence LIMIT $\(values.count)
            """
        return try db.rows(find, values: values).map(StoredEvent.init(_:))
    }

    private init(_ row: Row) throws {
        var reader = RowReader(row)
        let sequence = try reader.integer()
        let event = PlatformEvent(
            workspace: try reader.id(), kind: try reader.oneOf(), at: try reader.date(),
            project: try reader.optionalID(),
            node: try reader.optionalID(), data: try reader.json())
        self.init(sequence: sequence, event: event)
    }
}
