import ControllerDomain
import ControllerStore
import FastableCore
import FoundationEssentials
import TestSupport
import Testing

@Suite struct ProjectMoveStoreTests {
    private static func later(_ seconds: Double) -> Date { moment.addingTimeInterval(seconds) }

    /// A placed project with a snapshot of it, and a second node.
    private struct Scene {
        let fixture: Fixture
        let project: Project
        let snapshot: SnapshotID
        let target: NodeID
        var store: any Store { fixture.store }

        init(_ fixture: Fixture) async throws {
            self.fixture = fixture
            let added = try await fixture.add("demo")
            project = try await fixture.store.placeProject(added.id, on: fixture.node)
            snapshot = try await Self.save(project, fixture)
            target = NodeID()
            try await fixture.store.createNode(NodeRecord(id: target, name: "build-2", createdAt: moment))
        }

        static func save(
            _ project: Project, _ fixture: Fixture, state: Snapshot.State = .verified
        ) async throws -> SnapshotID {
            let snapshot = Snapshot(
                id: SnapshotID(), workspace: project.workspace, project: project.id, projectName: project.name,
                node: fixture.node, image: project.image, createdAt: moment, reason: .drain,
                facts: SnapshotFacts(
                    entries: 1, contentBytes: 1, archiveBytes: 1, sha256: "ab", changedFiles: 0, skipped: 0,
                    isConsistent: true, fingerprint: "cd"), state: state)
            try await fixture.store.recordSnapshot(snapshot)
            return snapshot.id
        }

        func begin() async throws -> Project {
            try await store.beginMove(
                of: project, to: target, savedIn: snapshot, restingSince: moment, at: later(1))
        }

        var now: Project {
            get async throws { try #require(try await store.activeProjects([project.id]).first) }
        }

        var kinds: [PlatformEvent.Kind] {
            get async throws {
                try await store.events(EventFilter(workspaces: [fixture.workspace, .system]), after: 0, limit: 50)
                    .events.map(\.event.kind)
            }
        }
    }

