public import ControllerDomain
import FastableCore
import FoundationEssentials
import GRDB

extension SQLiteStore {
    public func addKillSwitch(_ record: KillSwitchRecord) async throws {
        let held = record.held
        let scope = try JSON.text(held.scope)
        let awaited = try JSON.text(record.awaited)
        try await write { db in
            try db.change(
                "DELETE FROM kill_switches WHERE lifted_at < $1",
                held.since.milliseconds - Int64(Limits.auditRetentionDays) * 86_400_000)
            try db.change(
                """
                INSERT INTO kill_switches (\(KillSwitchRecord.columns))
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
                """,
                held.id.description, record.workspace.description, scope, held.mode.rawValue, held.holds ? 1 : 0,
                held.reason, held.by, held.owner.rawValue, held.since.milliseconds, record.token.description,
                Int64(clamping: record.version), awaited, record.liftedAt?.milliseconds, record.liftedBy)
        }
    }

    public func updateKillSwitch(_ record: KillSwitchRecord) async throws {
        let awaited = try JSON.text(record.awaited)
        try await write { db in
            try db.change(
                """
                UPDATE kill_switches SET awaited = $1, lifted_at = $2, lifted_by = $3
                WHERE id = $4 AND lifted_at IS NULL
                """,
                awaited, record.liftedAt?.milliseconds, record.liftedBy, record.held.id.description)
        }
    }

    public func activeKillSwitches() async throws -> [KillSwitchRecord] {
        try await read { db in
            try db.rows(
                "SELECT \(KillSwitchRecord.columns) FROM kill_switches WHERE lifted_at IS NULL ORDER BY version"
            ).map(KillSwitchRecord.init(_:))
        }
    }
}

extension KillSwitchRecord {
    fileprivate static let columns = """
        id, workspace_id, scope, mode, holds, reason, by_name, owner, since, token_id, version, awaited, lifted_at, \
        lifted_by
        """

    fileprivate init(_ row: Row) throws {
        var reader = RowReader(row)
        let id: KillSwitchID = try reader.id()
        let workspace: WorkspaceID = try reader.id()
        let held = KillSwitch(
            id: id, scope: try reader.json(), mode: try reader.oneOf(), holds: try reader.integer() != 0,
            reason: try reader.text(), by: try reader.text(), owner: try reader.oneOf(), since: try reader.date())
        self.init(
            held: held, workspace: workspace, token: try reader.id(), version: UInt64(clamping: try reader.integer()),
            awaited: try reader.json(), liftedAt: try reader.optionalDate(), liftedBy: try reader.optionalText())
    }
}
