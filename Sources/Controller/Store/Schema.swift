import FastableCore
import GRDB

/// The tables, as numbered steps. Append only: a step that was released is never changed.
///
/// Every row has `workspace_id`; rows of the platform carry the system workspace's. Moments are milliseconds since
/// 1970, ids their text. The number of the last step stands in the file's `user_version`.
package enum Schema {
    package struct Migration: Sendable {
        package var number: Int
        package var sql: String
    }

    package static let migrations = [
        Migration(number: 1, sql: first), Migration(number: 2, sql: lifecycle), Migration(number: 3, sql: events),
        Migration(number: 4, sql: snapshots), Migration(number: 5, sql: killSwitches),
        Migration(number: 6, sql: archives), Migration(number: 7, sql: disks), Migration(number: 8, sql: moves),
        Migration(number: 9, sql: losses), Migration(number: 10, sql: quotas),
        Migration(number: 11, sql: supervised), Migration(number: 12, sql: results),
    ]

    static var current: Int { migrations.last?.number ?? 0 }

    /// ‘FSTB’ in the file's header: this database is Fastable's.
    static let applicationID = 0x4653_5442

    /// Takes the database to the current version. Each step is a transaction: a step that fails leaves the one before.
    static func migrate(_ db: Database) throws {
        let found = try version(of: db)
        guard found <= current else {
            throw FastableError(
                .conflict,
                "The database was made by a newer Fastable (its version is \(found), this program knows \(current)). "
                    + "Start the newer program, or restore a backup from before the upgrade.")
        }
        for migration in migrations where migration.number > found {
            try db.inTransaction(.immediate) {
                try db.execute(sql: migration.sql)
                try db.execute(
                    sql: "PRAGMA application_id = \(applicationID); PRAGMA user_version = \(migration.number)")
                return .commit
            }
        }
    }

    /// Throws for a database of some other program.
    private static func version(of db: Database) throws -> Int {
        let application = try Int.fetchOne(db, sql: "PRAGMA application_id") ?? 0
        let version = try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0
        let tables = try Int.fetchOne(db, sql: "SELECT COUNT(*) FROM sqlite_master") ?? 0
        guard application == applicationID || (application == 0 && version == 0 && tables == 0) else {
            throw FastableError(
                .conflict, "The database file belongs to another program. Give Fastable a file of its own.")
        }
        return version
    }

    /// Settings are JSON, `NULL` without any. A project's node has those of the revision that was sent last.
    private static let lifecycle = """
        ALTER TABLE workspaces ADD COLUMN lifecycle TEXT;
        ALTER TABLE projects ADD COLUMN lifecycle TEXT;
        ALTER TABLE projects ADD COLUMN lifecycle_revision INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE projects ADD COLUMN lifecycle_sent INTEGER NOT NULL DEFAULT 0;
        CREATE INDEX projects_lifecycle_unsent ON projects (node_id, id) WHERE lifecycle_sent <> lifecycle_revision;
        """

    /// `NULL` for projects that are not archived, nor on their way there or back. One that is `filling` is new and gets its content.
    private static let archives = """
        ALTER TABLE projects ADD COLUMN stay INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE projects ADD COLUMN archive_state TEXT
            CHECK (archive_state IN ('removing', 'archived', 'restoring'));
        ALTER TABLE projects ADD COLUMN archive_snapshot TEXT;
        ALTER TABLE projects ADD COLUMN archive_since INTEGER;
        ALTER TABLE projects ADD COLUMN archive_resting_since INTEGER;
        ALTER TABLE projects ADD COLUMN notice_step TEXT CHECK (notice_step IN ('archive', 'delete'));
        ALTER TABLE projects ADD COLUMN notice_resting_since INTEGER;
        ALTER TABLE projects ADD COLUMN notice_told_at INTEGER;
        ALTER TABLE projects ADD COLUMN filling INTEGER NOT NULL DEFAULT 0;
        CREATE INDEX projects_archived ON projects (archive_snapshot, id) WHERE archive_snapshot IS NOT NULL;
        CREATE INDEX projects_filling ON projects (id) WHERE filling <> 0;
        """

    private static let first = """
        CREATE TABLE workspaces (
            workspace_id TEXT NOT NULL PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            created_at INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE nodes (
            id TEXT NOT NULL PRIMARY KEY,
            workspace_id TEXT NOT NULL REFERENCES workspaces,
            name TEXT NOT NULL,
            scheduling TEXT NOT NULL CHECK (scheduling IN ('ready', 'cordoned', 'removed')),
            facts TEXT,
            last_seen_at INTEGER,
            certificate_serial TEXT,
            certificate_expires_at INTEGER,
            created_at INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE UNIQUE INDEX nodes_by_name ON nodes (name) WHERE scheduling <> 'removed';

        CREATE TABLE certificates (
            serial TEXT NOT NULL PRIMARY KEY,
            workspace_id TEXT NOT NULL REFERENCES workspaces,
            node_id TEXT NOT NULL REFERENCES nodes,
            expires_at INTEGER NOT NULL,
            revoked_at INTEGER
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX certificates_by_node ON certificates (node_id);

        CREATE TABLE join_tokens (
            id TEXT NOT NULL PRIMARY KEY,
            workspace_id TEXT NOT NULL REFERENCES workspaces,
            verification_key BLOB NOT NULL,
            node_id TEXT REFERENCES nodes,
            created_at INTEGER NOT NULL,
            expires_at INTEGER NOT NULL,
            used_at INTEGER,
            used_by TEXT
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE tokens (
            id TEXT NOT NULL PRIMARY KEY,
            workspace_id TEXT NOT NULL REFERENCES workspaces,
            name TEXT NOT NULL,
            scopes TEXT NOT NULL,
            hash BLOB NOT NULL UNIQUE,
            created_at INTEGER NOT NULL,
            expires_at INTEGER,
            revoked_at INTEGER,
            last_used_at INTEGER
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX tokens_by_workspace ON tokens (workspace_id, id);

        CREATE TABLE projects (
            id TEXT NOT NULL PRIMARY KEY,
            workspace_id TEXT NOT NULL REFERENCES workspaces,
            name TEXT NOT NULL,
            image TEXT NOT NULL,
            cpus REAL NOT NULL,
            memory_bytes INTEGER NOT NULL,
            pids INTEGER NOT NULL,
            environment TEXT NOT NULL,
            node_id TEXT REFERENCES nodes,
            origin_url TEXT,
            origin_branch TEXT,
            created_at INTEGER NOT NULL,
            deleted_at INTEGER
        ) STRICT, WITHOUT ROWID;
        CREATE UNIQUE INDEX projects_by_name ON projects (workspace_id, name) WHERE deleted_at IS NULL;
        CREATE INDEX projects_by_node ON projects (node_id, workspace_id, memory_bytes, cpus, pids)
            WHERE node_id IS NOT NULL;
        CREATE INDEX projects_deleting ON projects (deleted_at) WHERE deleted_at IS NOT NULL;

        CREATE TABLE execs (
            id TEXT NOT NULL PRIMARY KEY,
            workspace_id TEXT NOT NULL REFERENCES workspaces,
            project_id TEXT NOT NULL REFERENCES projects ON DELETE CASCADE,
            node_id TEXT NOT NULL REFERENCES nodes,
            started_at INTEGER NOT NULL,
            command TEXT NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX execs_by_project ON execs (project_id, id);
        CREATE INDEX execs_by_start ON execs (started_at);

        -- No reference to other tables: what was written stays, whatever becomes of them.
        CREATE TABLE audit (
            sequence INTEGER PRIMARY KEY,
            workspace_id TEXT NOT NULL,
            time INTEGER NOT NULL,
            token_id TEXT,
            token_name TEXT,
            door TEXT NOT NULL,
            request_id TEXT NOT NULL,
            operation TEXT NOT NULL,
            project_id TEXT,
            subject TEXT NOT NULL,
            phase TEXT NOT NULL,
            code TEXT,
            detail TEXT NOT NULL,
            previous_hash BLOB NOT NULL,
            hash BLOB NOT NULL
        ) STRICT;
        CREATE INDEX audit_by_workspace ON audit (workspace_id, sequence);
        CREATE INDEX audit_by_project ON audit (project_id, sequence) WHERE project_id IS NOT NULL;

        -- One row: the end of the chain, so that a cut end is noticed.
        CREATE TABLE audit_head (
            workspace_id TEXT NOT NULL PRIMARY KEY,
            sequence INTEGER NOT NULL,
            hash BLOB NOT NULL
        ) STRICT, WITHOUT ROWID;

        -- One row, once the retention removed something: the last event that it removed, which the first one left follows. Events
        -- are numbered from 1 without gaps, so its number is also their count.
        CREATE TABLE audit_anchor (
            workspace_id TEXT NOT NULL PRIMARY KEY,
            sequence INTEGER NOT NULL,
            hash BLOB NOT NULL
        ) STRICT, WITHOUT ROWID;

        -- Changes by their idempotency key. Without an outcome while they run, and when nobody knows how they ended.
        CREATE TABLE once (
            workspace_id TEXT NOT NULL REFERENCES workspaces,
            key TEXT NOT NULL,
            digest BLOB NOT NULL,
            exec_id TEXT NOT NULL,
            expires_at INTEGER NOT NULL,
            outcome TEXT CHECK (outcome IN ('output', 'failure', 'exec', 'dropped')),
            answer BLOB
        ) STRICT;
        CREATE UNIQUE INDEX once_by_key ON once (workspace_id, key);
        CREATE INDEX once_by_expiry ON once (expires_at);
        """

    /// Events and webhooks. Numbers of events and journals only rise: the newest row of each is never removed.
    private static let events = """
        CREATE TABLE events (
            sequence INTEGER PRIMARY KEY,
            workspace_id TEXT NOT NULL REFERENCES workspaces,
            kind TEXT NOT NULL,
            at INTEGER NOT NULL,
            stored_at INTEGER NOT NULL,
            project_id TEXT,
            node_id TEXT,
            data TEXT NOT NULL
        ) STRICT;
        CREATE INDEX events_by_workspace ON events (workspace_id, sequence);
        CREATE INDEX events_by_project ON events (project_id, sequence) WHERE project_id IS NOT NULL;

        CREATE TABLE node_journals (
            opened INTEGER PRIMARY KEY,
            workspace_id TEXT NOT NULL REFERENCES workspaces,
            node_id TEXT NOT NULL REFERENCES nodes,
            journal TEXT NOT NULL,
            number INTEGER NOT NULL,
            UNIQUE (node_id, journal)
        ) STRICT;

        CREATE TABLE webhooks (
            id TEXT NOT NULL PRIMARY KEY,
            workspace_id TEXT NOT NULL REFERENCES workspaces,
            url TEXT NOT NULL,
            description TEXT NOT NULL,
            kinds TEXT NOT NULL,
            includes_fleet INTEGER NOT NULL,
            sealed_secret BLOB NOT NULL,
            created_at INTEGER NOT NULL,
            delivered INTEGER NOT NULL,
            attempts INTEGER NOT NULL,
            failing_since INTEGER,
            next_attempt_at INTEGER,
            last_problem TEXT,
            last_success_at INTEGER,
            disabled_at INTEGER
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX webhooks_by_workspace ON webhooks (workspace_id, id);
        """

    /// No reference to projects and nodes: snapshots outlive both.
    private static let snapshots = """
        CREATE TABLE snapshots (
            id TEXT NOT NULL PRIMARY KEY,
            workspace_id TEXT NOT NULL REFERENCES workspaces,
            project_id TEXT NOT NULL,
            project_name TEXT NOT NULL,
            node_id TEXT NOT NULL,
            image TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            reason TEXT NOT NULL,
            facts TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('verified', 'damaged')),
            expires_at INTEGER
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX snapshots_by_workspace ON snapshots (workspace_id, id);
        CREATE INDEX snapshots_by_project ON snapshots (project_id, id);
        CREATE INDEX snapshots_by_expiry ON snapshots (expires_at) WHERE expires_at IS NOT NULL;
        """

    /// `NULL` is the standard of the project's node.
    private static let disks = """
        ALTER TABLE projects ADD COLUMN disk_bytes INTEGER;
        ALTER TABLE workspaces ADD COLUMN disk_bytes INTEGER;
        """

    /// JSON, `NULL` without any.
    private static let quotas = "ALTER TABLE workspaces ADD COLUMN quota TEXT;"

    /// JSON, `NULL` without any. A project's node has those of the revision that was sent last.
    private static let supervised = "ALTER TABLE projects ADD COLUMN supervised TEXT;"

    /// JSON, `NULL` while the exec's node has it.
    private static let results = "ALTER TABLE execs ADD COLUMN result TEXT;"

    /// Those that were lifted stay for a while: who held what, and for how long.
    private static let killSwitches = """
        CREATE TABLE kill_switches (
            id TEXT NOT NULL PRIMARY KEY,
            workspace_id TEXT NOT NULL REFERENCES workspaces,
            scope TEXT NOT NULL,
            mode TEXT NOT NULL CHECK (mode IN ('kill', 'network', 'no_new_work')),
            holds INTEGER NOT NULL,
            reason TEXT NOT NULL,
            by_name TEXT NOT NULL,
            owner TEXT NOT NULL CHECK (owner IN ('workspace', 'operators')),
            since INTEGER NOT NULL,
            token_id TEXT NOT NULL,
            version INTEGER NOT NULL,
            awaited TEXT NOT NULL,
            lifted_at INTEGER,
            lifted_by TEXT
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX kill_switches_active ON kill_switches (version) WHERE lifted_at IS NULL;
        """
}
