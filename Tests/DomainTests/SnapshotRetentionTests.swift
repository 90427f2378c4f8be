import ControllerDomain
import FastableCore
import FoundationEssentials
import Testing

@Suite struct SnapshotRetentionTests {
    private static func snapshot(
        _ age: Int, _ reason: Snapshot.Reason = .manual, _ state: Snapshot.State = .verified
    ) -> Snapshot {
        Snapshot(
            id: SnapshotID(), workspace: WorkspaceID(), project: ProjectID(), projectName: "p", node: NodeID(),
            image: "i", createdAt: Date(timeIntervalSince1970: 1e9 - Double(age)), reason: reason,
            facts: SnapshotFacts(
                entries: 1, contentBytes: 1, archiveBytes: 1, sha256: "", changedFiles: 0, skipped: 0,
                isConsistent: true), state: state)
    }

    @Test func theNewestOfEachKindStay() {
        let manual = (0..<(Limits.snapshotsKeptManual + 2)).map { Self.snapshot($0) }
        let automatic = (0..<(Limits.snapshotsKeptAutomatic + 3)).map { Self.snapshot($0, .delete) }
        let surplus = SnapshotRetention.surplus(of: (manual + automatic).shuffled())
        #expect(Set(surplus.map(\.id)) == Set((manual.suffix(2) + automatic.suffix(3)).map(\.id)))
        #expect(SnapshotRetention.surplus(of: []).isEmpty)
    }

    @Test func whatHoldsAnArchivedProjectStays() {
        let automatic = (0..<(Limits.snapshotsKeptAutomatic + 3)).map { Self.snapshot($0, .archive) }
        let held = automatic[automatic.count - 1].id
        let surplus = SnapshotRetention.surplus(of: automatic, holding: held)
        #expect(Set(surplus.map(\.id)) == Set(automatic.suffix(3).dropLast().map(\.id)))
    }

    /// However many are damaged, the good ones behind them stay.
    @Test func damagedOnesTakeNoPlace() {
        let damaged = (0..<20).map { Self.snapshot($0, .drain, .damaged) }
        let good = (20..<(20 + Limits.snapshotsKeptAutomatic)).map { Self.snapshot($0, .drain) }
        let surplus = SnapshotRetention.surplus(of: good + damaged)
        #expect(Set(surplus.map(\.id)) == Set(damaged.dropFirst(Limits.snapshotsKeptAutomatic).map(\.id)))
    }
}
