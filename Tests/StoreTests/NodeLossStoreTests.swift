import ControllerDomain
import ControllerStore
import FastableCore
import FoundationEssentials
import TestSupport
import Testing

/// Projects leave nodes that do not answer.
@Suite struct NodeLossStoreTests {
    private struct Scene {
        let fixture: Fixture
        let project: Project
        let snapshot: SnapshotID
        let other: NodeID
        var store: any Store { fixture.store }

        /// A project with a snapshot, on a node that is lost and had everything that is needed for a project to leave it.
        init(_ fixture: Fixture) async throws {
            self.fixture = fixture
            let store = fixture.store
            let added = try await fixture.add("demo")
            project = try await store.placeProject(added.id, on: fixture.node)
            let snapshot = Snapshot(
                id: SnapshotID(), workspace: project.workspace, project: project.id, projectName: project.name,
                node: fixture.node, image: project.image, createdAt: moment, reason: .drain,
                facts: SnapshotFacts(
                    entries: 1, contentBytes: 1, archiveBytes: 1, sha256: "ab", changedFiles: 0, skipped: 0,
                    isConsistent: true, fingerprint: "cd"), state: .verified)
            try await store.recordSnapshot(snapshot)
            self.snapshot = snapshot.id
            other = NodeID()
            try await store.createNode(NodeRecord(id: other, name: "build-2", createdAt: moment))
            try await store.nodeReturns(fixture.node, leaseSeconds: 10)
        }

        func lose() async throws {
            try await store.recordState(.init(from: .offline, to: .lost), of: fixture.node, at: moment)
        }

        var now: Project { get async throws { try #require(try await store.activeProjects([project.id]).first) } }

        @discardableResult
        func leave(isForced: Bool = false) async throws -> Project {
            try await store.leaveUnsaved(try await now, to: snapshot, isForced: isForced, at: moment)
        }

        func begin() async throws -> Project {
            try await store.beginMove(of: project, to: other, savedIn: snapshot, restingSince: moment, at: moment)
        }

        func remove() async throws -> Project {
            try await store.beginRemoval(of: project.id, savedIn: snapshot, restingSince: moment, at: moment)
        }

        func restore(on node: NodeID) async throws -> Project {
            try await store.beginRestore(of: project.id, on: node, at: moment)
        }
    }

    /// Whatever was just being done with it, and only from a node that has certainly ended what it had.
    @Test(arguments: Driver.allCases) func onlyFromALostNode(driver: Driver) async throws {
        let states: [(name: String, enter: @Sendable (Scene) async throws -> Void, leaves: Bool)] = [
            ("at home", { _ in }, true),
            ("copying", { _ = try await $0.begin() }, true),
            ("switching", { _ = try await $0.store.switchMove(of: try await $0.begin(), at: moment) }, true),
            ("removing", { _ = try await $0.remove() }, true),
            (
                "restoring",
                {
                    _ = try await $0.remove()
                    _ = try await $0.store.finishRemoval(of: $0.project.id, at: moment)
                    _ = try await $0.restore(on: $0.fixture.node)
                }, false
            ),
        ]
        for state in states {
            try await withStore(driver) { fixture in
                let scene = try await Scene(fixture)
                try await state.enter(scene)
                await expectFailure(.conflict) { try await scene.leave() }
                try await scene.lose()
                guard state.leaves else {
                    await expectFailure(.conflict) { try await scene.leave() }
                    return
                }
                let left = try await scene.leave()
                #expect(left.node == nil && left.archive?.state == .archived && left.move == nil, "\(state.name)")
                #expect(left.archive?.snapshot == scene.snapshot)
                let departures = try await scene.store.departures(from: fixture.node)
                #expect(departures == [ProjectDeparture(project: left.id, stay: 0)])
            }
        }
    }

    @Test(arguments: Driver.allCases) func whatIsMissingKeepsItThere(driver: Driver) async throws {
        let ways: [(name: String, take: @Sendable (Scene) async throws -> Void)] = [
            ("the node is back", { try await $0.store.nodeReturns($0.fixture.node, leaseSeconds: 10) }),
            ("it keeps no lease", { try await $0.store.nodeReturns($0.fixture.node, leaseSeconds: nil) }),
            (
                "it does not know the settings",
                {
                    _ = try await $0.store.setLifecycle(
                        LifecyclePolicy(onNodeLost: .restore), of: $0.project.id, in: $0.fixture.workspace)
                }
            ),
            ("the snapshot is damaged", { try await $0.store.setSnapshotState(.damaged, of: $0.snapshot) }),
            (
                "it is deleted",
                {
                    _ = try await $0.store.markProjectDeleting($0.project.id, in: $0.fixture.workspace, at: moment)
                }
            ),
        ]
        for way in ways {
            try await withStore(driver) { fixture in
                let scene = try await Scene(fixture)
                try await scene.lose()
                try await way.take(scene)
                await #expect(throws: FastableError.self, "\(way.name)") {
                    try await scene.store.leaveUnsaved(
                        scene.project, to: scene.snapshot, isForced: false, at: moment)
                }
                #expect(try await scene.store.departures(from: fixture.node).isEmpty, "\(way.name)")
            }
        }
    }

    /// Its old node may still have a container of it unless it is lost, or has put it away.
    @Test(arguments: Driver.allCases) func itStartsNowhereBeforeItHasEnded(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let scene = try await Scene(fixture)
            let store = scene.store
            try await scene.leave(isForced: true)
            await expectFailure(.conflict) { _ = try await scene.restore(on: scene.other) }
            try await scene.lose()
            let begun = try await scene.restore(on: scene.other)
            let archived = try await store.abandonRestore(of: begun, isRemoved: false, at: moment)
            #expect(archived.archive?.state == .archived && archived.node == nil)
            let remains = try await store.remains(of: scene.project.id, after: nil, limit: 10)
            #expect(Set(remains.map(\.kind)) == [.setAside, .remove] && remains.count == 2)
            let pages = try await store.remains(of: nil, after: nil, limit: 1)
            #expect(try await pages + store.remains(of: nil, after: pages.last, limit: 9) == remains)
            await expectFailure(.conflict) { _ = try await scene.restore(on: scene.other) }
            // The old node is back, and takes it only when it has put away what it had.
            try await store.nodeReturns(fixture.node, leaseSeconds: 10)
            await expectFailure(.conflict) { _ = try await scene.restore(on: fixture.node) }
            let aside = try #require(remains.first { $0.kind == .setAside })
            try await store.wasSetAside(aside, path: "/aside", at: moment)
            #expect(try await scene.restore(on: fixture.node).stay == 2)
        }
    }

    @Test(arguments: Driver.allCases) func aNodeThatWasCordonedMeanwhileGetsNothing(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let scene = try await Scene(fixture)
            let store = scene.store
            _ = try await store.setScheduling(.cordoned, of: scene.other)
            await expectFailure(.conflict) { _ = try await scene.begin() }
            let added = try await fixture.add("second")
            await expectFailure(.conflict) { _ = try await store.placeProject(added.id, on: scene.other) }
            _ = try await scene.remove()
            _ = try await store.finishRemoval(of: scene.project.id, at: moment)
            await expectFailure(.conflict) { _ = try await scene.restore(on: scene.other) }
            _ = try await store.setScheduling(.ready, of: scene.other)
            #expect(try await scene.restore(on: scene.other).node == scene.other)
            #expect(try await store.placeProject(added.id, on: scene.other).node == scene.other)
        }
    }
}
