public import ControllerDomain
public import FastableCore
public import FoundationEssentials
import GRDB

extension SQLiteStore {
    public func recordCertificate(_ certificate: CertificateRecord) async throws {
        try await write { db in try certificate.record(db) }
    }

    public func recordCertificate(_ certificate: CertificateRecord, renewing serial: String) async throws {
        try await write { db in
            try certificate.record(db)
            let good = """
                SELECT COUNT(*) FROM certificates WHERE serial = $1 AND node_id = $2 AND revoked_at IS NULL
                """
            guard try db.integer(good, serial, certificate.node.description) == 1 else {
                throw FastableError(
                    .unauthenticated, "The certificate that would be renewed was revoked. Join the node again.")
            }
        }
    }

    public func replaceCertificates(with certificate: CertificateRecord, at now: Date) async throws -> [String] {
        try await write { db in
            let revoked = try CertificateRecord.revokeAll(of: certificate.node, at: now, db)
            try certificate.record(db)
            return revoked
        }
    }

    public func certificate(serial: String) async throws -> CertificateRecord? {
        try await read { db in
            let find = "SELECT serial, node_id, expires_at, revoked_at FROM certificates WHERE serial = $1"
            return try db.row(find, serial).map(CertificateRecord.init(_:))
        }
    }

    public func revokeCertificates(of node: NodeID, at now: Date) async throws -> [String] {
        try await write { db in try CertificateRecord.revokeAll(of: node, at: now, db) }
    }

    public func pruneCertificates(expiredBefore: Date) async throws -> Int {
        try await write { db in
            try db.change("DELETE FROM certificates WHERE expires_at < $1", expiredBefore.milliseconds)
        }
    }

    public func createJoinToken(_ token: JoinTokenRecord) async throws {
        try await write { db in
            try db.change(
                """
                INSERT INTO join_tokens (id, workspace_id, verification_key, node_id, created_at, expires_at, used_at, used_by)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                """,
                token.id.description, WorkspaceID.system.description, Data(token.verificationKey),
                token.node?.description,
                token.createdAt.milliseconds, token.expiresAt.milliseconds, token.usedAt?.milliseconds,
                token.usedBy?.description)
        }
    }

    public func joinToken(_ id: JoinTokenID) async throws -> JoinTokenRecord? {
        try await read { db in try JoinTokenRecord.find(id, db) }
    }

    public func consumeJoinToken(_ id: JoinTokenID, by node: NodeID, at now: Date) async throws -> JoinTokenUse {
        try await write { db in
            let use = """
                UPDATE join_tokens SET used_at = $1, used_by = $2
                WHERE id = $3 AND used_at IS NULL AND expires_at > $1 RETURNING \(JoinTokenRecord.columns)
                """
            if let row = try db.row(use, now.milliseconds, node.description, id.description) {
                return .accepted(try JoinTokenRecord(row))
            }
            guard let token = try JoinTokenRecord.find(id, db) else { return .unknown }
            if let usedAt = token.usedAt { return .alreadyUsed(at: usedAt) }
            return .expired(at: token.expiresAt)
        }
    }

    public func pruneJoinTokens(expiredBefore: Date) async throws -> Int {
        try await write { db in
            try db.change("DELETE FROM join_tokens WHERE expires_at < $1", expiredBefore.milliseconds)
        }
    }
}

extension CertificateRecord {
    /// Throws `gone` for a removed node.
    fileprivate func record(_ db: Database) throws {
        let current = """
            UPDATE nodes SET certificate_serial = $1, certificate_expires_at = $2
            WHERE id = $3 AND scheduling <> 'removed'
            """
        guard try db.change(current, serial, expiresAt.milliseconds, node.description) == 1 else {
            throw try NodeRecord.absence(of: node, db)
        }
        try db.change(
            """
            INSERT INTO certificates (serial, workspace_id, node_id, expires_at, revoked_at)
            VALUES ($1, (SELECT workspace_id FROM nodes WHERE id = $2), $2, $3, $4)
            """,
            serial, node.description, expiresAt.milliseconds, revokedAt?.milliseconds)
    }

    fileprivate init(_ row: Row) throws {
        var reader = RowReader(row)
        self.init(
            serial: try reader.text(), node: try reader.id(), expiresAt: try reader.date(),
            revokedAt: try reader.optionalDate())
    }

    static func revokeAll(of node: NodeID, at now: Date, _ db: Database) throws -> [String] {
        try db.rows(
            "UPDATE certificates SET revoked_at = $1 WHERE node_id = $2 AND revoked_at IS NULL RETURNING serial",
            now.milliseconds, node.description
        ).map { row in
            var reader = RowReader(row)
            return try reader.text()
        }.sorted()
    }
}

extension JoinTokenRecord {
    fileprivate static let columns = "id, verification_key, node_id, created_at, expires_at, used_at, used_by"

    fileprivate init(_ row: Row) throws {
        var reader = RowReader(row)
        self.init(
            id: try reader.id(), verificationKey: try reader.bytes(), node: try reader.optionalID(),
            createdAt: try reader.date(), expiresAt: try reader.date(), usedAt: try reader.optionalDate(),
            usedBy: try reader.optionalID())
    }

    fileprivate static func find(_ id: JoinTokenID, _ db: Database) throws -> JoinTokenRecord? {
        try db.row("SELECT \(columns) FROM join_tokens WHERE id = $1", id.description).map(JoinTokenRecord.init(_:))
    }
}