    @Test(arguments: Driver.allCases) func fromOneNodeToAnother(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let scene = try await Scene(fixture)
            let store = scene.store
            let moving = try await scene.begin()
            #expect(moving.node == fixture.node && moving.stay == 0 && !moving.isAway)
            let move = try #require(moving.move)
            #expect(
                move
                    == ProjectMove(
                        state: .copying, target: scene.target, stay: 1, snapshot: scene.snapshot, restingSince: moment,
                        since: Self.later(1)))
            let loads = try await store.nodeLoads(for: fixture.workspace)
            #expect(loads[fixture.node]?.projects == 1 && loads[scene.target]?.projects == 1, "it needs both places")
            #expect(try await store.remains(of: nil, after: nil, limit: 10) == [], "what is on its way is no remains")
            let held = await expectFailure(.conflict) { try await store.removeSnapshot(scene.snapshot) }
            #expect(held?.message.contains("‘demo’ is being moved") == true)
            let switching = try await store.switchMove(of: moving, at: Self.later(2))
            #expect(switching.move?.state == .switching && switching.isAway && switching.node == fixture.node)
            #expect(try await store.movingProjects(limit: 10) == [switching])
            let moved = try await store.finishMove(of: switching, at: Self.later(3))
            #expect(moved.node == scene.target && moved.stay == 1 && moved.move == nil && !moved.isAway)
            #expect(try await scene.now == moved)
            #expect(try await store.remains(of: nil, after: nil, limit: 10) == [])
            #expect(try await store.nodeLoads(for: fixture.workspace)[fixture.node] == nil)
            #expect(try await store.unsentLifecycles(on: scene.target, after: nil, limit: 10).map(\.id) == [moved.id])
            #expect(try await scene.kinds == [.projectCreated, .projectMoved])
            try await store.removeSnapshot(scene.snapshot)
        }
    }

    /// Each step in each state: those that fit are taken, all others change nothing.
    @Test(arguments: Driver.allCases) func stepsFitToOneStateEach(driver: Driver) async throws {
        typealias Step = @Sendable (Scene, Project) async throws -> Project
        let steps: [(name: String, take: Step)] = [
            ("begin", { scene, _ in try await scene.begin() }),
            ("switch", { try await $0.store.switchMove(of: $1, at: moment) }),
            ("finish", { try await $0.store.finishMove(of: $1, at: moment) }),
            ("cancel", { try await $0.store.cancelMove(of: $1) }),
            (
                "archive",
                { scene, project in
                    try await scene.store.beginRemoval(
                        of: project.id, savedIn: scene.snapshot, restingSince: moment, at: moment)
                }
            ),
        ]
        let ways: [(way: [String], fits: Set<String>)] = [
            ([], ["begin", "archive"]), (["begin"], ["switch", "cancel"]),
            (["begin", "switch"], ["finish", "cancel"]),
            (["archive"], []),
        ]
        for way in ways {
            for step in steps {
                try await withStore(driver) { fixture in
                    let scene = try await Scene(fixture)
                    var project = scene.project
                    for name in way.way {
                        project = try await (try #require(steps.first { $0.name == name })).take(scene, project)
                    }
                    if way.fits.contains(step.name) {
                        _ = try await step.take(scene, project)
                    } else {
                        await expectFailure(.conflict) { _ = try await step.take(scene, project) }
                        #expect(try await scene.now == project, "\(way.way) \(step.name)")
                    }
                }
            }
        }
    }

    /// What a node has of a move that was given up is removed before the project may come to it again.
    @Test(arguments: Driver.allCases) func whatIsLeftIsKnown(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let scene = try await Scene(fixture)
            let store = scene.store
            let kept = try await store.cancelMove(of: try await scene.begin())
            #expect(kept.move == nil && kept.stay == 0 && kept.node == fixture.node)
            let remains = [
                ProjectRemains(node: scene.target, project: kept.id, stay: 1, since: Self.later(1))
            ]
            #expect(try await store.remains(of: nil, after: nil, limit: 10) == remains)
            #expect(try await store.remains(of: kept.id, after: nil, limit: 10) == remains)
            #expect(try await store.remains(of: ProjectID(), after: nil, limit: 10) == [])
            await expectFailure(.conflict) { _ = try await scene.begin() }
            try await store.forget(remains[0])
            let again = try await scene.begin()
            #expect(again.move?.stay == 2, "no number is given twice")
            // Nor to a stay that begins with a restore.
            _ = try await store.cancelMove(of: again)
            _ = try await store.beginRemoval(
                of: kept.id, savedIn: scene.snapshot, restingSince: moment, at: moment)
            _ = try await store.finishRemoval(of: kept.id, at: moment)
            await expectFailure(.conflict) {
                _ = try await store.beginRestore(of: kept.id, on: scene.target, at: moment)
            }
            #expect(try await store.beginRestore(of: kept.id, on: fixture.node, at: moment).stay == 3)
        }
    }

    @Test(arguments: Driver.allCases) func aDeletedProjectLeavesWhatItsTargetHas(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let scene = try await Scene(fixture)
            let switching = try await scene.store.switchMove(of: try await scene.begin(), at: moment)
            _ = try await scene.store.markProjectDeleting(scene.project.id, in: fixture.workspace, at: Self.later(3))
            await expectFailure(.gone) { _ = try await scene.store.finishMove(of: switching, at: moment) }
            #expect(try await scene.store.movingProjects(limit: 10) == [])
            #expect(try await scene.store.remains(of: nil, after: nil, limit: 10).map(\.node) == [scene.target])
            try await scene.store.removeProject(scene.project.id)
            #expect(try await scene.store.remains(of: nil, after: nil, limit: 10).map(\.stay) == [1])
        }
    }

    @Test(arguments: Driver.allCases) func onlyWhatIsSavedIsMoved(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let scene = try await Scene(fixture)
            let store = scene.store
            let damaged = try await Scene.save(scene.project, fixture, state: .damaged)
            for snapshot in [damaged, SnapshotID()] {
                await expectFailure(.conflict) {
                    _ = try await store.beginMove(
                        of: scene.project, to: scene.target, savedIn: snapshot, restingSince: moment, at: moment)
                }
            }
            await expectFailure(.conflict) {
                _ = try await store.beginMove(
                    of: scene.project, to: fixture.node, savedIn: scene.snapshot, restingSince: moment, at: moment)
            }
            #expect(try await store.remains(of: nil, after: nil, limit: 10) == [])
        }
    }

    // MARK: drains and states

    @Test(arguments: Driver.allCases) func aDrainStandsUntilTheNodeIsEmpty(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let scene = try await Scene(fixture)
            let store = scene.store
            let start = Date(milliseconds: 1_800_000_000_000)
            let drain = NodeDrain(startedAt: start, deadline: start.addingTimeInterval(60), projects: 1)
            let draining = try await store.setDrain(drain, of: fixture.node)
            #expect(draining.drain == drain && draining.scheduling == .cordoned && draining.wish == .draining)
            #expect(draining.state(connected: true) == .draining && draining.state(connected: false) == .offline)
            #expect(try await store.drainingNodes() == [draining])
            #expect(try await store.projects(on: fixture.node, after: nil, limit: 10) == [scene.project])
            #expect(try await store.projects(on: fixture.node, after: scene.project.id, limit: 10) == [])
            #expect(try await store.endDrain(of: fixture.node, at: moment) == false, "it still has a project")
            // A project that comes to it from elsewhere is waited for as well.
            let begun = try await scene.begin()
            _ = try await store.setDrain(drain, of: scene.target)
            let switching = try await store.switchMove(of: begun, at: moment)
            #expect(try await store.endDrain(of: scene.target, at: moment) == false)
            _ = try await store.finishMove(of: switching, at: moment)
            #expect(try await store.endDrain(of: fixture.node, at: moment))
            #expect(try await store.endDrain(of: fixture.node, at: moment) == false, "it is over once")
            let after = try await store.node(.id(fixture.node))
            #expect(after.drain == nil && after.state(connected: true) == .cordoned)
            #expect(try await store.setScheduling(.ready, of: scene.target).drain == nil)
            #expect(try await store.drainingNodes() == [])
            #expect(try await scene.kinds == [.projectCreated, .projectMoved, .nodeDrained])
            _ = try await store.removeNode(scene.target, at: moment)
            await expectFailure(.gone) { _ = try await store.setDrain(drain, of: scene.target) }
        }
    }

    @Test(arguments: Driver.allCases) func aStateIsStoredWithItsEvent(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            let change = NodeStateMachine.Change(from: .offline, to: .lost)
            try await store.recordState(change, of: fixture.node, at: Self.later(1))
            let node = try await store.node(.id(fixture.node))
            #expect(node.told == .lost && node.toldAt == Self.later(1))
            #expect(node.state(connected: false) == .lost && node.state(connected: true) == .ready)
            let event = try #require(
                try await store.events(EventFilter(workspaces: [.system]), after: 0, limit: 5).events.first?.event)
            #expect(event.kind == .nodeStateChanged && event.node == fixture.node)
            #expect(event.data == ["name": "build-1", "from": "offline", "to": "lost"])
            await expectFailure(.notFound) { try await store.recordState(change, of: NodeID(), at: moment) }
        }
    }
}
