import ControllerDomain
import ControllerStore
import FastableCore
import TestSupport
import Testing

@Suite struct QuotaStoreTests {
    @Test(arguments: Driver.allCases) func quotasAreKept(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            #expect(try await store.workspace(fixture.workspace).quota == WorkspaceQuota())
            let quota = WorkspaceQuota(containers: 3, cpus: 2.5, memoryBytes: 4 << 30, diskBytes: 0)
            let changed = try await store.setQuota(quota, of: fixture.workspace)
            #expect(changed.quota == quota)
            #expect(try await store.workspace(fixture.workspace) == changed)
            #expect(try await store.workspace(fixture.other).quota == WorkspaceQuota())
            #expect(try await store.setQuota(WorkspaceQuota(), of: fixture.workspace).quota == WorkspaceQuota())
            await expectFailure(.notFound) { _ = try await store.setQuota(quota, of: WorkspaceID()) }
            for wrong in [WorkspaceQuota(containers: -1), WorkspaceQuota(cpus: .nan), WorkspaceQuota(diskBytes: .max)] {
                await expectFailure(.unprocessable) { _ = try await store.setQuota(wrong, of: fixture.workspace) }
            }
        }
    }

    @Test(arguments: Driver.allCases) func disksStayWithinTheQuota(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            func make(_ name: String, _ disk: Int?, in workspace: WorkspaceID? = nil) async throws -> Project {
                var project = fixture.project(name, in: workspace)
                project.limits.diskBytes = disk
                try await store.createProject(project)
                return project
            }
            func resize(_ project: Project, _ disk: Int?) async throws -> Project {
                let now = try await store.project(.id(project.id), in: project.workspace)
                var limits = now.limits
                limits.diskBytes = disk
                return try await store.setLimits(
                    limits, of: now.id, in: now.workspace, replacing: now.lifecycleRevision)
            }
            _ = try await make("unbound", nil)
            _ = try await store.setQuota(WorkspaceQuota(diskBytes: 10 << 30), of: fixture.workspace)
            let first = try await make("first", 6 << 30)
            let error = await expectFailure(.limit) { _ = try await make("second", 5 << 30) }
            #expect(error?.details["quota"] == "diskBytes" && error?.details["used"] == .integer(6 << 30))
            #expect(error?.details["allowed"] == .integer(10 << 30) && error?.details["needed"] == .integer(5 << 30))
            #expect(error?.message.contains("10 GiB") == true && error?.message.contains("6 GiB") == true)
            await expectFailure(.unprocessable) { _ = try await make("second", nil) }
            _ = try await make("second", 4 << 30)
            let usage = try await store.diskUsage(of: fixture.workspace)
            #expect(usage.bytes == 10 << 30 && usage.projectsWithoutDisk == 1)
            // Growing is bounded in the same way; shrinking always goes.
            await expectFailure(.limit) { _ = try await resize(first, 7 << 30) }
            _ = try await resize(first, 5 << 30)
            _ = try await resize(first, 6 << 30)
            _ = try await store.setQuota(WorkspaceQuota(diskBytes: 1 << 30), of: fixture.workspace)
            _ = try await resize(first, 5 << 30)
            await expectFailure(.limit) { _ = try await resize(first, 6 << 30) }
            // Others have their own, and what is being deleted counts no longer.
            _ = try await make("first", 20 << 30, in: fixture.other)
            _ = try await store.markProjectDeleting(first.id, in: fixture.workspace, at: moment)
            #expect(try await store.diskUsage(of: fixture.workspace).bytes == 4 << 30)
        }
    }

    /// Of two that come together the second sees the first.
    @Test(arguments: Driver.allCases) func concurrentProjectsDoNotPassTheQuota(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            _ = try await store.setQuota(WorkspaceQuota(diskBytes: 5 << 30), of: fixture.workspace)
            let made = await withTaskGroup(of: Bool.self) { group in
                for number in 0..<12 {
                    var project = fixture.project("p\(number)")
                    project.limits.diskBytes = 1 << 30
                    group.addTask { [project] in (try? await store.createProject(project)) != nil }
                }
                return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
            #expect(made == 5)
            #expect(try await store.diskUsage(of: fixture.workspace).bytes == 5 << 30)
        }
    }

    @Test(arguments: Driver.allCases) func limitsOfPlacedProjectsAreTold(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            let placed = try await fixture.add("placed")
            _ = try await store.placeProject(placed.id, on: fixture.node)
            try await fixture.add("unplaced")
            let other = try await fixture.add("placed", in: fixture.other)
            _ = try await store.placeProject(other.id, on: fixture.node)
            let found = try await store.placedLimits(in: fixture.workspace)
            #expect(found == [placed.id: PlacedLimits(node: fixture.node, limits: placed.limits)])
        }
    }
}
