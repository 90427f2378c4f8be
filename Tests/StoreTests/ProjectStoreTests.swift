import ControllerDomain
import ControllerStore
import FastableCore
import FoundationEssentials
import TestSupport
import Testing

@Suite struct ProjectStoreTests {
    @Test(arguments: Driver.allCases)
    func bootstrapMakesTheSameWorkspaceAgain(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let again = try await fixture.store.bootstrap(now: Date.nowMilliseconds)
            #expect(again.id == fixture.workspace)
            #expect(again.name == "default")
            #expect(again.createdAt == moment)
            #expect(try await fixture.store.workspaces().map(\.name) == ["default", "other", "system"])
            #expect(try await fixture.store.workspace(.system).name == "system")
            await expectFailure(.notFound) { _ = try await fixture.store.workspace(WorkspaceID()) }
            await expectFailure(.conflict) {
                let twice = Workspace(id: WorkspaceID(), name: "other", createdAt: moment)
                try await fixture.store.createWorkspace(twice)
            }
        }
    }

    @Test(arguments: Driver.allCases)
    func aProjectComesBackAsItWasStored(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let project = try await fixture.add("demo")
            let store = fixture.store
            #expect(try await store.project(.id(project.id), in: fixture.workspace) == project)
            #expect(try await store.project(.name("demo"), in: fixture.workspace) == project)
            var plain = fixture.project("plain")
            plain.origin = .empty
            plain.environment = [:]
            try await store.createProject(plain)
            #expect(try await store.project(.name("plain"), in: fixture.workspace) == plain)
        }
    }

    @Test(arguments: Driver.allCases)
    func anotherWorkspaceDoesNotSeeIt(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let project = try await fixture.add("demo")
            let store = fixture.store
            let byID = await expectFailure(.notFound) {
                _ = try await store.project(.id(project.id), in: fixture.other)
            }
            #expect(byID == FastableError.missing(.project, project.id.description))
            let byName = await expectFailure(.notFound) {
                _ = try await store.project(.name("demo"), in: fixture.other)
            }
            #expect(byName == FastableError.missing(.project, "demo"))
            await expectFailure(.notFound) {
                _ = try await store.markProjectDeleting(project.id, in: fixture.other, at: moment)
            }
            #expect(try await store.projects(in: fixture.other, after: nil, limit: 10).projects.isEmpty)
            // The same name is free there.
            try await fixture.add("demo", in: fixture.other)
            #expect(try await store.project(.name("demo"), in: fixture.workspace).id == project.id)
        }
    }

    @Test(arguments: Driver.allCases)
    func aNameIsTakenOnce(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            try await fixture.add("demo")
            let error = await expectFailure(.conflict) { try await fixture.add("demo") }
            #expect(error?.message.contains("‘demo’") == true)
            await expectFailure(.unprocessable) { try await fixture.add("Bad Name") }
            await expectFailure(.conflict) { try await fixture.add("lost", in: WorkspaceID()) }
            // A refused statement does not spoil the next.
            try await fixture.add("demo2")
        }
    }

    @Test(arguments: Driver.allCases)
    func ofManyWhoWantANameOneGetsIt(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let won = await withTaskGroup(of: Bool.self) { group in
                for _ in 0..<50 { group.addTask { (try? await fixture.add("demo")) != nil } }
                return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
            #expect(won == 1)
            let counts = try await fixture.store.counts()
            #expect(counts.activeProjects == 1)
        }
    }

    @Test(arguments: Driver.allCases)
    func listsAreSortedAndPaged(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let names = (0..<25).map { "p-\($0)" }
            for name in names.shuffled() { try await fixture.add(name) }
            var seen: [String] = []
            var cursor: String?
            repeat {
                let page = try await fixture.store.projects(in: fixture.workspace, after: cursor, limit: 10)
                #expect(page.projects.count <= 10)
                seen += page.projects.map(\.name)
                cursor = page.next
            } while cursor != nil
            #expect(seen == names.sorted())
            let exact = try await fixture.store.projects(in: fixture.workspace, after: nil, limit: 25)
            #expect(exact.projects.count == 25 && exact.next == nil)
            #expect(try await fixture.store.projects(in: fixture.workspace, after: nil, limit: -1).projects.count == 1)
        }
    }

    @Test(arguments: Driver.allCases)
    func placementIsDecidedOnce(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            let project = try await fixture.add("demo")
            var nodes = [fixture.node]
            for number in 2...10 {
                let node = NodeRecord(id: NodeID(), name: "build-\(number)", createdAt: moment)
                try await store.createNode(node)
                nodes.append(node.id)
            }
            let answers = try await withThrowingTaskGroup(of: Project.self) { group in
                for node in nodes { group.addTask { try await store.placeProject(project.id, on: node) } }
                return try await group.reduce(into: Set<NodeID?>()) { $0.insert($1.node) }
            }
            #expect(answers.count == 1)
            #expect(try await store.project(.id(project.id), in: fixture.workspace).node == answers.first)
            await expectFailure(.notFound) { _ = try await store.placeProject(ProjectID(), on: fixture.node) }
            await expectFailure(.conflict) {
                _ = try await store.placeProject(try await fixture.add("second").id, on: NodeID())
            }
        }
    }

    @Test(arguments: Driver.allCases)
    func deletionGoesByTwoSteps(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            let project = try await fixture.add("demo")
            _ = try await store.placeProject(project.id, on: fixture.node)
            await expectFailure(.conflict) { try await store.removeProject(project.id) }
            let later = moment.addingTimeInterval(5)
            let marked = try await store.markProjectDeleting(project.id, in: fixture.workspace, at: later)
            #expect(marked.state == .deleting && marked.deletedAt == later)
            let again = try await store.markProjectDeleting(project.id, in: fixture.workspace, at: Date.nowMilliseconds)
            #expect(again == marked)
            await expectFailure(.gone) { _ = try await store.project(.id(project.id), in: fixture.workspace) }
            await expectFailure(.notFound) { _ = try await store.project(.name("demo"), in: fixture.workspace) }
            await expectFailure(.gone) { _ = try await store.placeProject(project.id, on: fixture.node) }
            #expect(try await store.projects(in: fixture.workspace, after: nil, limit: 10).projects.isEmpty)
            // The name is free before the removal is done.
            let second = try await fixture.add("demo")
            #expect(try await store.deletingProjects(on: fixture.node, after: nil, limit: 10) == [marked])
            #expect(try await store.deletingProjects(on: nil, after: nil, limit: 10) == [marked])
            #expect(try await store.deletingProjects(on: NodeID(), after: nil, limit: 10).isEmpty)
            try await store.removeProject(project.id)
            try await store.removeProject(project.id)
            #expect(try await store.deletingProjects(on: nil, after: nil, limit: 10).isEmpty)
            #expect(try await store.project(.name("demo"), in: fixture.workspace).id == second.id)
        }
    }

    @Test(arguments: Driver.allCases)
    func loadsAreTheSumsOfWhatIsPlaced(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            #expect(try await store.nodeLoads(for: fixture.workspace).isEmpty)
            for (name, workspace) in [("a", fixture.workspace), ("b", fixture.workspace), ("c", fixture.other)] {
                var project = fixture.project(name, in: workspace)
                // The third one has no disk of its own.
                project.limits.diskBytes = name == "c" ? nil : 2 << 30
                try await store.createProject(project)
                _ = try await store.placeProject(project.id, on: fixture.node)
            }
            try await fixture.add("unplaced")
            let load = NodeLoad(projects: 3, workspaceProjects: 2, diskBytes: 4 << 30)
            #expect(try await store.nodeLoads(for: fixture.workspace) == [fixture.node: load])
            #expect(try await store.nodeLoads(for: fixture.other)[fixture.node]?.workspaceProjects == 1)
            // A project in deletion still takes its place.
            let a = try await store.project(.name("a"), in: fixture.workspace)
            _ = try await store.markProjectDeleting(a.id, in: fixture.workspace, at: moment)
            #expect(try await store.nodeLoads(for: fixture.workspace)[fixture.node]?.projects == 3)
            try await store.removeProject(a.id)
            #expect(try await store.nodeLoads(for: fixture.workspace)[fixture.node]?.projects == 2)
        }
    }

    @Test(arguments: Driver.allCases)
    func countsAreForMetrics(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let project = try await fixture.add("a")
            _ = try await fixture.store.markProjectDeleting(
                try await fixture.add("b").id, in: fixture.workspace, at: moment)
            try await fixture.store.recordExec(
                ExecHandle(
                    id: ExecID(), workspace: fixture.workspace, project: project.id, node: fixture.node,
                    startedAt: moment))
            try await fixture.store.appendAudit(fixture.event())
            let expected = StoreCounts(
                workspaces: 3, activeProjects: 1, deletingProjects: 1, nodes: 1, tokens: 0, execs: 1, auditEvents: 1)
            #expect(try await fixture.store.counts() == expected)
        }
    }
}
