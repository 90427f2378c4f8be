import ControllerDomain
import ControllerStore
import FastableCore
import TestSupport
import Testing

@Suite struct LifecycleStoreTests {
    @Test(arguments: Driver.allCases)
    func aProjectInheritsWhatItDoesNotSay(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            let project = try await fixture.add("demo")
            #expect(project.lifecyclePolicy == .standard)
            let workspace = try await store.setLifecycle(
                LifecyclePolicy(idleSeconds: 60, stopAfterSeconds: 0), of: fixture.workspace)
            #expect(try await store.workspace(fixture.workspace) == workspace)
            let own = try await store.setLifecycle(
                LifecyclePolicy(idleSeconds: 5), of: project.id, in: fixture.workspace)
            #expect(try await store.project(.id(project.id), in: fixture.workspace) == own)
            #expect(own.lifecycle == LifecyclePolicy(idleSeconds: 5))
            #expect(own.lifecyclePolicy.idleSeconds == 5 && own.lifecyclePolicy.stopAfterSeconds == 0)
            #expect(own.lifecyclePolicy.deleteAfterSeconds == Limits.deleteAfterSeconds)
            // Another workspace has its own.
            let other = try await fixture.add("demo", in: fixture.other)
            #expect(try await store.project(.id(other.id), in: fixture.other).lifecyclePolicy == .standard)
            let plain = try await store.setLifecycle(LifecyclePolicy(), of: project.id, in: fixture.workspace)
            #expect(plain.lifecyclePolicy.idleSeconds == 60)
        }
    }

    @Test(arguments: Driver.allCases)
    func devServersAreChangedInOneStep(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let (store, workspace) = (fixture.store, fixture.workspace)
            let id = try await fixture.add("demo").id
            let made = SupervisedProcess(name: "dev", arguments: ["serve"], environment: ["A": "b"], user: "1000:1000")
            let first = try await store.setSupervised(of: id, in: workspace) { try $0.start("dev", made, revision: $1) }
            #expect(first.supervised.map { $0.runs(like: made) } == [true])
            #expect(first.supervised.map(\.generation) == [first.lifecycleRevision])
            #expect(first.containerSpec.supervised == first.supervised)
            #expect(try await store.project(.id(id), in: workspace) == first)
            // Only what changes something is to be sent to the node.
            let same = try await store.setSupervised(of: id, in: workspace) { try $0.start("dev", made, revision: $1) }
            #expect(same.lifecycleRevision == first.lifecycleRevision)
            let again = try await store.setSupervised(of: id, in: workspace) {
                try $0.start("dev", nil, isAnew: true, revision: $1)
            }
            #expect(again.supervised.map(\.generation) == [again.lifecycleRevision])
            #expect(again.lifecycleRevision > first.lifecycleRevision)
            let stopped = try await store.setSupervised(of: id, in: workspace) { list, _ in
                try list.stop("dev", forgets: false)
            }
            #expect(stopped.supervised.map(\.isWanted) == [false])
            let other = SupervisedProcess(name: "dev", arguments: ["other"])
            let replaced = try await store.setSupervised(of: id, in: workspace) {
                try $0.start("dev", other, revision: $1)
            }
            #expect(
                replaced.supervised.map(\.generation) == [replaced.lifecycleRevision]
                    && replaced.supervised.first?.arguments == ["other"])
            await expectFailure(.notFound) {
                _ = try await store.setSupervised(of: id, in: workspace) { list, _ in
                    try list.stop("none", forgets: true)
                }
            }
            await expectFailure(.notFound) {
                _ = try await store.setSupervised(of: id, in: fixture.other) { list, _ in
                    try list.stop("dev", forgets: true)
                }
            }
            await expectFailure(.limit) {
                _ = try await store.setSupervised(of: id, in: workspace) { list, revision in
                    for number in 0...Limits.supervisedProcesses {
                        let process = SupervisedProcess(name: "s\(number)", arguments: ["x"])
                        try list.start(process.name, process, revision: revision)
                    }
                }
            }
            let large = SupervisedProcess(
                name: "x", arguments: [String(repeating: "x", count: Limits.supervisedBytes)])
            await expectFailure(.tooLarge) {
                _ = try await store.setSupervised(of: id, in: workspace) { try $0.start("x", large, revision: $1) }
            }
            #expect(try await store.project(.id(id), in: workspace) == replaced, "all or nothing")
            let none = try await store.setSupervised(of: id, in: workspace) { list, _ in
                try list.stop("dev", forgets: true)
            }
            #expect(none.supervised.isEmpty && none.containerSpec.supervised == nil)
        }
    }

    @Test(arguments: Driver.allCases)
    func disksOfAWorkspaceAndOfItsProjectsAreKept(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            #expect(try await store.workspace(fixture.workspace).diskBytes == nil)
            let changed = try await store.setDisk(1 << 30, of: fixture.workspace)
            #expect(changed.diskBytes == 1 << 30 && changed.lifecycle == LifecyclePolicy())
            #expect(try await store.workspace(fixture.workspace) == changed)
            #expect(try await store.workspace(fixture.other).diskBytes == nil)
            await expectFailure(.unprocessable) { _ = try await store.setDisk(1, of: fixture.workspace) }
            await expectFailure(.notFound) { _ = try await store.setDisk(nil, of: WorkspaceID()) }
            #expect(try await store.setDisk(nil, of: fixture.workspace).diskBytes == nil)
            // Projects have what they were made with, until they are told otherwise.
            let project = try await fixture.add("demo")
            #expect(project.limits.diskBytes == nil)
            let limits = ResourceLimits(diskBytes: 2 << 30)
            let limited = try await store.setLimits(
                limits, of: project.id, in: fixture.workspace, replacing: project.lifecycleRevision)
            #expect(limited.limits == limits)
            #expect(try await store.project(.id(project.id), in: fixture.workspace).limits == limits)
        }
    }

    @Test(arguments: Driver.allCases)
    func whatIsOutOfRangeOrNotThereIsRefused(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            let project = try await fixture.add("demo")
            await expectFailure(.unprocessable) {
                _ = try await store.setLifecycle(
                    LifecyclePolicy(idleSeconds: -1), of: project.id, in: fixture.workspace)
            }
            await expectFailure(.notFound) {
                _ = try await store.setLifecycle(LifecyclePolicy(), of: project.id, in: fixture.other)
            }
            await expectFailure(.notFound) { _ = try await store.setLifecycle(LifecyclePolicy(), of: WorkspaceID()) }
            _ = try await store.markProjectDeleting(project.id, in: fixture.workspace, at: moment)
            await expectFailure(.gone) {
                _ = try await store.setLifecycle(LifecyclePolicy(), of: project.id, in: fixture.workspace)
            }
        }
    }

    @Test(arguments: Driver.allCases)
    func limitsAreReplacedUnlessTheSettingsWereChanged(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            let project = try await fixture.add("demo")
            _ = try await store.placeProject(project.id, on: fixture.node)
            let limits = ResourceLimits(cpus: 2, memoryBytes: 2 << 30, pids: 1000)
            let changed = try await store.setLimits(
                limits, of: project.id, in: fixture.workspace, replacing: project.lifecycleRevision)
            #expect(changed.limits == limits && changed.lifecycleRevision == project.lifecycleRevision + 1)
            #expect(changed.containerSpec.limits == limits)
            #expect(changed.containerSpec.revision == changed.lifecycleRevision)
            #expect(try await store.project(.id(project.id), in: fixture.workspace).limits == limits)
            #expect(try await store.unsentLifecycles(on: fixture.node, after: nil, limit: 10).map(\.limits) == [limits])
            await expectFailure(.conflict) {
                _ = try await store.setLimits(
                    ResourceLimits(), of: project.id, in: fixture.workspace, replacing: project.lifecycleRevision)
            }
            await expectFailure(.unprocessable) {
                _ = try await store.setLimits(
                    ResourceLimits(cpus: 3), of: project.id, in: fixture.workspace,
                    replacing: changed.lifecycleRevision)
            }
            await expectFailure(.notFound) {
                _ = try await store.setLimits(
                    ResourceLimits(), of: project.id, in: fixture.other, replacing: changed.lifecycleRevision)
            }
        }
    }

    @Test(arguments: Driver.allCases)
    func aNodeIsToldWhatItDoesNotHave(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            var ids: [ProjectID] = []
            for name in ["a", "b", "c"] {
                let project = try await fixture.add(name)
                ids.append(project.id)
                if name != "c" { _ = try await store.placeProject(project.id, on: fixture.node) }
            }
            func unsent() async throws -> [ProjectID] {
                try await store.unsentLifecycles(on: fixture.node, after: nil, limit: 10).map(\.id)
            }
            #expect(try await unsent().isEmpty)
            let first = try await store.setLifecycle(
                LifecyclePolicy(idleSeconds: 5), of: ids[0], in: fixture.workspace)
            #expect(try await unsent() == [ids[0]])
            // It was changed once more while it was told.
            let second = try await store.setLifecycle(
                LifecyclePolicy(idleSeconds: 6), of: ids[0], in: fixture.workspace)
            try await store.lifecycleWasSent(first)
            #expect(try await unsent() == [ids[0]])
            try await store.lifecycleWasSent(second)
            try await store.lifecycleWasSent(first)
            #expect(try await unsent().isEmpty)
            _ = try await store.setLifecycle(LifecyclePolicy(idleSeconds: 9), of: fixture.workspace)
            #expect(try await unsent() == [ids[0], ids[1]].sorted())
            let page = try await store.unsentLifecycles(on: fixture.node, after: ids[0], limit: 1)
            #expect(page.map(\.id) == [ids[1]])
            #expect(page.first?.lifecyclePolicy.idleSeconds == 9)
        }
    }
}
