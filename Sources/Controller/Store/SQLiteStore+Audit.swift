public import ControllerDomain
import FastableCore
public import FoundationEssentials
import GRDB

extension SQLiteStore {
    @discardableResult
    public func appendAudit(_ event: AuditEvent) async throws -> AuditHead {
        let draft = try AuditDraft(event)
        return try await write(.soon) { db in try AuditRows.append(draft, db) }
    }

    public func appendAudit(_ events: [AuditEvent]) async throws {
        let drafts = try events.map(AuditDraft.init)
        try await write(.soon) { db in
            for draft in drafts { try AuditRows.append(draft, db) }
        }
    }

    public func pruneAudit(before: Date, at now: Date) async throws -> Int {
        // Most of the time there is nothing to do, and that needs no transaction.
        guard try await read({ db in try AuditRows.oldest(before: before, limit: 1, db) }) != nil else { return 0 }
        return try await write(.soon) { db in
            guard let (count, last) = try AuditRows.oldest(before: before, limit: Limits.auditRowsPrunedAtOnce, db)
            else { return 0 }
            try AuditRows.remove(through: last, db)
            try AuditRows.append(try AuditDraft(.prune(through: last, count: count, at: now)), db)
            return count
        }
    }

    public func auditEntries(
        _ filter: AuditFilter, before sequence: Int64?, limit: Int
    ) async throws -> [AuditEntry] {
        let limit = min(max(1, limit), Limits.pageRows)
        return try await read { db in
            try AuditRows.newest(filter, before: sequence ?? .max, limit: limit, db).map(\.entry)
        }
    }

    public func auditHead() async throws -> AuditHead {
        try await read { db in try AuditRows.head(db) }
    }

    public func verifyAudit(expecting noted: AuditHead?) async throws -> AuditVerification {
        var check: AuditChainCheck?
        while true {
            // Page by page, so that a long chain neither fills the memory nor keeps the log file from being reset.
            let (next, found, isLast) = try await read { [check] db in try Self.verifyPage(check, noted, db) }
            check = next
            if isLast || found != nil {
                return AuditVerification(
                    checked: next.checked, firstBreak: found, start: next.start, head: next.head)
            }
            try Task.checkCancellation()
        }
    }

    private static func verifyPage(
        _ previous: AuditChainCheck?, _ noted: AuditHead?, _ db: Database
    ) throws -> (AuditChainCheck, AuditVerification.Break?, isLast: Bool) {
        // Head and anchor are of the same moment as the page, so events that are added or pruned meanwhile do not disturb.
        let anchor = try AuditRows.anchor(db)
        var check: AuditChainCheck
        if let previous, previous.head.sequence >= anchor.sequence {
            check = previous
        } else {
            check = try AuditChainCheck(start: anchor, noted: noted)
            if let broken = check.begin(rowsBefore: try AuditRows.count(through: anchor.sequence, db)) {
                return (check, broken, true)
            }
        }
        let rows = try AuditRows.page(after: check.head.sequence, limit: Limits.pageRows, db)
        for row in rows {
            let broken: AuditVerification.Break?
            do {
                broken = check.take(try AuditRows.read(row))
            } catch {
                broken = AuditVerification.Break(sequence: check.head.sequence + 1, reason: "The event cannot be read.")
            }
            if let broken { return (check, broken, true) }
        }
        guard rows.count < Limits.pageRows else { return (check, nil, false) }
        return (check, check.finish(stored: try AuditRows.head(db)), true)
    }
}

/// An event with the bytes that the chain protects.
struct AuditDraft: Sendable {
    let event: AuditEvent
    let detailText: String
    let canonical: [UInt8]

    /// Throws `too_large`.
    init(_ event: AuditEvent) throws {
        self.event = event
        detailText = event.detail.isEmpty ? "{}" : try JSON.text(event.detail)
        canonical = event.canonicalBytes(detailText: detailText)
        guard canonical.count <= Limits.auditDetailBytes else {
            throw FastableError(
                .tooLarge, "The request is too large for the audit: at most \(Limits.auditDetailBytes) bytes.",
                details: ["limit": .integer(Int64(Limits.auditDetailBytes))])
        }
    }
}

/// The SQL of the audit.
enum AuditRows {
    private static let columns = """
        sequence, workspace_id, time, token_id, token_name, door, request_id, operation, project_id, subject, phase, \
        code, detail, previous_hash, hash
        """

    static func head(_ db: Database) throws -> AuditHead {
        let find = "SELECT sequence, hash FROM audit_head WHERE workspace_id = $1"
        guard let row = try db.row(find, WorkspaceID.system.description) else { return .beginning }
        var reader = RowReader(row)
        return AuditHead(sequence: try reader.integer(), hash: try reader.bytes())
    }

    /// Takes the place at the end of the chain.
    @discardableResult
    static func append(_ draft: AuditDraft, _ db: Database) throws -> AuditHead {
        let previous = try head(db)
        let sequence = previous.sequence + 1
        let hash = AuditChain.hash(previous: previous.hash, sequence: sequence, canonical: draft.canonical)
        let head = AuditHead(sequence: sequence, hash: hash)
        try insert(AuditEntry(head: head, event: draft.event), draft.detailText, after: previous, db)
        return head
    }

