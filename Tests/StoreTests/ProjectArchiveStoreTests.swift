import ControllerDomain
import ControllerStore
import FastableCore
import FoundationEssentials
import TestSupport
import Testing

@Suite struct ProjectArchiveStoreTests {
    private static func later(_ seconds: Double) -> Date { moment.addingTimeInterval(seconds) }

    private static func snapshot(
        of project: Project, _ fixture: Fixture, state: Snapshot.State = .verified
    ) async throws -> SnapshotID {
        let snapshot = Snapshot(
            id: SnapshotID(), workspace: project.workspace, project: project.id, projectName: project.name,
            node: fixture.node, image: project.image, createdAt: moment, reason: .archive,
            facts: SnapshotFacts(
                entries: 1, contentBytes: 1, archiveBytes: 1, sha256: "ab", changedFiles: 0, skipped: 0,
                isConsistent: true, fingerprint: "cd"), state: state)
        try await fixture.store.recordSnapshot(snapshot)
        return snapshot.id
    }

    private static func placed(_ fixture: Fixture) async throws -> Project {
        let project = try await fixture.add("demo")
        return try await fixture.store.placeProject(project.id, on: fixture.node)
    }

    private static func removing(_ project: Project, _ fixture: Fixture) async throws -> Project {
        let snapshot = try await snapshot(of: project, fixture)
        return try await fixture.store.beginRemoval(
            of: project.id, savedIn: snapshot, restingSince: moment, at: later(1))
    }

