import ControllerDomain
import ControllerStore
import FastableCore
import FoundationEssentials
import TestSupport
import Testing

@Suite struct SnapshotStoreTests {
    private static func snapshot(
        of project: Project, _ fixture: Fixture, reason: Snapshot.Reason = .manual, expiresAt: Date? = nil
    ) -> Snapshot {
        Snapshot(
            id: SnapshotID(), workspace: project.workspace, project: project.id, projectName: project.name,
            node: fixture.node, image: project.image, createdAt: moment, reason: reason,
            facts: SnapshotFacts(
                entries: 3, contentBytes: 1 << 40, archiveBytes: 1 << 33, sha256: "ab", changedFiles: 1, skipped: 2,
                isConsistent: false), expiresAt: expiresAt)
    }

    @Test(arguments: Driver.allCases) func oneComesBackAsItWasStored(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            let project = try await fixture.add("demo")
            let other = try await fixture.add("other")
            var stored: [Snapshot] = []
            for reason in Snapshot.Reason.allCases {
                stored.append(Self.snapshot(of: project, fixture, reason: reason))
            }
            for snapshot in stored { try await store.recordSnapshot(snapshot) }
            try await store.recordSnapshot(Self.snapshot(of: other, fixture))
            let newestFirst = stored.sorted { $0.id > $1.id }
            #expect(try await store.snapshot(stored[0].id, in: fixture.workspace) == stored[0])
            let page = try await store.snapshots(of: project.id, in: fixture.workspace, before: nil, limit: 3)
            #expect(page == Array(newestFirst.prefix(3)))
            let rest = try await store.snapshots(
                of: project.id, in: fixture.workspace, before: page.last?.id, limit: 500)
            #expect(page + rest == newestFirst)
            #expect(try await store.snapshots(of: nil, in: fixture.workspace, before: nil, limit: 500).count == 6)

            try await store.setSnapshotState(.damaged, of: stored[1].id)
            #expect(try await store.snapshot(stored[1].id, in: fixture.workspace).state == .damaged)
            #expect(try await store.snapshotExists(stored[1].id))
            try await store.removeSnapshot(stored[1].id)
            try await store.removeSnapshot(stored[1].id)
            #expect(try await !store.snapshotExists(stored[1].id))
        }
    }

    @Test(arguments: Driver.allCases) func anotherWorkspaceDoesNotSeeIt(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let project = try await fixture.add("demo")
            let snapshot = Self.snapshot(of: project, fixture)
            try await fixture.store.recordSnapshot(snapshot)
            let error = await expectFailure(.notFound) {
                _ = try await fixture.store.snapshot(snapshot.id, in: fixture.other)
            }
            #expect(error == FastableError.missing(.snapshot, snapshot.id.description))
            for project in [nil, project.id] {
                let listed = try await fixture.store.snapshots(
                    of: project, in: fixture.other, before: nil, limit: 10)
                #expect(listed.isEmpty)
            }
        }
    }

    @Test(arguments: Driver.allCases) func theyOutliveTheirProjectForATime(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            let project = try await fixture.add("demo")
            let early = Self.snapshot(of: project, fixture)
            try await store.recordSnapshot(early)
            _ = try await store.markProjectDeleting(project.id, in: fixture.workspace, at: moment)
            // One that was under way when the project was deleted.
            let late = Self.snapshot(of: project, fixture)
            try await store.recordSnapshot(late)
            try await store.removeProject(project.id)
            let afterwards = Self.snapshot(of: project, fixture)
            try await store.recordSnapshot(afterwards)
            let expiry = Snapshot.expiry(ofProjectDeletedAt: moment)
            for id in [early.id, late.id, afterwards.id] {
                #expect(try await store.snapshot(id, in: fixture.workspace).expiresAt == expiry)
            }
            #expect(try await store.expiredSnapshots(at: expiry.addingTimeInterval(-1), limit: 10).isEmpty)
            #expect(try await store.expiredSnapshots(at: expiry, limit: 10).count == 3)
        }
    }
}
