public import ControllerDomain
public import FastableCore
public import FoundationEssentials
import GRDB

extension SQLiteStore {
    public func createNode(_ node: NodeRecord) async throws {
        try NodeName.check(node.name)
        let facts = try node.facts.map(JSON.text)
        try await write { db in
            let added = try db.change(
                """
                INSERT INTO nodes (\(NodeRecord.ownColumns)) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
                ON CONFLICT DO NOTHING
                """,
                node.id.description, node.workspace.description, node.name, node.scheduling.rawValue, facts,
                node.lastSeenAt?.milliseconds, node.createdAt.milliseconds, node.certificateSerial,
                node.certificateExpiresAt?.milliseconds)
            guard added == 1 else {
                throw FastableError(
                    .conflict,
                    "A node named ‘\(node.name)’ exists already. Give the new one another name, or take the old one "
                        + "out with `fastable node remove \(node.name)`.",
                    details: ["field": "name"])
            }
        }
    }

    public func node(_ key: NodeKey) async throws -> NodeRecord {
        try await read { db in
            let row =
                switch key {
                case .id(let id):
                    try db.row("SELECT \(NodeRecord.columns) FROM nodes WHERE id = $1", id.description)
                case .name(let name):
                    try db.row(
                        "SELECT \(NodeRecord.columns) FROM nodes WHERE name = $1 AND scheduling <> 'removed'", name)
                }
            guard let row else { throw FastableError.missing(.node, key.description) }
            return try NodeRecord(row)
        }
    }

    public func nodes() async throws -> [NodeRecord] {
        try await read { db in
            try db.rows("SELECT \(NodeRecord.columns) FROM nodes WHERE scheduling <> 'removed' ORDER BY name")
                .map(NodeRecord.init(_:))
        }
    }

    public func setScheduling(
        _ scheduling: NodeRecord.Scheduling, of node: NodeID
    ) async throws -> NodeRecord {
        guard scheduling != .removed else {
            throw FastableError(.invalid, "A node is removed with its certificates; ask for its removal instead.")
        }
        return try await write { db in
            let set = """
                UPDATE nodes SET scheduling = $1, drain = CASE WHEN $1 = 'ready' THEN NULL ELSE drain END
                WHERE id = $2 AND scheduling <> 'removed'
                RETURNING \(NodeRecord.columns)
                """
            guard let row = try db.row(set, scheduling.rawValue, node.description) else {
                throw try NodeRecord.absence(of: node, db)
            }
            return try NodeRecord(row)
        }
    }

    public func updateNode(_ node: NodeID, facts: NodeFacts, seenAt: Date) async throws {
        let facts = try JSON.text(facts)
        try await write(.soon) { db in
            try db.change(
                "UPDATE nodes SET facts = $1, last_seen_at = $2 WHERE id = $3 AND scheduling <> 'removed'", facts,
                seenAt.milliseconds, node.description)
        }
    }

    public func removeNode(_ node: NodeID, at now: Date) async throws -> [String] {
        try await write { db in
            guard try db.change("UPDATE nodes SET scheduling = 'removed' WHERE id = $1", node.description) == 1 else {
                throw FastableError.missing(.node, node.description)
            }
            return try CertificateRecord.revokeAll(of: node, at: now, db)
        }
    }
}

extension NodeRecord {
    /// That it may be given a project: one may be cordoned, and told to be empty, since it was chosen.
    static func takesProjects(_ node: String) -> String {
        "EXISTS (SELECT 1 FROM nodes WHERE nodes.id = \(node) AND scheduling = 'ready')"
    }

    static let columns = "\(ownColumns), drain, told_state, told_at, lease_seconds"

    fileprivate static let ownColumns = """
        id, workspace_id, name, scheduling, facts, last_seen_at, created_at, certificate_serial, certificate_expires_at
        """

    init(_ row: Row) throws {
        var reader = RowReader(row)
        self.init(
            id: try reader.id(), workspace: try reader.id(), name: try reader.text(), scheduling: try reader.oneOf(),
            facts: try reader.optionalJSON(), lastSeenAt: try reader.optionalDate(), createdAt: try reader.date(),
            certificateSerial: try reader.optionalText(), certificateExpiresAt: try reader.optionalDate(),
            drain: try reader.optionalJSON(), told: try reader.optionalText().flatMap(NodeState.init),
            toldAt: try reader.optionalDate(), leaseSeconds: try reader.optionalInteger().map { Int($0) })
    }

    /// The error for a node that a change did not find: removed, or never there.
    static func absence(of node: NodeID, _ db: Database) throws -> FastableError {
        guard let row = try db.row("SELECT \(columns) FROM nodes WHERE id = $1", node.description) else {
            return FastableError.missing(.node, node.description)
        }
        return FastableError(.gone, "The node ‘\(try NodeRecord(row).name)’ was removed. It has to join again.")
    }
}
