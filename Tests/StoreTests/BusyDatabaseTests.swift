import ControllerDomain
import ControllerStore
import FastableCore
import FoundationEssentials
import GRDB
import TestSupport
import Testing

@Suite struct BusyDatabaseTests {
    private enum Outcome: Hashable { case written, overloaded, busy, other, released }

    private static func append(_ fixture: Fixture, _ event: AuditEvent) async -> Outcome {
        do {
            try await fixture.store.appendAudit(event)
            return .written
        } catch let error as FastableError where error.code == .unavailable {
            return error.message.contains("more to write than its disk takes") ? .overloaded : .busy
        } catch {
            return .other
        }
    }

    /// Another program holds the database until the first write gives up: writes gather up to the limit, those beyond it are
    /// refused at once, and the others go on when the database is free.
    @Test(.endsInTime) func writesWaitWithinBounds() async throws {
        try await withStore { fixture in
            var configuration = Configuration()
            configuration.allowsUnsafeTransactions = true
            let path = fixture.directory + "/state/controller.db"
            let blocker = try DatabaseQueue(path: path, configuration: configuration)
            defer { try? blocker.close() }
            // The first transaction takes its writes out of the queue.
            let beyond = Limits.storeWritesPerTransaction + 100
            var written = 0
            // On a busy machine the first write may give up before all of them have come.
            for _ in 0..<5 {
                let outcomes = try await Self.outcomes(
                    of: Limits.storeWritesWaiting + beyond, on: fixture, besides: blocker)
                let lost = outcomes[.busy] ?? 0
                let refused = outcomes[.overloaded] ?? 0
                written += outcomes[.written] ?? 0
                #expect((1...Limits.storeWritesPerTransaction).contains(lost))
                #expect(outcomes[.written] == Limits.storeWritesWaiting + beyond - lost - refused)
                #expect(outcomes[.other] == nil)
                let found = try await fixture.store.verifyAudit(expecting: nil)
                #expect(found.isIntact && found.checked == Int64(written))
                guard refused == 0 else {
                    #expect(refused <= beyond)
                    return
                }
            }
            Issue.record("there were never more than wait")
        }
    }

    private static func outcomes(
        of count: Int, on fixture: Fixture, besides blocker: DatabaseQueue
    ) async throws -> [Outcome: Int] {
        try await blocker.writeWithoutTransaction { try $0.execute(sql: "BEGIN IMMEDIATE") }
        let event = fixture.event()
        return await withTaskGroup(of: Outcome.self) { group in
            for _ in 0..<count { group.addTask { await append(fixture, event) } }
            var outcomes: [Outcome: Int] = [:]
            for await outcome in group {
                outcomes[outcome, default: 0] += 1
                guard outcome == .busy, outcomes[.busy] == 1 else { continue }
                group.addTask {
                    try? await blocker.writeWithoutTransaction { try $0.execute(sql: "ROLLBACK") }
                    return .released
                }
            }
            return outcomes
        }
    }
}
