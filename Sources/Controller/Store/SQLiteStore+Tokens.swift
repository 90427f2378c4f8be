public import ControllerDomain
public import FastableCore
public import FoundationEssentials
import GRDB

extension SQLiteStore {
    public func createToken(_ token: TokenRecord, hash: TokenHash) async throws {
        try Rules.tokenName(token.name)
        try await write { db in
            let count = try db.integer(
                "SELECT COUNT(*) FROM tokens WHERE workspace_id = $1 AND revoked_at IS NULL",
                token.workspace.description)
            guard count < Limits.tokensPerWorkspace else {
                throw FastableError(
                    .limit, "The workspace has its most tokens, \(Limits.tokensPerWorkspace). Revoke some first.",
                    details: ["limit": .integer(Int64(Limits.tokensPerWorkspace))])
            }
            try db.change(
                "INSERT INTO tokens (\(TokenRecord.columns), hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                token.id.description, token.workspace.description, token.name, token.scopes.column,
                token.createdAt.milliseconds, token.expiresAt?.milliseconds, token.revokedAt?.milliseconds,
                token.lastUsedAt?.milliseconds, Data(hash.bytes))
        }
    }

    public func findToken(hash: TokenHash, now: Date) async throws -> TokenLookup {
        try await read { db in
            let find = "SELECT \(TokenRecord.columns) FROM tokens WHERE hash = $1"
            guard let row = try db.row(find, Data(hash.bytes)) else { return .unknown }
            return try TokenRecord(row).lookup(at: now)
        }
    }

    public func tokens(in workspace: WorkspaceID) async throws -> [TokenRecord] {
        try await read { db in
            try db.rows(
                "SELECT \(TokenRecord.columns) FROM tokens WHERE workspace_id = $1 ORDER BY id", workspace.description
            ).map(TokenRecord.init(_:))
        }
    }

    public func revokeToken(_ id: TokenID, in workspace: WorkspaceID, at now: Date) async throws -> TokenRecord {
        try await write { db in
            let revoke = """
                UPDATE tokens SET revoked_at = COALESCE(revoked_at, $1) WHERE id = $2 AND workspace_id = $3
                RETURNING \(TokenRecord.columns)
                """
            guard let row = try db.row(revoke, now.milliseconds, id.description, workspace.description) else {
                throw FastableError.missing(.token, id.description)
            }
            return try TokenRecord(row)
        }
    }

    public func touchToken(_ token: TokenRecord, at now: Date) async throws {
        let fresh = now.milliseconds - 60_000
        if let lastUsedAt = token.lastUsedAt, lastUsedAt.milliseconds > fresh { return }
        try await write(.soon) { db in
            // Requests that came together all saw the old record: only the first of them writes.
            try db.change(
                "UPDATE tokens SET last_used_at = $1 WHERE id = $2 AND (last_used_at IS NULL OR last_used_at <= $3)",
                now.milliseconds, token.id.description, fresh)
        }
    }
}

extension TokenRecord {
    fileprivate static let columns = """
        id, workspace_id, name, scopes, created_at, expires_at, revoked_at, last_used_at
        """

    fileprivate init(_ row: Row) throws {
        var reader = RowReader(row)
        self.init(
            id: try reader.id(), workspace: try reader.id(), name: try reader.text(),
            scopes: Set<Scope>(column: try reader.text()), createdAt: try reader.date(),
            expiresAt: try reader.optionalDate(), revokedAt: try reader.optionalDate(),
            lastUsedAt: try reader.optionalDate())
    }
}

extension Set<Scope> {
    fileprivate var column: String { map(\.rawValue).sorted().joined(separator: " ") }

    /// A scope that is not known gives nothing.
    fileprivate init(column: String) {
        self.init(column.split(separator: " ").compactMap { Scope(rawValue: String($0)) })
    }
}
