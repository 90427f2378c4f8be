import ControllerDomain
import ControllerServices
import ControllerStore
import FastableCore
import Foundation
import TestSupport
import Testing

@Suite(.endsInTime) struct HousekeepingTests {
    @Test func itRunsUntilTheProgramStopsAndLeavesTheAuditWritten() async throws {
        try await World.with { world, _ in
            let project = try await world.project()
            let node = try #require(try await world.store.nodes().first).id
            let longest = Limits.detachedExecTimeoutLongestSeconds / 86_400
            // The second may have ended a moment ago.
            for days in [Limits.execRecordDays + longest + 1, Limits.execRecordDays + 1] {
                try await world.store.recordExec(
                    ExecHandle(
                        id: ExecID(), workspace: world.workspace, project: project, node: node,
                        startedAt: .nowMilliseconds.addingTimeInterval(-Double(days) * 86_400)))
            }
            let running = Task { try await world.services.run() }
            try await eventually("the old exec is forgotten") { try await world.store.counts().execs == 1 }
            try await world.run("projects_list")
            running.cancel()
            try await running.value
            let head = try await world.store.auditHead()
            #expect(try await world.audit("projects_list").count == 1)
            #expect(try await world.store.auditHead() == head)
            try await world.services.checkReady()
        }
    }

    private func appendOld(_ world: World, days: [Double]) async throws {
        for days in days {
            try await world.store.appendAudit(
                AuditEvent(
                    timeMilliseconds: Date.nowMilliseconds.addingTimeInterval(-days * 86_400).milliseconds,
                    workspace: world.workspace, actor: nil, door: .system, request: RequestID(), operation: "old",
                    phase: .outcome))
        }
    }

    @Test func theAuditIsKeptForSoManyDays() async throws {
        try await World.with(nodes: 0, auditRetentionDays: 30) { world, _ in
            try await appendOld(world, days: [40, 32, 29, 1])
            let running = Task { try await world.services.run() }
            try await eventually("old events are removed") { try await world.audit("old").count == 2 }
            running.cancel()
            try await running.value
            #expect(try await world.audit("audit_prune").count == 1)
            let verified = try await world.run("audit_verify")
            #expect(verified["valid"] == true)
            #expect(verified["from"] == 3)
        }
    }

    @Test func zeroDaysKeepItForEver() async throws {
        try await World.with(nodes: 0, auditRetentionDays: 0) { world, _ in
            try await appendOld(world, days: [4000, 1])
            // The round forgets this after it has looked at the audit.
            let token = JoinTokenRecord(
                id: JoinTokenID(), verificationKey: [1], createdAt: .nowMilliseconds,
                expiresAt: .nowMilliseconds.addingTimeInterval(-100 * 86_400))
            try await world.store.createJoinToken(token)
            let running = Task { try await world.services.run() }
            try await eventually("the round is over") { try await world.store.joinToken(token.id) == nil }
            running.cancel()
            try await running.value
            #expect(try await world.audit("old").count == 2)
            #expect(try await world.run("audit_verify")["from"] == 1)
        }
    }

    @Test func archivesThatBelongToNothingAreRemovedWithEachRound() async throws {
        try await World.with(nodes: 0) { world, _ in
            let folder = world.snapshotDirectory
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            await world.services.housekeeping.round(now: .nowMilliseconds)
            let known = Snapshot(
                id: SnapshotID(), workspace: world.workspace, project: ProjectID(), projectName: "shop", node: NodeID(),
                image: "vibn-dev", createdAt: .nowMilliseconds, reason: .manual,
                facts: try SimulatedArchive(files: 1, fileBytes: 8).facts)
            try await world.store.recordSnapshot(known)
            let names = [known.id, SnapshotID()].flatMap { ["\($0).tar.zst", "\($0).tar.zst.draft"] } + ["mine"]
            for name in names { try Data().write(to: URL(fileURLWithPath: "\(folder)/\(name)")) }
            await world.services.housekeeping.round(now: .nowMilliseconds)
            #expect(
                try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
                    == ["\(known.id).tar.zst", "mine"].sorted())
        }
    }
}
