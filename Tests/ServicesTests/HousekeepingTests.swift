import ControllerDomain
import ControllerServices
import ControllerStore
import FastableCore
import FoundationEssentials
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(2))) struct HousekeepingTests {
    @Test func itRunsUntilTheProgramStopsAndLeavesTheAuditWritten() async throws {
        try await World.with { world, _ in
            let project = try await world.project()
            let old = ExecHandle(
                id: ExecID(), workspace: world.workspace, project: project,
                node: try #require(try await world.store.nodes().first).id,
                startedAt: .nowMilliseconds.addingTimeInterval(-Double(Limits.execRecordDays + 1) * 86_400))
            try await world.store.recordExec(old)
            let running = Task { try await world.services.run() }
            try await eventually("old execs are forgotten") { try await world.store.counts().execs == 0 }
            try await world.run("projects_list")
            running.cancel()
            try await running.value
            let head = try await world.store.auditHead()
            #expect(try await world.audit("projects_list").count == 1)
            #expect(try await world.store.auditHead() == head)
            try await world.services.checkReady()
        }
    }
}
