import ControllerDomain
import ControllerStore
import FastableCore
import FoundationEssentials
import TestSupport
import Testing

@Suite struct KillSwitchStoreTests {
    private static func record(_ fixture: Fixture, _ scope: KillScope, version: UInt64) -> KillSwitchRecord {
        KillSwitchRecord(
            held: KillSwitch(
                scope: scope, mode: .network, holds: true, reason: "ä\"\\", by: "alice", owner: .workspace,
                since: moment), workspace: fixture.workspace, token: TokenID(), version: version,
            awaited: [fixture.node])
    }

    @Test(arguments: Driver.allCases)
    func whatIsOnIsGivenInTheOrderOfItsVersions(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let scopes: [KillScope] = [
                .all, .node(fixture.node), .workspace(fixture.workspace), .project(ProjectID()),
                .exec(ExecID(), of: ProjectID()),
            ]
            let records = scopes.enumerated().map { index, scope in
                Self.record(fixture, scope, version: UInt64(100 - index))
            }
            for record in records { try await fixture.store.addKillSwitch(record) }
            #expect(try await fixture.store.activeKillSwitches() == records.reversed())
        }
    }

    @Test(arguments: Driver.allCases)
    func oneThatWasLiftedStaysLifted(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            var record = Self.record(fixture, .all, version: 1)
            try await fixture.store.addKillSwitch(record)
            record.awaited = []
            try await fixture.store.updateKillSwitch(record)
            #expect(try await fixture.store.activeKillSwitches() == [record])
            record.liftedAt = moment
            record.liftedBy = "bob"
            try await fixture.store.updateKillSwitch(record)
            record.liftedAt = nil
            try await fixture.store.updateKillSwitch(record)
            #expect(try await fixture.store.activeKillSwitches().isEmpty)
        }
    }
}
