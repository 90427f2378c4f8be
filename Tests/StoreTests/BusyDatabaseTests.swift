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

    /// Another program holds the database for longer than we wait: writes gather up to the limit, those beyond it are
    /// refused at once, one transaction gives up, and the others go on when the database is free.
    @Test func writesWaitWithinBounds() async throws {
        try await withStore { fixture in
            var configuration = Configuration()
            configuration.allowsUnsafeTransactions = true
            let path = fixture.directory + "/state/controller.db"
            let blocker = try DatabaseQueue(path: path, configuration: configuration)
            defer { try? blocker.close() }
            try await blocker.writeWithoutTransaction { try $0.execute(sql: "BEGIN IMMEDIATE") }
            let event = fixture.event()
            let beyond = 100
            let outcomes = await withTaskGroup(of: Outcome.self) { group in
                group.addTask { await append(fixture, event) }
                // The first write stands before the closed door; the others gather behind it.
                try? await Task.sleep(for: .milliseconds(200))
                for _ in 0..<(Limits.storeWritesWaiting + beyond) { group.addTask { await append(fixture, event) } }
                group.addTask {
                    try? await Task.sleep(for: .seconds(7))
                    try? await blocker.writeWithoutTransaction { try $0.execute(sql: "ROLLBACK") }
                    return .released
                }
                return await group.reduce(into: [Outcome: Int]()) { $0[$1, default: 0] += 1 }
            }
            let lost = outcomes[.busy] ?? 0
            let refused = outcomes[.overloaded] ?? 0
            #expect((1...Limits.storeWritesPerTransaction).contains(lost))
            #expect((1...beyond).contains(refused))
            #expect(outcomes[.written] == Limits.storeWritesWaiting + beyond + 1 - lost - refused)
            #expect(outcomes[.other] == nil)
            let written = try await fixture.store.verifyAudit(expecting: nil)
            #expect(written.isIntact && written.checked == Int64(outcomes[.written] ?? 0))
        }
    }
}