    @Test(arguments: Driver.allCases) func thereAndBack(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            let project = try await Self.placed(fixture)
            let removing = try await Self.removing(project, fixture)
            let archive = try #require(removing.archive)
            #expect(archive.state == .removing && archive.since == Self.later(1) && archive.restingSince == moment)
            #expect(removing.node == fixture.node, "its node has still to give it up")
            let archived = try await store.finishRemoval(of: project.id, at: Self.later(2))
            #expect(archived.archive?.state == .archived && archived.archive?.since == Self.later(2))
            #expect(archived.node == nil && archived.stay == 0)
            #expect(try await store.nodeLoads(for: fixture.workspace)[fixture.node] == nil, "its place is free")
            #expect(try await store.archivedProjects(after: nil, limit: 10) == [archived])
            #expect(try await store.archivedProjects(after: project.id, limit: 10) == [])

            let begun = try await store.beginRestore(of: project.id, on: fixture.node, at: Self.later(3))
            #expect(begun.archive?.state == .restoring && begun.stay == 1 && begun.node == fixture.node)
            let abandoned = try await store.abandonRestore(of: begun, isRemoved: true, at: Self.later(4))
            #expect(abandoned.archive?.state == .archived && abandoned.node == nil && abandoned.stay == 1)
            let again = try await store.beginRestore(of: project.id, on: fixture.node, at: Self.later(5))
            await expectFailure(.conflict) {
                _ = try await store.finishRestore(of: begun, from: archive.snapshot, at: Self.later(6))
            }
            let back = try await store.finishRestore(of: again, from: archive.snapshot, at: Self.later(6))
            #expect(back.archive == nil && back.stay == 2 && back.node == fixture.node)
            #expect(try await store.project(.name("demo"), in: fixture.workspace) == back)
            let events = try await store.events(EventFilter(workspaces: [fixture.workspace]), after: 0, limit: 10)
                .events
            #expect(events.map(\.event.kind) == [.projectCreated, .projectArchived, .projectRestored])
            #expect(events[1].event.data["snapshot"] == .string(archive.snapshot.description))
        }
    }

    @Test(arguments: Driver.allCases) func imagesOfArchivedProjectsAreNeeded(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            #expect(try await store.imagesInUse(limit: 10) == [])
            let project = try await Self.placed(fixture)
            #expect(try await store.projectsWithoutNode(on: project.image, limit: 10) == [])
            _ = try await Self.removing(project, fixture)
            _ = try await store.finishRemoval(of: project.id, at: Self.later(2))
            #expect(try await store.projectsWithoutNode(on: project.image, limit: 10) == [project.id])
            #expect(try await store.projectsWithoutNode(on: "other", limit: 10) == [])
            #expect(try await store.imagesInUse(limit: 10) == [project.image])
            _ = try await store.markProjectDeleting(project.id, in: project.workspace, at: Self.later(3))
            #expect(try await store.projectsWithoutNode(on: project.image, limit: 10) == [])
            try await store.removeProject(project.id)
            // A project can be made of its snapshot.
            #expect(try await store.imagesInUse(limit: 10) == [project.image])
        }
    }

    /// Each step in each state: those that fit are taken, all others change nothing.
    @Test(arguments: Driver.allCases) func stepsFitToOneStateEach(driver: Driver) async throws {
        typealias Step = @Sendable (Project, Fixture) async throws -> Project
        let steps: [(name: String, take: Step)] = [
            ("removing", { try await Self.removing($0, $1) }),
            ("archived", { try await $1.store.finishRemoval(of: $0.id, at: moment) }),
            ("kept", { try await $1.store.cancelRemoval(of: $0.id) }),
            ("restoring", { try await $1.store.beginRestore(of: $0.id, on: $1.node, at: moment) }),
            ("restored", { try await $1.store.finishRestore(of: $0, from: SnapshotID(), at: moment) }),
            ("abandoned", { try await $1.store.abandonRestore(of: $0, isRemoved: true, at: moment) }),
            ("deleted", { try await $1.store.deleteArchived($0, at: moment) }),
        ]
        let ways: [(state: ProjectArchive.State?, way: [String], fits: Set<String>)] = [
            (nil, [], ["removing"]),
            (.removing, ["removing"], ["archived", "kept"]),
            (.archived, ["removing", "archived"], ["restoring", "deleted"]),
            (.restoring, ["removing", "archived", "restoring"], ["restoring", "restored", "abandoned"]),
        ]
        for way in ways {
            for step in steps {
                try await withStore(driver) { fixture in
                    var project = try await Self.placed(fixture)
                    for name in way.way {
                        let taken = try #require(steps.first { $0.name == name })
                        project = try await taken.take(project, fixture)
                    }
                    #expect(project.archive?.state == way.state)
                    if way.fits.contains(step.name) {
                        _ = try await step.take(project, fixture)
                    } else {
                        await expectFailure(.conflict) { _ = try await step.take(project, fixture) }
                        #expect(try await fixture.store.activeProjects([project.id]) == [project], "\(step.name)")
                    }
                }
            }
        }
    }

    @Test(arguments: Driver.allCases) func onlyWhatIsSavedIsGivenUp(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            let project = try await Self.placed(fixture)
            let other = try await fixture.add("other")
            let damaged = try await Self.snapshot(of: project, fixture, state: .damaged)
            let foreign = try await Self.snapshot(of: other, fixture)
            for snapshot in [damaged, foreign, SnapshotID()] {
                await expectFailure(.conflict) {
                    _ = try await store.beginRemoval(
                        of: project.id, savedIn: snapshot, restingSince: moment, at: moment)
                }
            }
            // What was never placed has nothing that could be saved.
            await expectFailure(.conflict) {
                _ = try await store.beginRemoval(of: other.id, savedIn: foreign, restingSince: moment, at: moment)
            }
            let archive = try #require(try await Self.removing(project, fixture).archive)
            let held = await expectFailure(.conflict) { try await store.removeSnapshot(archive.snapshot) }
            #expect(held?.message.contains("archived project ‘demo’") == true)
            // No node is given to what is archived, whatever somebody knew before.
            _ = try await store.finishRemoval(of: project.id, at: moment)
            #expect(try await store.placeProject(project.id, on: fixture.node).node == nil)
        }
    }

    @Test(arguments: Driver.allCases) func anArchiveThatWasUsedIsNotDeleted(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            let project = try await Self.placed(fixture)
            _ = try await Self.removing(project, fixture)
            let archived = try await store.finishRemoval(of: project.id, at: Self.later(2))
            let notice = ProjectDescent.Notice(step: .delete, restingSince: Self.later(2), toldAt: Self.later(3))
            try await store.announce(notice, of: archived, due: Self.later(9))
            let told = try #require(try await store.activeProjects([project.id]).first)
            #expect(told.notice == notice)
            // It was used and archived again since somebody looked.
            let begun = try await store.beginRestore(of: project.id, on: fixture.node, at: Self.later(4))
            _ = try await store.abandonRestore(of: begun, isRemoved: true, at: Self.later(5))
            await expectFailure(.conflict) { _ = try await store.deleteArchived(told, at: Self.later(9)) }
            let fresh = try #require(try await store.activeProjects([project.id]).first)
            let deleted = try await store.deleteArchived(fresh, at: Self.later(9))
            #expect(deleted.state == .deleting)
            let snapshot = try #require(archived.archive?.snapshot)
            let expiry = Snapshot.expiry(ofProjectDeletedAt: Self.later(9))
            #expect(try await store.snapshot(snapshot, in: fixture.workspace).expiresAt == expiry)
            await expectFailure(.gone) {
                _ = try await store.beginRestore(of: project.id, on: fixture.node, at: moment)
            }
            try await store.removeSnapshot(snapshot)
            let events = try await store.events(EventFilter(workspaces: [fixture.workspace]), after: 0, limit: 10)
                .events
            #expect(
                events.map(\.event.kind) == [
                    .projectCreated, .projectArchived, .projectDeletingSoon, .projectDeleted,
                ])
        }
    }

    @Test(arguments: Driver.allCases) func whatIsBeingFilledIsKnown(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let project = fixture.project("new")
            try await fixture.store.createProject(project, isFilling: true)
            try await fixture.add("empty")
            #expect(try await fixture.store.fillingProjects(limit: 10).map(\.id) == [project.id])
            try await fixture.store.projectIsFilled(project.id)
            #expect(try await fixture.store.fillingProjects(limit: 10) == [])
        }
    }
}
