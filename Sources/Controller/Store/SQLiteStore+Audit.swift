public import ControllerDomain
import FastableCore
import FoundationEssentials
import GRDB

extension SQLiteStore {
    @discardableResult
    public func appendAudit(_ event: AuditEvent) async throws -> AuditHead {
        let detailText = event.detail.isEmpty ? "{}" : try JSON.text(event.detail)
        let canonical = event.canonicalBytes(detailText: detailText)
        guard canonical.count <= Limits.auditDetailBytes else {
            throw FastableError(
                .tooLarge, "The request is too large for the audit: at most \(Limits.auditDetailBytes) bytes.",
                details: ["limit": .integer(Int64(Limits.auditDetailBytes))])
        }
        return try await write { db in
            let previous = try AuditRows.head(db)
            let sequence = previous.sequence + 1
            let hash = AuditChain.hash(previous: previous.hash, sequence: sequence, canonical: canonical)
            let head = AuditHead(sequence: sequence, hash: hash)
            try AuditRows.insert(AuditEntry(head: head, event: event), detailText, after: previous, db)
            return head
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
        var check = AuditChainCheck(noted: noted)
        while true {
            // Page by page, so that a long chain neither fills the memory nor keeps the log file from being reset.
            let (next, found, isLast) = try await read { [check] db in try Self.verifyPage(check, db) }
            check = next
            if isLast || found != nil {
                return AuditVerification(checked: check.checked, firstBreak: found, head: check.head)
            }
            try Task.checkCancellation()
        }
    }

    private static func verifyPage(
        _ check: AuditChainCheck, _ db: Database
    ) throws -> (AuditChainCheck, AuditVerification.Break?, isLast: Bool) {
        var check = check
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
        // The head is of the same moment as the page, so events that are being added do not disturb.
        return (check, check.finish(stored: try AuditRows.head(db)), true)
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

    static func insert(_ entry: AuditEntry, _ detailText: String, after previous: AuditHead, _ db: Database) throws {
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