    /// What the first row follows.
    static func anchor(_ db: Database) throws -> AuditHead {
        let find = "SELECT sequence, hash FROM audit_anchor WHERE workspace_id = $1"
        guard let row = try db.row(find, WorkspaceID.system.description) else { return .beginning }
        var reader = RowReader(row)
        return AuditHead(sequence: try reader.integer(), hash: try reader.bytes())
    }

    /// The oldest rows, as far as all of them are from before a moment: their number and the last of them.
    static func oldest(before: Date, limit: Int, _ db: Database) throws -> (count: Int, last: AuditHead)? {
        var found: (count: Int, last: AuditHead)?
        for row in try db.rows("SELECT time, sequence, hash FROM audit ORDER BY sequence LIMIT $1", limit) {
            var reader = RowReader(row)
            guard try reader.integer() < before.milliseconds else { break }
            found = ((found?.count ?? 0) + 1, AuditHead(sequence: try reader.integer(), hash: try reader.bytes()))
        }
        return found
    }

    static func remove(through last: AuditHead, _ db: Database) throws {
        try db.change("DELETE FROM audit WHERE sequence <= $1", last.sequence)
        try db.change(
            """
            INSERT INTO audit_anchor (workspace_id, sequence, hash) VALUES ($1, $2, $3)
            ON CONFLICT (workspace_id) DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash
            """,
            WorkspaceID.system.description, last.sequence, Data(last.hash))
    }

    static func count(through sequence: Int64, _ db: Database) throws -> Int {
        try db.integer("SELECT COUNT(*) FROM audit WHERE sequence <= $1", sequence)
    }

    private static func insert(_ entry: AuditEntry, _ detailText: String, after previous: AuditHead, _ db: Database)
        throws
    {
        let event = entry.event
        let hash = Data(entry.head.hash)
        try db.change(
            """
            INSERT INTO audit (\(columns))
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
            """,
            entry.head.sequence, event.workspace.description, event.timeMilliseconds, event.actor?.token.description,
            event.actor?.name, event.door.rawValue, event.request.description, event.operation,
            event.project?.description, event.subject, event.phase.rawValue, event.code?.rawValue, detailText,
            Data(previous.hash), hash)
        try db.change(
            """
            INSERT INTO audit_head (workspace_id, sequence, hash) VALUES ($1, $2, $3)
            ON CONFLICT (workspace_id) DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash
            """,
            WorkspaceID.system.description, entry.head.sequence, hash)
    }

    static func page(after sequence: Int64, limit: Int, _ db: Database) throws -> [Row] {
        try db.rows("SELECT \(columns) FROM audit WHERE sequence > $1 ORDER BY sequence LIMIT $2", sequence, limit)
    }

    /// The text has only the conditions that are asked for, so that each finds its index.
    static func newest(
        _ filter: AuditFilter, before sequence: Int64, limit: Int, _ db: Database
    ) throws -> [AuditRow] {
        var values: [any DatabaseValueConvertible] = []
        func parameter(_ value: any DatabaseValueConvertible) -> String {
            values.append(value)
            return "$\(values.count)"
        }
        var conditions = ["sequence < \(parameter(sequence))"]
        if let workspaces = filter.workspaces {
            let list = workspaces.map { parameter($0.description) }.joined(separator: ", ")
            conditions.append("workspace_id IN (\(list))")
        }
        if let project = filter.project { conditions.append("project_id = \(parameter(project.description))") }
        if let operation = filter.operation { conditions.append("operation = \(parameter(operation))") }
        let sql = """
            SELECT \(columns) FROM audit WHERE \(conditions.joined(separator: " AND "))
            ORDER BY sequence DESC LIMIT \(parameter(limit))
            """
        return try db.rows(sql, values: values).map { row in
            var row = try read(row)
            row.entry.event.detail = try JSON.decode([String: JSONValue].self, from: Data(row.detailText.utf8))
            return row
        }
    }

    /// Without the detail: checking the chain needs only its text.
    static func read(_ row: Row) throws -> AuditRow {
        var reader = RowReader(row)
        let sequence = try reader.integer()
        let workspace: WorkspaceID = try reader.id()
        let time = try reader.integer()
        let token: TokenID? = try reader.optionalID()
        let tokenName = try reader.optionalText()
        // One without the other was never written.
        guard (token == nil) == (tokenName == nil) else { throw reader.damaged() }
        let actor = token.map { AuditEvent.Actor(token: $0, name: tokenName ?? "") }
        let event = AuditEvent(
            timeMilliseconds: time, workspace: workspace, actor: actor, door: try reader.oneOf(),
            request: try reader.id(), operation: try reader.text(), project: try reader.optionalID(),
            subject: try reader.text(), phase: try reader.oneOf(),
            code: try reader.optionalText().map { FastableError.Code(rawValue: $0) ?? .internal })
        let detailText = try reader.text()
        let previousHash = try reader.bytes()
        let head = AuditHead(sequence: sequence, hash: try reader.bytes())
        return AuditRow(
            entry: AuditEntry(head: head, event: event), previousHash: previousHash, detailText: detailText)
    }
}
