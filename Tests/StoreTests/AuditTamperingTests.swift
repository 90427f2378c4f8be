import ControllerDomain
import ControllerStore
import FastableCore
import FoundationEssentials
import GRDB
import Testing

/// What somebody may do to the file, and where the check finds it.
struct Tampering: Sendable, CustomTestStringConvertible {
    var what: String
    var sql: String
    var sequence: Int64
    var reason: String

    var testDescription: String { what }

    static let attempts = [
        Tampering(
            what: "subject", sql: "UPDATE audit SET subject = 'x' WHERE sequence = 5", sequence: 5, reason: "changed"),
        Tampering(
            what: "detail", sql: "UPDATE audit SET detail = '{}' WHERE sequence = 5", sequence: 5, reason: "changed"),
        Tampering(
            what: "spaces in the detail", sql: "UPDATE audit SET detail = detail || ' ' WHERE sequence = 5",
            sequence: 5,
            reason: "changed"),
        Tampering(
            what: "broken detail", sql: "UPDATE audit SET detail = '{' WHERE sequence = 5", sequence: 5,
            reason: "changed"),
        Tampering(
            what: "time", sql: "UPDATE audit SET time = time + 1 WHERE sequence = 1", sequence: 1, reason: "changed"),
        Tampering(
            what: "name", sql: "UPDATE audit SET token_name = 'root' WHERE sequence = 10", sequence: 10,
            reason: "changed"),
        Tampering(
            what: "token", sql: "UPDATE audit SET token_id = NULL WHERE sequence = 5", sequence: 5,
            reason: "cannot be read"),
        Tampering(
            what: "workspace", sql: "UPDATE audit SET workspace_id = '' WHERE sequence = 5", sequence: 5,
            reason: "cannot be read"),
        Tampering(
            what: "phase", sql: "UPDATE audit SET phase = 'denied' WHERE sequence = 5", sequence: 5, reason: "changed"),
        Tampering(
            what: "code", sql: "UPDATE audit SET code = 'nonsense' WHERE sequence = 5", sequence: 5, reason: "changed"),
        Tampering(
            what: "hash", sql: "UPDATE audit SET hash = x'00' WHERE sequence = 5", sequence: 5, reason: "changed"),
        Tampering(
            what: "previous hash", sql: "UPDATE audit SET previous_hash = x'00' WHERE sequence = 5", sequence: 5,
            reason: "does not follow"),
        Tampering(what: "a row removed", sql: "DELETE FROM audit WHERE sequence = 5", sequence: 5, reason: "missing"),
        Tampering(
            what: "the beginning removed", sql: "DELETE FROM audit WHERE sequence < 4", sequence: 1, reason: "missing"),
        Tampering(
            what: "the end removed", sql: "DELETE FROM audit WHERE sequence > 8", sequence: 9,
            reason: "end is missing"),
        Tampering(what: "all removed", sql: "DELETE FROM audit", sequence: 1, reason: "end is missing"),
        Tampering(
            what: "two rows exchanged",
            sql: """
                UPDATE audit SET sequence = 100 WHERE sequence = 4; UPDATE audit SET sequence = 4 WHERE sequence = 5;
                UPDATE audit SET sequence = 5 WHERE sequence = 100
                """, sequence: 4, reason: "does not follow"),
        Tampering(
            what: "rows renumbered after a removal",
            sql: "DELETE FROM audit WHERE sequence = 5; UPDATE audit SET sequence = sequence - 1 WHERE sequence > 5",
            sequence: 5, reason: "does not follow"),
        Tampering(
            what: "a row added",
            sql: """
                INSERT INTO audit SELECT 11, workspace_id, time, token_id, token_name, door, request_id, operation,
                    project_id, subject, phase, code, detail, hash, hash FROM audit WHERE sequence = 10
                """, sequence: 11, reason: "changed"),
        Tampering(what: "the head removed", sql: "DELETE FROM audit_head", sequence: 1, reason: "did not write"),
        Tampering(
            what: "the head taken back", sql: "UPDATE audit_head SET sequence = 7", sequence: 8, reason: "did not write"
        ),
        Tampering(
            what: "the head's hash", sql: "UPDATE audit_head SET hash = x'00'", sequence: 10, reason: "written last"),
    ]
}

@Suite struct AuditTamperingTests {
    private func path(_ fixture: Fixture) -> String { fixture.directory + "/state/controller.db" }

    private func tamper(_ fixture: Fixture, _ sql: String) throws {
        let queue = try DatabaseQueue(path: path(fixture))
        defer { try? queue.close() }
        try queue.writeWithoutTransaction { db in
            try db.execute(sql: sql)
            #expect(db.totalChangesCount > 0)
        }
    }

    @Test(arguments: Tampering.attempts)
    func theCheckFindsTheFirstBrokenPlace(attempt: Tampering) async throws {
        try await withStore { fixture in
            for _ in 0..<10 { try await fixture.store.appendAudit(fixture.event()) }
            try fixture.store.close()
            try tamper(fixture, attempt.sql)
            let store = try SQLiteStore(path: path(fixture))
            defer { try? store.close() }
            let found = try await store.verifyAudit(expecting: nil)
            let broken = try #require(found.firstBreak)
            #expect(broken.sequence == attempt.sequence)
            #expect(broken.reason.contains(attempt.reason), "\(broken.reason)")
            #expect(found.checked == min(attempt.sequence - 1, 10) || found.checked == 10)
        }
    }

    /// A whole new chain is consistent in itself: only a head that was noted elsewhere shows it.
    @Test func aChainThatWasWrittenAnewShowsAgainstANotedHead() async throws {
        try await withStore { fixture in
            let store = fixture.store
            for _ in 0..<10 { try await store.appendAudit(fixture.event()) }
            let noted = try await store.auditHead()
            try tamper(fixture, "DELETE FROM audit; DELETE FROM audit_head")
            for _ in 0..<5 { try await store.appendAudit(fixture.event()) }
            #expect(try await store.verifyAudit(expecting: nil).isIntact)
            let short = try await store.verifyAudit(expecting: noted).firstBreak
            #expect(short?.sequence == 6)
            #expect(short?.reason.contains("event 10 was noted") == true)
            for _ in 0..<5 { try await store.appendAudit(fixture.event()) }
            #expect(try await store.verifyAudit(expecting: nil).isIntact)
            let full = try await store.verifyAudit(expecting: noted).firstBreak
            #expect(full?.sequence == 10)
            #expect(full?.reason.contains("written anew") == true)
        }
    }
}
