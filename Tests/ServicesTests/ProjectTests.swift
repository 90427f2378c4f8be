import ControllerDomain
import ControllerServices
import ControllerStore
import FastableCore
import FastableWire
import FoundationEssentials
import Synchronization
import TestSupport
import Testing

@Suite(.endsInTime) struct ProjectTests {
    @Test func aProjectIsCreatedListedShownAndDeleted() async throws {
        try await World.with { world, nodes in
            let created = try await world.run(
                "projects_create",
                [
                    "name": "shop", "limits": ["cpus": .number(0.5), "memoryBytes": 67_108_864],
                    "environment": ["SECRET": "hidden"],
                ])
            #expect(created["image"] == "vibn-dev")
            #expect(
                created["limits"] == [
                    "cpus": .number(0.5), "memoryBytes": 67_108_864, "pids": .integer(Int64(Limits.containerPIDs)),
                ])
            #expect(created["environment"] == ["SECRET"])
            #expect(created["node"] == nil)
            await expectFailure(.conflict) { try await world.run("projects_create", ["name": "shop"]) }
            let unused = try await world.run("devcontainer.status", ["project": "shop"])
            #expect(unused["state"] == "absent")
            #expect(nodes[0].methods.isEmpty)

            #expect(try await world.run("devcontainer.ensure", ["project": "shop"])["state"] == "running")
            nodes[0].handle(.containerStatus) { _, _ in throw FastableError(.notFound, "Nothing yet.") }
            #expect(try await world.run("devcontainer.status", ["project": "shop"])["state"] == "absent")
            nodes[0].reply(.containerStatus) { (reference: ProjectReference) in
                SimulatedNode.running(
                    ContainerSpec(project: reference.project, workspace: WorkspaceID(), image: "vibn-dev"))
            }
            let spec = try #require(try nodes[0].requests(.containerEnsure, ContainerSpec.self).first)
            #expect(spec.environment == ["SECRET": "hidden"])
            #expect(spec.limits.memoryBytes == 67_108_864)

            let shown = try await world.run("projects_get", ["project": "shop"])
            #expect(shown["node"] == "node-1")
            #expect(shown["container"]?["state"] == "running")
            let listed = try await world.run("projects_list")
            #expect(listed["projects"]?.array?.compactMap { $0["name"]?.string } == ["shop"])

            let deleted = try await world.run("projects_delete", ["project": "shop"])
            #expect(deleted["pending"] == false)
            #expect(nodes[0].methods.last == .projectDelete)
            await expectFailure(.notFound) { try await world.run("projects_get", ["project": "shop"]) }
            #expect(try await world.store.counts().deletingProjects == 0)
        }
    }

    @Test func badValuesAreNamed() async throws {
        try await World.with { world, _ in
            let broken: [(JSONValue, FastableError.Code, String)] = [
                (["name": "Shop"], .unprocessable, "name"), (["name": ""], .unprocessable, "name"),
                (["name": "a", "image": "nothere"], .unprocessable, "image"),
                (["name": "a", "image": "../x"], .unprocessable, "image"),
                (["name": "a", "limits": ["cpus": 99]], .unprocessable, "limits.cpus"),
                (["name": "a", "limits": ["memory": 1]], .invalid, "limits.memory"),
                (["name": "a", "git": ["branch": "x"]], .invalid, "git.url"),
                (["name": "a", "git": ["url": "ext::sh -c id"]], .unprocessable, "url"),
                (
                    ["name": "a", "git": ["url": "https://host/a", "branch": "--upload-pack=x"]], .unprocessable,
                    "branch"
                ),
            ]
            for (input, code, field) in broken {
                let error = await expectFailure(code) { try await world.run("projects_create", input) }
                #expect(error?.details["field"] == .string(field), "\(input)")
            }
            let listed = try await world.run("projects_list")
            #expect(listed["projects"] == [])
        }
    }

    @Test func pagesFollowEachOther() async throws {
        try await World.with { world, _ in
            for name in ["a", "b", "c"] { try await world.project(name) }
            let first = try await world.run("projects_list", ["limit": 2])
            #expect(first["projects"]?.array?.count == 2)
            let next = try #require(first["next"])
            let second = try await world.run("projects_list", ["limit": 2, "after": next])
            #expect(second["projects"]?.array?.compactMap { $0["name"]?.string } == ["c"])
            #expect(second["next"] == nil)
        }
    }

    // MARK: placement

    @Test func racingFirstUsesEndOnOneNode() async throws {
        try await World.with(nodes: 3) { world, nodes in
            try await world.project()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<20 {
                    group.addTask { try await world.run("shell.exec", ["project": "shop", "cmd": "true"]) }
                }
                try await group.waitForAll()
            }
            #expect(nodes.filter { !$0.methods.isEmpty }.count == 1)
        }
    }

    @Test func aCordonedNodeGetsNoNewProjectAndKeepsItsOwn() async throws {
        try await World.with(nodes: 2) { world, nodes in
            try await world.project("first")
            try await world.run("shell.exec", ["project": "first", "cmd": "true"])
            let home = try #require(nodes.first { !$0.methods.isEmpty })
            try await world.run("nodes_cordon", ["node": .string(home.id.description)])
            try await world.project("second")
            try await world.run("shell.exec", ["project": "second", "cmd": "true"])
            try await world.run("shell.exec", ["project": "first", "cmd": "true"])
            #expect(home.methods == [.execStart, .execStart])
            let other = try #require(nodes.first { $0.id != home.id })
            try await world.run("nodes_cordon", ["node": .string(other.id.description)])
            try await world.project("third")
            let error = await expectFailure(.unavailable) {
                try await world.run("shell.exec", ["project": "third", "cmd": "true"])
            }
            #expect(error?.message.contains("cordon") == true)
        }
    }

    // MARK: deletion

    @Test func deletingWithAnOfflineNodeNeedsForceAndIsFinishedLater() async throws {
        try await World.with { world, nodes in
            let id = try await world.project()
            try await world.run("shell.exec", ["project": "shop", "cmd": "true"])
            let client = try world.directory.client(for: nodes[0].id)
            world.directory.drop(nodes[0].id)
            await expectFailure(.unavailable) { try await world.run("projects_delete", ["project": "shop"]) }
            #expect(try await world.run("projects_get", ["project": "shop"])["containerError"] != nil)
            let deleted = try await world.run("projects_delete", ["project": "shop", "force": true])
            #expect(deleted["pending"] == true)
            // The name is free at once, the old id is gone.
            await expectFailure(.gone) { try await world.run("projects_get", ["project": .string(id.description)]) }
            try await world.project()
            // The node comes back.
            world.directory.connect(try #require(client as? TestNodeClient), facts: World.facts())
            await world.services.fleet.nodeConnected(nodes[0].id, facts: World.facts())
            try await eventually("the rest is removed") { try await world.store.counts().deletingProjects == 0 }
            #expect(try nodes[0].requests(.projectDelete, ProjectReference.self).map(\.project) == [id])
        }
    }

    @Test func theCacheForgetsWhatWasDeleted() async throws {
        try await World.with { world, _ in
            let first = try await world.project()
            try await world.run("shell.exec", ["project": "shop", "cmd": "true"])
            try await world.run("projects_delete", ["project": "shop"])
            let second = try await world.project()
            #expect(first != second)
            #expect(try await world.run("projects_get", ["project": "shop"])["id"] == .string(second.description))
            await expectFailure(.notFound) {
                try await world.run("shell.exec", ["project": .string(first.description), "cmd": "true"])
            }
        }
    }

    // MARK: git

    private static let git: JSONValue = [
        "name": "shop", "git": ["url": "https://example.com/shop.git", "branch": "main"],
    ]

    @Test func aRepositoryIsClonedInTheContainer() async throws {
        try await World.with { world, nodes in
            let created = try await world.run("projects_create", Self.git)
            #expect(created["node"] == "node-1")
            #expect(created["git"] == ["url": "https://example.com/shop.git", "branch": "main"])
            let start = try #require(try nodes[0].requests(.execStart, ExecStart.self).first)
            #expect(
                start.command.arguments == [
                    "git", "clone", "--branch", "main", "--", "https://example.com/shop.git", "/workspace",
                ])
            #expect(start.command.environment["GIT_TERMINAL_PROMPT"] == "0")
        }
    }

    @Test func aCloneThatFailsLeavesNoProject() async throws {
        try await World.with { world, nodes in
            nodes[0].onExec { _, exec in
                try await exec.started()
                try await exec.write(
                    "Cloning into '/workspace'...\nremote: \u{1b}[31mboo\nfatal: repository not found.\n", channel: 2)
                try await exec.finish(code: 128)
            }
            let error = await expectFailure(.unprocessable) { try await world.run("projects_create", Self.git) }
            #expect(error?.message.contains("fatal: repository not found") == true)
            #expect(error?.details["exitCode"] == 128)
            #expect(error?.details["stderr"]?.string?.contains("\u{1b}") == false)
            let listed = try await world.run("projects_list")
            #expect(listed["projects"] == [])
            #expect(nodes[0].methods.last == .projectDelete)
        }
    }

    @Test func aCloneThatIsCancelledLeavesNoProject() async throws {
        try await World.with { world, nodes in
            let started = Mutex(false)
            nodes[0].onExec { _, exec in
                try await exec.started()
                started.withLock { $0 = true }
                while try await exec.stream.next() != nil {}
            }
            let creating = Task { try await world.run("projects_create", Self.git) }
            try await eventually("the clone runs") { started.withLock { $0 } }
            creating.cancel()
            await expectFailure(.cancelled) { _ = try await creating.value }
            let listed = try await world.run("projects_list")
            #expect(listed["projects"] == [])
            #expect(nodes[0].methods == [.execStart, .execKill, .projectDelete])
        }
    }
}
