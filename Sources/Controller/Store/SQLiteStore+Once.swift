public import ControllerDomain
import FastableCore
public import FoundationEssentials
import GRDB

extension SQLiteStore {
    public func beginOnce(_ record: OnceRecord, intent: AuditEvent, at now: Date) async throws -> OnceBeginning {
        let draft = try AuditDraft(intent)
        return try await write { db in
            let workspace = record.key.workspace.description
            let find = """
                SELECT digest, exec_id, expires_at, outcome, answer FROM once
                WHERE workspace_id = $1 AND key = $2 AND expires_at > $3
                """
            if let row = try db.row(find, workspace, record.key.text, now.milliseconds) {
                return .known(try OnceRecord(record.key, row))
            }
            try db.change("DELETE FROM once WHERE workspace_id = $1 AND key = $2", workspace, record.key.text)
            let count = try db.integer("SELECT COUNT(*) FROM once WHERE workspace_id = $1", workspace)
            guard count < Limits.onceKeysPerWorkspace else {
                throw FastableError(
                    .limit,
                    "The workspace has \(Limits.onceKeysPerWorkspace) idempotency keys in use, which is the most. Each is free again "
                        + "after \(Limits.onceSeconds / 3600) hours.",
                    details: ["limit": .integer(Int64(Limits.onceKeysPerWorkspace))])
            }
            try db.change(
                "INSERT INTO once (workspace_id, key, digest, exec_id, expires_at) VALUES ($1, $2, $3, $4, $5)",
                workspace, record.key.text, Data(record.digest), record.exec.description,
                record.expiresAt.milliseconds)
            try AuditRows.append(draft, db)
            return .fresh
        }
    }

    public func finishOnce(_ key: OnceKey, _ answer: OnceRecord.Answer) async throws {
        let (outcome, bytes) = try answer.columns
        try await write { db in
            try db.change(
                "UPDATE once SET outcome = $1, answer = $2 WHERE workspace_id = $3 AND key = $4", outcome, bytes,
                key.workspace.description, key.text)
        }
    }

    public func forgetOnce(_ key: OnceKey) async throws {
        try await write { db in
            try db.change(
                "DELETE FROM once WHERE workspace_id = $1 AND key = $2", key.workspace.description, key.text)
        }
    }

    public func pruneOnce(expiredBefore: Date) async throws -> Int {
        let step = 2000
        var total = 0
        while true {
            let pruned = try await write { db in
                try db.change(
                    """
                    DELETE FROM once
                    WHERE rowid IN (SELECT rowid FROM once WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)
                    """,
                    expiredBefore.milliseconds, step)
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
