import ControllerDomain
import ControllerStore
import FastableCore
import FoundationEssentials
import GRDB
import TestSupport
import Testing

@Suite struct AuditRetentionTests {
    /// Events a second apart, the first one at `moment`.
    private func append(_ count: Int, _ fixture: Fixture) async throws -> [AuditHead] {
        var heads: [AuditHead] = []
        for number in 0..<count {
            var event = fixture.event("op.\(number)")
            event.timeMilliseconds += Int64(number) * 1000
            heads.append(try await fixture.store.appendAudit(event))
        }
        return heads
    }

    private func later(_ seconds: Double) -> Date { moment.addingTimeInterval(seconds) }

    @Test(arguments: Driver.allCases)
    func thePrunedChainIsVerifiedFromWhereItBegins(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            let heads = try await append(10, fixture)
            #expect(try await store.pruneAudit(before: moment, at: later(100)) == 0)
            #expect(try await store.auditHead() == heads[9], "nothing to do leaves no trace")

            #expect(try await store.pruneAudit(before: later(4), at: later(100)) == 4)
            let entries = try await store.auditEntries(AuditFilter(workspaces: nil), before: nil, limit: 100)
            #expect(entries.map(\.head.sequence) == (5...11).reversed())
            let record = try #require(entries.first?.event)
            #expect(record.operation == "audit_prune")
            #expect(record.workspace == .system && record.door == .system && record.actor == nil)
            #expect(record.detail == ["through": 4, "removed": 4, "hash": .string(Hex.encode(heads[3].hash))])

            let found = try await store.verifyAudit(expecting: nil)
            #expect(found.isIntact, "\(found)")
            #expect(found.start == heads[3])
            #expect(found.checked == 7)
            #expect(found.head.sequence == 11)
            // A head that was noted: one that is kept, the last that was removed, and older ones.
            #expect(try await store.verifyAudit(expecting: heads[6]).isIntact)
            #expect(try await store.verifyAudit(expecting: heads[3]).isIntact)
            #expect(try await store.verifyAudit(expecting: .beginning).isIntact)
            let other = AuditHead(sequence: 4, hash: heads[4].hash)
            #expect(try await store.verifyAudit(expecting: other).firstBreak?.sequence == 4)
            let gone = await expectFailure(.gone) { _ = try await store.verifyAudit(expecting: heads[2]) }
            #expect(gone?.details["from"] == 5)

            // Once more, and then everything, the first record included.
            #expect(try await store.pruneAudit(before: later(8), at: later(101)) == 4)
            #expect(try await store.verifyAudit(expecting: heads[8]).isIntact)
            #expect(try await store.pruneAudit(before: later(1000), at: later(2000)) == 4)
            let last = try await store.verifyAudit(expecting: nil)
            #expect(last.isIntact && last.checked == 1 && last.start.sequence == 12 && last.head.sequence == 13)
            try await store.appendAudit(fixture.event())
            #expect(try await store.verifyAudit(expecting: last.head).isIntact)
        }
    }

    /// An old event behind a newer one stays with it: the chain has no holes.
    @Test(arguments: Driver.allCases)
    func onlyTheBeginningIsPruned(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            for seconds in [0, 50, 1, 60] as [Int64] {
                var event = fixture.event()
                event.timeMilliseconds += seconds * 1000
                try await store.appendAudit(event)
            }
            #expect(try await store.pruneAudit(before: later(10), at: later(100)) == 1)
            #expect(try await store.pruneAudit(before: later(10), at: later(100)) == 0)
            #expect(try await store.verifyAudit(expecting: nil).isIntact)
        }
    }

    @Test(arguments: Driver.allCases)
    func theCheckIsNotDisturbedByPruning(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<2000 {
                    group.addTask {
                        var event = fixture.event()
                        event.timeMilliseconds += number < 1000 ? 0 : 1_000_000
                        try await store.appendAudit(event)
                    }
                }
                try await group.waitForAll()
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<20 {
                    group.addTask {
                        let found = try await store.verifyAudit(expecting: nil)
                        #expect(found.isIntact, "\(found)")
                    }
                }
                group.addTask { _ = try await store.pruneAudit(before: later(1), at: later(2000)) }
                try await group.waitForAll()
            }
            #expect(try await store.verifyAudit(expecting: nil).isIntact)
        }
    }

    struct Forgery: Sendable, CustomTestStringConvertible {
        var what: String
        var sql: String
        var sequence: Int64
        var reason: String
        var testDescription: String { what }
    }

    /// Ten events, of which the retention removed four; the eleventh says so.
    private static let forgeries = [
        Forgery(
            what: "more removed", sql: "DELETE FROM audit WHERE sequence < 7", sequence: 5, reason: "missing"),
        Forgery(
            what: "more removed, and the anchor moved",
            sql: """
                UPDATE audit_anchor SET sequence = 6, hash = (SELECT hash FROM audit WHERE sequence = 6);
                DELETE FROM audit WHERE sequence <= 6
                """, sequence: 6, reason: "no event says"),
        Forgery(
            what: "the anchor moved past events that stay",
            sql: "UPDATE audit_anchor SET sequence = 6, hash = (SELECT hash FROM audit WHERE sequence = 6)",
            sequence: 6, reason: "there again"),
        Forgery(what: "the anchor removed", sql: "DELETE FROM audit_anchor", sequence: 1, reason: "missing"),
        Forgery(
            what: "the anchor's hash", sql: "UPDATE audit_anchor SET hash = x'00'", sequence: 5,
            reason: "does not follow"),
        Forgery(
            what: "an event brought back",
            sql: """
                INSERT INTO audit SELECT 2, workspace_id, time, token_id, token_name, door, request_id, operation,
                    project_id, subject, phase, code, detail, previous_hash, hash FROM audit WHERE sequence = 5
                """, sequence: 4, reason: "there again"),
        Forgery(
            what: "the record of it", sql: "UPDATE audit SET detail = '{}' WHERE sequence = 11", sequence: 11,
            reason: "changed"),
    ]

    private func tamper(_ path: String, _ sql: String) throws {
        let queue = try DatabaseQueue(path: path)
        defer { try? queue.close() }
        try queue.writeWithoutTransaction { db in
            try db.execute(sql: sql)
            #expect(db.totalChangesCount > 0)
        }
    }

    @Test(arguments: forgeries)
    func aBeginningThatTheRetentionDidNotRemoveIsFound(forgery: Forgery) async throws {
        try await withStore { fixture in
            _ = try await append(10, fixture)
            #expect(try await fixture.store.pruneAudit(before: later(4), at: later(100)) == 4)
            try fixture.store.close()
            let path = fixture.directory + "/state/controller.db"
            try tamper(path, forgery.sql)
            let store = try SQLiteStore(path: path)
            defer { try? store.close() }
            let broken = try #require(try await store.verifyAudit(expecting: nil).firstBreak)
            #expect(broken.sequence == forgery.sequence)
            #expect(broken.reason.contains(forgery.reason), "\(broken.reason)")
        }
    }
}
