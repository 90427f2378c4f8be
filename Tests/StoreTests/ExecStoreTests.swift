import ControllerDomain
import ControllerStore
import FastableCore
import FoundationEssentials
import TestSupport
import Testing

@Suite struct ExecStoreTests {
    private func exec(_ fixture: Fixture, _ project: ProjectID, startedAt: Date = moment) -> ExecHandle {
        ExecHandle(
            id: ExecID(), workspace: fixture.workspace, project: project, node: fixture.node, startedAt: startedAt)
    }

    @Test(arguments: Driver.allCases)
    func anExecIsFoundInItsWorkspace(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let exec = exec(fixture, try await fixture.add("demo").id)
            try await fixture.store.recordExec(exec)
            #expect(try await fixture.store.exec(exec.id, in: fixture.workspace) == exec)
            await expectFailure(.notFound) { _ = try await fixture.store.exec(exec.id, in: fixture.other) }
            await expectFailure(.notFound) { _ = try await fixture.store.exec(ExecID(), in: fixture.workspace) }
            await expectFailure(.conflict) { try await fixture.store.recordExec(exec) }
            await expectFailure(.conflict) { try await fixture.store.recordExec(self.exec(fixture, ProjectID())) }
        }
    }

    @Test(arguments: Driver.allCases)
    func execsEndWithTheirProjectOrTheirTime(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            let project = try await fixture.add("demo").id
            let kept = exec(fixture, try await fixture.add("kept").id)
            try await store.recordExec(kept)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for second in 0..<4500 {
                    let exec = exec(fixture, project, startedAt: moment.addingTimeInterval(Double(-second - 1)))
                    group.addTask { try await store.recordExec(exec) }
                }
                try await group.waitForAll()
            }
            #expect(try await store.pruneExecs(startedBefore: moment.addingTimeInterval(-10)) == 4490)
            #expect(try await store.counts().execs == 11)
            _ = try await store.markProjectDeleting(project, in: fixture.workspace, at: moment)
            try await store.removeProject(project)
            #expect(try await store.counts().execs == 1)
            #expect(try await store.exec(kept.id, in: fixture.workspace) == kept)
        }
    }
}
