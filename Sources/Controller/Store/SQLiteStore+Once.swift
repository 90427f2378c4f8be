public import ControllerDomain
import FastableCore
public import FoundationEssentials
import GRDB

extension SQLiteStore {
    public func beginOnce(_ record: OnceRecord, intent: AuditEvent, at now: Date) async throws -> OnceBeginning {
        let draft = try AuditDraft(intent)
        return try await write { db in
            if let known = try Self.once(record.key, at: now, db) { return .known(known) }
            try Self.insert(record, (nil, nil), at: now, db)
            try AuditRows.append(draft, db)
            return .fresh
        }
    }

    public func cancelOnce(_ record: OnceRecord, at now: Date) async throws -> OnceBeginning {
        guard let answer = record.answer else { throw FastableError(.internal, "A cancelled change needs an answer.") }
        let (outcome, bytes) = try answer.columns
        return try await write { db in
            guard let known = try Self.once(record.key, at: now, db) else {
                try Self.insert(record, (outcome, bytes), at: now, db)
                return .fresh
            }
            if known.answer == nil { try Self.finish(record.key, (outcome, bytes), db) }
            return .known(known)
        }
    }

    /// What is under way is known however long it takes: the time counts for what has an answer.
    private static func once(_ key: OnceKey, at now: Date, _ db: Database) throws -> OnceRecord? {
        let find = """
            SELECT digest, exec_id, expires_at, outcome, answer FROM once
            WHERE workspace_id = $1 AND key = $2 AND (expires_at > $3 OR outcome IS NULL)
            """
        return try db.row(find, key.workspace.description, key.text, now.milliseconds).map { try OnceRecord(key, $0) }
    }

    private static func insert(
        _ record: OnceRecord, _ answer: (String?, Data?), at now: Date, _ db: Database
    ) throws {
        let workspace = record.key.workspace.description
        try db.change("DELETE FROM once WHERE workspace_id = $1 AND key = $2", workspace, record.key.text)
        let count = "SELECT COUNT(*) FROM once WHERE workspace_id = $1"
        var isFull = try db.integer(count, workspace) >= Limits.onceKeysPerWorkspace
        if isFull {
            // Housekeeping comes to them only from time to time.
            try db.change(
                "DELETE FROM once WHERE workspace_id = $1 AND expires_at <= $2 AND outcome IS NOT NULL", workspace,
                now.milliseconds)
            isFull = try db.integer(count, workspace) >= Limits.onceKeysPerWorkspace
        }
        guard !isFull else {
            throw FastableError(
                .limit,
                "The workspace has \(Limits.onceKeysPerWorkspace) idempotency keys in use, which is the most. Each is free again "
                    + "after \(Limits.onceSeconds / 3600) hours at most.",
                details: ["field": "Idempotency-Key", "limit": .integer(Int64(Limits.onceKeysPerWorkspace))])
        }
        try db.change(
            """
            INSERT INTO once (workspace_id, key, digest, exec_id, expires_at, outcome, answer)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            """,
            workspace, record.key.text, Data(record.digest), record.exec.description,
            record.expiresAt.milliseconds, answer.0, answer.1)
    }

    private static func finish(_ key: OnceKey, _ answer: (String, Data?), _ db: Database) throws {
        try db.change(
            "UPDATE once SET outcome = $1, answer = $2 WHERE workspace_id = $3 AND key = $4", answer.0, answer.1,
            key.workspace.description, key.text)
    }

    public func finishOnce(_ key: OnceKey, _ answer: OnceRecord.Answer) async throws {
        let columns = try answer.columns
        try await write(.soon) { db in try Self.finish(key, columns, db) }
    }

    public func forgetOnce(_ key: OnceKey) async throws {
        try await write { db in
            try db.change(
                "DELETE FROM once WHERE workspace_id = $1 AND key = $2 AND outcome IS NULL", key.workspace.description,
                key.text)
        }
    }

    public func pruneOnce(expiredBefore: Date) async throws -> Int {
        let step = 2000
        var total = 0
        let unanswered = expiredBefore.addingTimeInterval(-Double(Limits.onceSeconds))
        while true {
            let pruned = try await write(.soon) { db in
                try db.change(
                    """
                    DELETE FROM once
                    WHERE rowid IN (
                        SELECT rowid FROM once WHERE expires_at <= $1 AND (outcome IS NOT NULL OR expires_at <= $2)
                        ORDER BY expires_at LIMIT $3)
                    """,
                    expiredBefore.milliseconds, unanswered.milliseconds, step)
            }
            total += pruned
            if pruned < step { return total }
        }
    }
}

extension OnceRecord {
    fileprivate init(_ key: OnceKey, _ row: Row) throws {
        var reader = RowReader(row)
        self.init(
            key: key, digest: try reader.bytes(), exec: try reader.id(), expiresAt: try reader.date(),
            answer: try Answer(outcome: try reader.optionalText(), bytes: try reader.optionalBytes(), reader))
    }
}

extension OnceRecord.Answer {
    fileprivate init?(outcome: String?, bytes: [UInt8]?, _ reader: RowReader) throws {
        switch (outcome, bytes) {
        case (nil, nil): return nil
        case ("output", let bytes?): self = .output(Data(bytes))
        case ("failure", let bytes?): self = .failure(try JSON.decode(from: Data(bytes)))
        case ("exec", nil): self = .exec
        case ("dropped", nil): self = .dropped
        default: throw reader.damaged()
        }
    }

    fileprivate var columns: (String, Data?) {
        get throws {
            switch self {
            case .output(let data): ("output", data)
            case .failure(let error): ("failure", try JSON.encode(error))
            case .exec: ("exec", nil)
            case .dropped: ("dropped", nil)
            }
        }
    }
}
