import ControllerDomain
import ControllerStore
import FastableCore
import FoundationEssentials
import GRDB
import Testing

@Suite struct BusyDatabaseTests {
    private enum Outcome: Hashable { case written, overloaded, busy, other, released }

    private func append(_ fixture: Fixture, _ event: AuditEvent) async -> Outcome {
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
    @Test(.timeLimit(.minutes(2))) func writesWaitWithinBounds() async throws {
        try await withStore { fixture in
            var configuration = Configuration()
            configuration.allowsUnsafeTransactions = true
            let path = fixture.directory + "/state/controller.db"
            let blocker = try DatabaseQueue(path: path, configuration: configuration)
            defer { try? blocker.close() }
            try await blocker.writeWithoutTransaction { try $0.execute(sql: "BEGIN IMMEDIATE") }
            let event = fixture.event()
            // The first transaction takes its writes out of the queue.
            let beyond = Limits.storeWritesPerTransaction + 100
            let outcomes = await withTaskGroup(of: Outcome.self) { group in
                for _ in 0..<(Limits.storeWritesWaiting + beyond) { group.addTask { await append(fixture, event) } }
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
            let lost = outcomes[.busy] ?? 0
            let refused = outcomes[.overloaded] ?? 0
            #expect((1...Limits.storeWritesPerTransaction).contains(lost))
            #expect((1...beyond).contains(refused))
            #expect(outcomes[.written] == Limits.storeWritesWaiting + beyond - lost - refused)
            #expect(outcomes[.other] == nil)
            let written = try await fixture.store.verifyAudit(expecting: nil)
            #expect(written.isIntact && written.checked == Int64(outcomes[.written] ?? 0))
        }
    }
}
