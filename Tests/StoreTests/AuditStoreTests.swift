import ControllerDomain
import ControllerStore
import FastableCore
import FoundationEssentials
import TestSupport
import Testing

@Suite struct AuditStoreTests {
    @Test(arguments: Driver.allCases)
    func eventsComeBackAsTheyWereWritten(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            #expect(try await store.auditHead() == .beginning)
            #expect(try await store.verifyAudit(expecting: nil).isIntact)
            var bare = fixture.event()
            (bare.actor, bare.detail, bare.workspace, bare.phase) = (nil, [:], .system, .denied)
            bare.code = .unauthenticated
            let full = fixture.event(project: ProjectID(), subject: "/workspace/ä\n\"")
            let first = try await store.appendAudit(bare)
            let second = try await store.appendAudit(full)
            #expect([first.sequence, second.sequence] == [1, 2])
            let entries = try await store.auditEntries(AuditFilter(workspaces: nil), before: nil, limit: 10)
            #expect(entries == [AuditEntry(head: second, event: full), AuditEntry(head: first, event: bare)])
            #expect(try await store.auditHead() == second)
            let found = try await store.verifyAudit(expecting: first)
            #expect(found == AuditVerification(checked: 2, firstBreak: nil, head: second))
        }
    }

    @Test(arguments: Driver.allCases)
    func theChainHoldsUnderConcurrentAppends(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let heads = try await withThrowingTaskGroup(of: AuditHead.self) { group in
                for number in 0..<200 {
                    group.addTask { try await fixture.store.appendAudit(fixture.event("op.\(number)")) }
                }
                return try await group.reduce(into: [AuditHead]()) { $0.append($1) }
            }
            #expect(heads.map(\.sequence).sorted() == Array(1...200))
            #expect(Set(heads.map(\.hash)).count == 200)
            let found = try await fixture.store.verifyAudit(expecting: heads.randomElement())
            #expect(found.checked == 200 && found.isIntact)
            #expect(heads.contains(found.head))
        }
    }

    /// Over several pages, while events are being added.
    @Test(arguments: Driver.allCases)
    func theCheckIsNotDisturbedByNewEvents(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<1200 { group.addTask { try await store.appendAudit(fixture.event()) } }
                try await group.waitForAll()
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<300 { group.addTask { try await store.appendAudit(fixture.event()) } }
                for _ in 0..<5 {
                    let found = try await store.verifyAudit(expecting: nil)
                    #expect(found.isIntact && found.checked >= 1200, "\(found)")
                }
                try await group.waitForAll()
            }
            #expect(try await store.verifyAudit(expecting: nil).checked == 1500)
        }
    }

    @Test(arguments: Driver.allCases)
    func listsAreFilteredAndPaged(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            let project = ProjectID()
            for number in 0..<30 {
                var event = fixture.event(
                    number % 3 == 0 ? "fs.read" : "shell.exec", project: number % 2 == 0 ? project : nil)
                event.workspace = [fixture.workspace, fixture.other, .system][number / 10]
                try await store.appendAudit(event)
            }
            func list(_ filter: AuditFilter, before: Int64? = nil, limit: Int = 100) async throws -> [Int64] {
                try await store.auditEntries(filter, before: before, limit: limit).map(\.head.sequence)
            }
            #expect(try await list(AuditFilter(workspaces: nil)) == (1...30).reversed())
            #expect(try await list(AuditFilter(workspaces: nil), before: 11, limit: 3) == [10, 9, 8])
            #expect(try await list(AuditFilter(workspaces: [])).isEmpty)
            #expect(try await list(AuditFilter(workspaces: [fixture.other])) == (11...20).reversed())
            let two = AuditFilter(workspaces: [fixture.workspace, .system], operation: "fs.read")
            #expect(try await list(two) == [28, 25, 22, 10, 7, 4, 1])
            let mine = AuditFilter(workspaces: [fixture.workspace], project: project, operation: "fs.read")
            #expect(try await list(mine) == [7, 1])
            #expect(try await list(AuditFilter(workspaces: nil, operation: "' OR 1=1 --")).isEmpty)
            #expect(try await list(AuditFilter(workspaces: nil), limit: 0).count == 1)
        }
    }

    @Test(arguments: Driver.allCases)
    func anEventIsWrittenAfterItsTaskWasCancelled(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let task = Task {
                while !Task.isCancelled { await Task.yield() }
                return try await fixture.store.appendAudit(fixture.event())
            }
            task.cancel()
            let head = try await task.value
            #expect(head.sequence == 1)
        }
    }

    @Test(arguments: Driver.allCases)
    func anEndlessDetailIsRefused(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            var event = fixture.event()
            event.detail = ["cmd": .string(String(repeating: "x", count: Limits.auditDetailBytes))]
            await expectFailure(.tooLarge) { try await fixture.store.appendAudit(event) }
            // The longest command that can be run fits, whatever characters it has.
            event.detail = ["cmd": .string(String(repeating: "\"", count: Limits.execArgumentBytes))]
            try await fixture.store.appendAudit(event)
            #expect(try await fixture.store.verifyAudit(expecting: nil).checked == 1)
        }
    }

    /// A write that fails among many takes no other with it, and its event is not in the chain.
    @Test(arguments: Driver.allCases)
    func aFailingWriteDoesNotHarmItsNeighbours(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            try await fixture.add("taken")
            let outcomes = await withTaskGroup(of: (Int, Bool).self) { group in
                for number in 0..<300 {
                    group.addTask {
                        switch number % 3 {
                        case 0: (0, (try? await fixture.add("taken")) != nil)
                        case 1: (1, (try? await fixture.add("p-\(number)")) != nil)
                        default: (2, (try? await fixture.store.appendAudit(fixture.event())) != nil)
                        }
                    }
                }
                return await group.reduce(into: [0, 0, 0]) { $0[$1.0] += $1.1 ? 1 : 0 }
            }
            #expect(outcomes == [0, 100, 100])
            #expect(try await fixture.store.counts().activeProjects == 101)
            #expect(try await fixture.store.verifyAudit(expecting: nil).checked == 100)
        }
    }
}
