import ControllerDomain
import ControllerStore
import FastableCore
import FoundationEssentials
import GRDB
import TestSupport
import Testing

#if canImport(Glibc)
    import Glibc
#endif

@Suite struct SQLiteFileTests {
    @Test func nobodyElseCanReadTheFiles() async throws {
        try await withTemporaryDirectory { directory in
            let state = directory + "/a/b"
            let store = try SQLiteStore(path: state + "/controller.db")
            defer { try? store.close() }
            _ = try await store.bootstrap(now: moment)
            #expect(try mode(of: directory + "/a") == 0o711)
            #expect(try mode(of: state) == 0o700)
            for suffix in ["", "-wal", "-shm"] { #expect(try mode(of: state + "/controller.db" + suffix) == 0o600) }
        }
    }

    @Test func aFileThatWasTooOpenIsClosed() throws {
        try withTemporaryDirectory { directory in
            let path = directory + "/controller.db"
            #expect(chmod(directory, 0o750) == 0)
            try SQLiteStore(path: path).close()
            #expect(chmod(path, 0o644) == 0)
            try SQLiteStore(path: path).close()
            #expect(try mode(of: path) == 0o600)
            #expect(try mode(of: directory) == 0o750, "an existing directory is left as it is")
        }
    }

    @Test func everythingIsThereAfterReopening() async throws {
        try await withStore { fixture in
            let project = try await fixture.add("demo")
            let head = try await fixture.store.appendAudit(fixture.event())
            try fixture.store.close()
            let again = try SQLiteStore(path: fixture.directory + "/state/controller.db")
            defer { try? again.close() }
            #expect(try await again.bootstrap(now: Date.nowMilliseconds).id == fixture.workspace)
            #expect(try await again.project(.name("demo"), in: fixture.workspace) == project)
            #expect(try await again.auditHead() == head)
            #expect(try await again.appendAudit(fixture.event()).sequence == 2)
            #expect(try await again.verifyAudit(expecting: head).checked == 2)
        }
    }

    /// What was committed is there although nobody closed the file: a copy of the files is what a killed process
    /// leaves.
    @Test func aKilledProcessLosesNothingThatReturned() async throws {
        try await withStore { fixture in
            for number in 0..<20 { try await fixture.add("p-\(number)") }
            let copy = fixture.directory + "/copy"
            try FileManager.default.copyItem(atPath: fixture.directory + "/state", toPath: copy)
            let store = try SQLiteStore(path: copy + "/controller.db")
            defer { try? store.close() }
            #expect(try await store.counts().activeProjects == 20)
        }
    }

    @Test func everyTableHasAWorkspace() async throws {
        try await withStore { fixture in
            let queue = try DatabaseQueue(path: fixture.directory + "/state/controller.db")
            defer { try? queue.close() }
            try await queue.read { db in
                let tables = try String.fetchAll(db, sql: "SELECT name FROM sqlite_master WHERE type = 'table'")
                #expect(tables.count >= 9)
                for table in tables {
                    let columns = try db.columns(in: table)
                    #expect(columns.contains { $0.name == "workspace_id" && $0.isNotNull }, "\(table)")
                }
                #expect(try String.fetchOne(db, sql: "PRAGMA journal_mode") == "wal")
                #expect(try Int.fetchOne(db, sql: "PRAGMA user_version") == 12)
            }
        }
    }

    @Test func aDatabaseOfANewerVersionIsRefused() throws {
        try withTemporaryDirectory { directory in
            let path = directory + "/controller.db"
            try SQLiteStore(path: path).close()
            try change(path, "PRAGMA user_version = 99")
            let error = expectFailure(.conflict) { try SQLiteStore(path: path).close() }
            #expect(error?.message.contains("newer Fastable (its version is 99, this program knows 12)") == true)
            #expect(error?.message.contains(directory) == false)
            #expect(error?.context?.contains(path) == true)
        }
    }

    /// A database of the first release has none of what came later.
    @Test func aDatabaseOfTheFirstVersionIsTakenOver() async throws {
        try await withStore { fixture in
            let project = try await fixture.add("demo")
            try fixture.store.close()
            let path = fixture.directory + "/state/controller.db"
            try change(
                path,
                """
                ALTER TABLE projects DROP COLUMN supervised;
                ALTER TABLE execs DROP COLUMN result;
                ALTER TABLE projects DROP COLUMN disk_bytes;
                ALTER TABLE workspaces DROP COLUMN disk_bytes;
                ALTER TABLE workspaces DROP COLUMN quota;
                DROP TABLE remains;
                DROP INDEX projects_moving;
                ALTER TABLE projects DROP COLUMN last_stay;
                ALTER TABLE projects DROP COLUMN move_state;
                ALTER TABLE projects DROP COLUMN move_node;
                ALTER TABLE projects DROP COLUMN move_stay;
                ALTER TABLE projects DROP COLUMN move_snapshot;
                ALTER TABLE projects DROP COLUMN move_resting_since;
                ALTER TABLE projects DROP COLUMN move_since;
                DROP INDEX nodes_draining;
                ALTER TABLE nodes DROP COLUMN drain;
                ALTER TABLE nodes DROP COLUMN told_state;
                ALTER TABLE nodes DROP COLUMN told_at;
                ALTER TABLE nodes DROP COLUMN lease_seconds;
                DROP INDEX projects_archived;
                DROP INDEX projects_filling;
                ALTER TABLE projects DROP COLUMN stay;
                ALTER TABLE projects DROP COLUMN archive_state;
                ALTER TABLE projects DROP COLUMN archive_snapshot;
                ALTER TABLE projects DROP COLUMN archive_since;
                ALTER TABLE projects DROP COLUMN archive_resting_since;
                ALTER TABLE projects DROP COLUMN notice_step;
                ALTER TABLE projects DROP COLUMN notice_resting_since;
                ALTER TABLE projects DROP COLUMN notice_told_at;
                ALTER TABLE projects DROP COLUMN filling;
                DROP TABLE kill_switches;
                DROP TABLE snapshots;
                DROP TABLE webhooks;
                DROP TABLE node_journals;
                DROP TABLE events;
                DROP INDEX projects_lifecycle_unsent;
                ALTER TABLE projects DROP COLUMN lifecycle;
                ALTER TABLE projects DROP COLUMN lifecycle_revision;
                ALTER TABLE projects DROP COLUMN lifecycle_sent;
                ALTER TABLE workspaces DROP COLUMN lifecycle;
                PRAGMA user_version = 1
                """)
            let store = try SQLiteStore(path: path)
            defer { try? store.close() }
            #expect(try await store.project(.name("demo"), in: fixture.workspace) == project)
            let changed = try await store.setLifecycle(
                LifecyclePolicy(idleSeconds: 5), of: project.id, in: fixture.workspace)
            #expect(changed.lifecyclePolicy.idleSeconds == 5)
        }
    }

    @Test func aDatabaseOfAnotherProgramIsRefused() throws {
        try withTemporaryDirectory { directory in
            let path = directory + "/controller.db"
            try change(path, "CREATE TABLE notes (text)")
            let error = expectFailure(.conflict) { try SQLiteStore(path: path).close() }
            #expect(error?.message.contains("another program") == true)
        }
    }

    @Test func whatIsNoDatabaseIsRefused() throws {
        try withTemporaryDirectory { directory in
            let path = directory + "/controller.db"
            try Data(repeating: 0x41, count: 8192).write(to: URL(filePath: path))
            let error = expectFailure(.internal) { try SQLiteStore(path: path).close() }
            #expect(error?.message.contains("damaged") == true)
            let inside = expectFailure(.unavailable) { try SQLiteStore(path: path + "/controller.db").close() }
            #expect(inside?.message.contains("cannot be opened") == true)
            expectFailure(.unavailable) { try SQLiteStore(path: directory).close() }
        }
    }

    @Test func aDamagedPageIsReported() async throws {
        try await withStore { fixture in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<1500 { group.addTask { try await fixture.add("p-\(number)") } }
                try await group.waitForAll()
            }
            try fixture.store.close()
            let path = fixture.directory + "/state/controller.db"
            let size = try #require(FileManager.default.attributesOfItem(atPath: path)[.size] as? UInt64)
            let file = open(path, O_WRONLY)
            defer { close(file) }
            // The second half: the projects are there, and the schema is not.
            let garbage = [UInt8](repeating: 0xa5, count: Int(size) / 2)
            #expect(pwrite(file, garbage, garbage.count, Int(size) / 2) == garbage.count)
            let store = try SQLiteStore(path: path)
            defer { try? store.close() }
            let error = await expectFailure(.internal) {
                _ = try await store.projects(in: fixture.workspace, after: nil, limit: 500)
            }
            #expect(error?.message.contains("restore a backup") == true)
        }
    }

    @Test func aClosedStoreSaysSo() async throws {
        try await withStore { fixture in
            try fixture.store.close()
            await expectFailure(.unavailable) { _ = try await fixture.store.counts() }
            await expectFailure(.unavailable) { try await fixture.store.appendAudit(fixture.event()) }
        }
    }

    private func change(_ path: String, _ sql: String) throws {
        let queue = try DatabaseQueue(path: path)
        defer { try? queue.close() }
        try queue.writeWithoutTransaction { try $0.execute(sql: sql) }
    }
}
