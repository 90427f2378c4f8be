public import ControllerDomain
public import FastableCore
import FoundationEssentials
import GRDB

extension SQLiteStore {
    public func createWebhook(_ webhook: Webhook) async throws {
        let kinds = webhook.kinds.column
        try await write { db in
            let count = try db.integer(
                "SELECT COUNT(*) FROM webhooks WHERE workspace_id = $1", webhook.workspace.description)
            guard count < Limits.webhooksPerWorkspace else {
                throw FastableError(
                    .limit, "The workspace has its most webhooks, \(Limits.webhooksPerWorkspace). Delete some first.",
                    details: ["limit": .integer(Int64(Limits.webhooksPerWorkspace))])
            }
            let progress = webhook.progress
            try db.change(
                """
                INSERT INTO webhooks (\(Webhook.columns))
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
                """,
                webhook.id.description, webhook.workspace.description, webhook.url, webhook.description, kinds,
                webhook.includesFleet, Data(webhook.sealedSecret), webhook.createdAt.milliseconds, progress.delivered,
                progress.attempts, progress.failingSince?.milliseconds, progress.nextAttemptAt?.milliseconds,
                progress.lastProblem, progress.lastSuccessAt?.milliseconds, progress.disabledAt?.milliseconds)
        }
    }

    public func webhooks(in workspace: WorkspaceID) async throws -> [Webhook] {
        try await read { db in
            try db.rows(
                "SELECT \(Webhook.columns) FROM webhooks WHERE workspace_id = $1 ORDER BY id", workspace.description
            ).map(Webhook.init(_:))
        }
    }

    public func webhook(_ id: WebhookID, in workspace: WorkspaceID) async throws -> Webhook {
        try await read { db in
            let find = "SELECT \(Webhook.columns) FROM webhooks WHERE id = $1 AND workspace_id = $2"
            guard let row = try db.row(find, id.description, workspace.description) else {
                throw FastableError.missing(.webhook, id.description)
            }
            return try Webhook(row)
        }
    }

    public func webhooksWithNews() async throws -> [Webhook] {
        try await read { db in
            try db.rows(
                """
                SELECT \(Webhook.columns) FROM webhooks
                WHERE disabled_at IS NULL AND (
                    EXISTS (SELECT 1 FROM events WHERE events.workspace_id = webhooks.workspace_id
                        AND events.sequence > webhooks.delivered)
                    OR (includes_fleet = 1 AND EXISTS (SELECT 1 FROM events WHERE events.workspace_id = $1
                        AND events.sequence > webhooks.delivered)))
                ORDER BY id
                """,
                WorkspaceID.system.description
            ).map(Webhook.init(_:))
        }
    }

    public func webhookCounts() async throws -> [Webhook.Progress.Health: Int] {
        try await read { db in
            let find = """
                SELECT COUNT(*), COALESCE(SUM(disabled_at IS NOT NULL), 0),
                       COALESCE(SUM(disabled_at IS NULL AND attempts > 0), 0)
                FROM webhooks
                """
            guard let row = try db.row(find) else { return [:] }
            var reader = RowReader(row)
            let (all, disabled, failing) = (
                Int(try reader.integer()), Int(try reader.integer()), Int(try reader.integer())
            )
            return [.ok: all - disabled - failing, .failing: failing, .disabled: disabled]
        }
    }

    public func updateWebhook(_ id: WebhookID, _ progress: Webhook.Progress) async throws -> Bool {
        try await write(.soon) { db in
            try db.change(
                """
                UPDATE webhooks SET delivered = MAX(delivered, $1), attempts = $2, failing_since = $3,
                    next_attempt_at = $4, last_problem = $5, last_success_at = $6, disabled_at = $7
                WHERE id = $8
                """,
                progress.delivered, progress.attempts, progress.failingSince?.milliseconds,
                progress.nextAttemptAt?.milliseconds, progress.lastProblem, progress.lastSuccessAt?.milliseconds,
                progress.disabledAt?.milliseconds, id.description) > 0
        }
    }

    public func resumeWebhook(_ id: WebhookID, in workspace: WorkspaceID) async throws -> Webhook {
        try await write { db in
            let resume = """
                UPDATE webhooks SET attempts = 0, failing_since = NULL, next_attempt_at = NULL, disabled_at = NULL
                WHERE id = $1 AND workspace_id = $2 RETURNING \(Webhook.columns)
                """
            guard let row = try db.row(resume, id.description, workspace.description) else {
                throw FastableError.missing(.webhook, id.description)
            }
            return try Webhook(row)
        }
    }

    public func deleteWebhook(_ id: WebhookID, in workspace: WorkspaceID) async throws {
        try await write { db in
            let count = try db.change(
                "DELETE FROM webhooks WHERE id = $1 AND workspace_id = $2", id.description, workspace.description)
            guard count > 0 else { throw FastableError.missing(.webhook, id.description) }
        }
    }
}

extension Webhook {
    fileprivate static let columns = """
        id, workspace_id, url, description, kinds, includes_fleet, sealed_secret, created_at, delivered, attempts,
        failing_since, next_attempt_at, last_problem, last_success_at, disabled_at
        """

    fileprivate init(_ row: Row) throws {
        var reader = RowReader(row)
        self.init(
            id: try reader.id(), workspace: try reader.id(), url: try reader.text(), description: try reader.text(),
            kinds: Set<PlatformEvent.Kind>(column: try reader.text()), includesFleet: try reader.integer() != 0,
            sealedSecret: try reader.bytes(), createdAt: try reader.date(),
            progress: Progress(delivered: try reader.integer()))
        progress.attempts = Int(clamping: try reader.integer())
        progress.failingSince = try reader.optionalDate()
        progress.nextAttemptAt = try reader.optionalDate()
        progress.lastProblem = try reader.optionalText()
        progress.lastSuccessAt = try reader.optionalDate()
        progress.disabledAt = try reader.optionalDate()
    }

    /// Before events are forgotten: whoever has none of them to get misses nothing.
    static func passIdle(upTo last: Int64, _ db: Database) throws {
        try db.change(
            """
            UPDATE webhooks SET delivered = $1
            WHERE delivered < $1 AND NOT EXISTS (
                SELECT 1 FROM events WHERE events.sequence > webhooks.delivered AND events.sequence <= $1
                    AND (events.workspace_id = webhooks.workspace_id
                        OR (webhooks.includes_fleet = 1 AND events.workspace_id = $2)))
            """,
            last, WorkspaceID.system.description)
    }
}

extension Set<PlatformEvent.Kind> {
    fileprivate var column: String { map(\.rawValue).sorted().joined(separator: " ") }

    /// A kind that is not known never comes.
    fileprivate init(column: String) {
        self.init(column.split(separator: " ").compactMap { PlatformEvent.Kind(rawValue: String($0)) })
    }
}
