import ControllerDomain
import ControllerStore
import FastableCore
import FoundationEssentials
import TestSupport
import Testing

@Suite struct OnceStoreTests {
    private func record(_ fixture: Fixture, _ key: String = "key", in workspace: WorkspaceID? = nil) -> OnceRecord {
        OnceRecord(
            key: OnceKey(workspace: workspace ?? fixture.workspace, text: key), digest: [1, 2, 3], exec: ExecID(),
            expiresAt: moment.addingTimeInterval(100))
    }

    @Test(arguments: Driver.allCases)
    func aKeyIsRememberedWithTheIntent(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            let first = record(fixture)
            #expect(try await store.beginOnce(first, intent: fixture.event(), at: moment) == .fresh)
            #expect(try await store.auditHead().sequence == 1)
            // Whoever comes later gets the first one's record, and leaves no trace.
            #expect(try await store.beginOnce(record(fixture), intent: fixture.event(), at: moment) == .known(first))
            #expect(try await store.auditHead().sequence == 1)
            #expect(
                try await store.beginOnce(record(fixture, in: fixture.other), intent: fixture.event(), at: moment)
                    == .fresh)
            let answers: [OnceRecord.Answer] = [
                .output(Data("{}".utf8)), .failure(FastableError(.stale, "s", details: ["a": 1])), .exec, .dropped,
            ]
            for answer in answers {
                try await store.finishOnce(first.key, answer)
                var known = first
                known.answer = answer
                #expect(
                    try await store.beginOnce(record(fixture), intent: fixture.event(), at: moment) == .known(known))
            }
            // What has ended stays; what has not begun may begin anew.
            try await store.forgetOnce(first.key)
            guard case .known = try await store.beginOnce(first, intent: fixture.event(), at: moment) else {
                throw FastableError(.internal, "it was forgotten")
            }
            let other = record(fixture, in: fixture.other)
            try await store.forgetOnce(other.key)
            #expect(try await store.beginOnce(other, intent: fixture.event(), at: moment) == .fresh)
        }
    }

    @Test(arguments: Driver.allCases)
    func aCancelledKeyStaysCancelled(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            var cancelled = record(fixture)
            cancelled.answer = .failure(FastableError(.cancelled, "c"))
            #expect(try await store.cancelOnce(cancelled, at: moment) == .fresh)
            let intent = fixture.event()
            try await store.forgetOnce(cancelled.key)
            #expect(try await store.beginOnce(record(fixture), intent: intent, at: moment) == .known(cancelled))
            // What runs is found, and does not begin again.
            let running = record(fixture, in: fixture.other)
            #expect(try await store.beginOnce(running, intent: intent, at: moment) == .fresh)
            var late = record(fixture, in: fixture.other)
            late.answer = cancelled.answer
            #expect(try await store.cancelOnce(late, at: moment) == .known(running))
            var known = running
            known.answer = cancelled.answer
            #expect(try await store.beginOnce(late, intent: intent, at: moment) == .known(known))
            // What has ended keeps its answer.
            try await store.finishOnce(running.key, .exec)
            known.answer = .exec
            #expect(try await store.cancelOnce(late, at: moment) == .known(known))
            #expect(try await store.beginOnce(late, intent: intent, at: moment) == .known(known))
        }
    }

    @Test(arguments: Driver.allCases)
    func ofManyAtOnceOneBegins(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let found = try await withThrowingTaskGroup(of: OnceBeginning.self) { group in
                for _ in 0..<100 {
                    group.addTask {
                        try await fixture.store.beginOnce(record(fixture), intent: fixture.event(), at: moment)
                    }
                }
                return try await group.reduce(into: [OnceBeginning]()) { $0.append($1) }
            }
            #expect(found.filter { $0 == .fresh }.count == 1)
            #expect(Set(found.compactMap { if case .known(let known) = $0 { known.exec } else { nil } }).count == 1)
            #expect(try await fixture.store.auditHead().sequence == 1)
        }
    }

    @Test(arguments: Driver.allCases)
    func aKeyIsFreeAgainAfterItsTime(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            _ = try await store.beginOnce(record(fixture), intent: fixture.event(), at: moment)
            let end = moment.addingTimeInterval(100)
            let justBefore = end.addingTimeInterval(-0.001)
            guard case .known = try await store.beginOnce(record(fixture), intent: fixture.event(), at: justBefore)
            else {
                Issue.record("it was forgotten too early")
                return
            }
            var later = record(fixture)
            later.expiresAt = end.addingTimeInterval(100)
            // What is under way is known until it ends.
            guard case .known = try await store.beginOnce(later, intent: fixture.event(), at: end) else {
                Issue.record("it was forgotten while it ran")
                return
            }
            #expect(try await store.pruneOnce(expiredBefore: end) == 0)
            try await store.finishOnce(later.key, .output(Data("{}".utf8)))
            #expect(try await store.beginOnce(later, intent: fixture.event(), at: end) == .fresh)
            #expect(try await store.pruneOnce(expiredBefore: end) == 0)
            #expect(try await store.pruneOnce(expiredBefore: later.expiresAt) == 0, "nobody knows yet how it ended")
            let longAgo = later.expiresAt.addingTimeInterval(Double(Limits.onceSeconds))
            #expect(try await store.pruneOnce(expiredBefore: longAgo) == 1)
        }
    }

    /// What cannot go into the audit does not begin either.
    @Test(arguments: Driver.allCases)
    func withoutTheIntentThereIsNoKey(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            var event = fixture.event()
            event.detail = ["cmd": .string(String(repeating: "x", count: Limits.auditDetailBytes))]
            await expectFailure(.tooLarge) {
                _ = try await fixture.store.beginOnce(record(fixture), intent: event, at: moment)
            }
            let found = try await fixture.store.beginOnce(record(fixture), intent: fixture.event(), at: moment)
            #expect(found == .fresh)
        }
    }
}
