import ControllerDomain
import ControllerServices
import ControllerStore
import FastableCore
import FoundationEssentials
import TestSupport
import Testing

/// Suspending, waking and stopping through the catalogue, with a node that only pretends.
@Suite(.endsInTime) struct LifecycleTests {
    private static func status(_ project: ProjectID, _ state: ContainerState, _ reason: String = "") -> ContainerStatus
    {
        ContainerStatus(
            project: project, state: state, container: nil, image: "vibn-dev", startedAt: nil, reason: reason,
            limits: ResourceLimits(), runningExecs: 0, since: Date())
    }

    private static func explanation(_ project: ProjectID) -> ContainerExplanation {
        ContainerExplanation(
            project: project, state: .running, since: Date(), reason: "The container answers.", text: "It is awake.",
            idleSince: Date(), awakeBecause: [.init(kind: .lease, text: "the lease ‘x’", until: Date())],
            next: .init(step: .suspend, at: Date(), inSeconds: 60), policy: .standard)
    }

    @Test func wishesReachTheNode() async throws {
        try await World.with { world, nodes in
            let id = try await world.project()
            let node = nodes[0]
            node.reply(.containerSuspend) { (wish: ContainerSuspend) in
                guard wish.force else { throw FastableError(.conflict, "It is kept awake by 1 command (exe_x).") }
                return Self.status(wish.project, .suspended)
            }
            node.reply(.containerResume) { (project: ProjectReference) in Self.status(project.project, .running) }
            node.reply(.containerStop) { (wish: ContainerStop) in Self.status(wish.project, .stopped, wish.reason) }
            node.reply(.containerExplain) { (project: ProjectReference) in Self.explanation(project.project) }
            node.reply(.containerKeepAwake) { (wish: ContainerKeepAwake) in Self.explanation(wish.project) }

            // Before its first use there is nothing, and no node is asked.
            #expect(try await world.run("devcontainer.suspend", ["project": "shop"])["state"] == "absent")
            #expect(try await world.run("devcontainer.explain", ["project": "shop"])["state"] == "absent")
            let early = await expectFailure(.conflict) {
                try await world.run("devcontainer.keep_awake", ["project": "shop", "seconds": 5])
            }
            #expect(early?.message.contains("devcontainer.ensure") == true)
            #expect(node.methods.isEmpty)

            try await world.run("devcontainer.ensure", ["project": "shop"])
            let busy = await expectFailure(.conflict) {
                try await world.run("devcontainer.suspend", ["project": "shop"])
            }
            #expect(busy?.message.contains("exe_x") == true)
            let suspended = try await world.run("devcontainer.suspend", ["project": "shop", "force": true])
            #expect(suspended["state"] == "suspended")
            #expect(try await world.run("devcontainer.resume", ["project": "shop"])["state"] == "running")
            let stopped = try await world.run("devcontainer.stop", ["project": "shop"])
            #expect(stopped["state"] == "stopped")
            #expect(stopped["reason"]?.string?.contains("stopped by ‘tester’") == true)
            #expect(try await world.run("devcontainer.explain", ["project": "shop"])["next"]?["step"] == "suspend")
            try await world.run("devcontainer.keep_awake", ["project": "shop", "seconds": 60, "reason": "demo"])
            let leases = try node.requests(.containerKeepAwake, ContainerKeepAwake.self)
            #expect(leases.map(\.seconds) == [60] && leases.map(\.reason) == ["demo"])
            await expectFailure(.unprocessable) {
                let much: JSONValue = .integer(Int64(Limits.keepAwakeSecondsHighest) + 1)
                try await world.run("devcontainer.keep_awake", ["project": "shop", "seconds": much])
            }
            #expect(try await world.run("devcontainer.restart", ["project": "shop"])["state"] == "running")
            #expect(node.methods.suffix(2) == [.containerStop, .containerEnsure])
            #expect(try node.requests(.containerStop, ContainerStop.self).allSatisfy { $0.project == id })
            let audit = try await world.audit("devcontainer.suspend")
            #expect(audit.contains { $0.detail["state"] == "suspended" })
        }
    }

    @Test func aPolicyGoesToTheNodeAndIntoEverySpecification() async throws {
        try await World.with { world, nodes in
            try await world.project()
            let node = nodes[0]
            node.reply(.containerPolicy) { (_: ContainerPolicy) in Empty() }
            try await world.run("devcontainer.ensure", ["project": "shop"])
            let set = try await world.run("projects_set_lifecycle", ["project": "shop", "idleSeconds": 0])
            #expect(set["applied"] == true)
            #expect(set["lifecycle"]?["idleSeconds"] == 0)
            #expect(set["lifecycle"]?["stopAfterSeconds"] == .integer(Int64(Limits.stopAfterSeconds)))
            #expect(set["own"] == ["idleSeconds": 0])
            #expect(try node.requests(.containerPolicy, ContainerPolicy.self).map(\.policy.idleSeconds) == [0])
            #expect(try await world.run("projects_get", ["project": "shop"])["lifecycle"]?["idleSeconds"] == 0)

            let all = try await world.run("workspace_set_lifecycle", ["stopAfterSeconds": 7, "idleSeconds": 9])
            #expect(all["lifecycle"]?["stopAfterSeconds"] == 7)
            try await eventually {
                try node.requests(.containerPolicy, ContainerPolicy.self).last?.policy.stopAfterSeconds == 7
            }
            #expect(try node.requests(.containerPolicy, ContainerPolicy.self).last?.policy.idleSeconds == 0)
            try await world.run("devcontainer.ensure", ["project": "shop"])
            let spec = try #require(try node.requests(.containerEnsure, ContainerSpec.self).last)
            #expect(spec.lifecycle?.stopAfterSeconds == 7 && spec.lifecycle?.idleSeconds == 0)
            await expectFailure(.unprocessable) {
                try await world.run("projects_set_lifecycle", ["project": "shop", "idleSeconds": -1])
            }
        }
    }

    @Test func aNodeThatWasAwayIsToldWhenItIsBack() async throws {
        try await World.with { world, nodes in
            try await world.project()
            let node = nodes[0]
            try await world.run("devcontainer.ensure", ["project": "shop"])
            node.reply(.containerPolicy) { (_: ContainerPolicy) -> Empty in
                throw FastableError(.unavailable, "The node goes down.")
            }
            let set = try await world.run("projects_set_lifecycle", ["project": "shop", "idleSeconds": 5])
            #expect(set["applied"] == false)
            node.reply(.containerPolicy) { (_: ContainerPolicy) in Empty() }
            await world.services.fleet.nodeConnected(node.id, facts: World.facts())
            try await eventually { try node.requests(.containerPolicy, ContainerPolicy.self).count >= 2 }
            #expect(try node.requests(.containerPolicy, ContainerPolicy.self).last?.policy.idleSeconds == 5)
            // Once it has it, it is not told again.
            try await eventually {
                try await world.store.unsentLifecycles(on: node.id, after: nil, limit: 10).isEmpty
            }
            let told = try node.requests(.containerPolicy, ContainerPolicy.self).count
            await world.services.fleet.nodeConnected(node.id, facts: World.facts())
            #expect(try node.requests(.containerPolicy, ContainerPolicy.self).count == told)
        }
    }

    @Test func limitsAreStoredAndInForceOrNeither() async throws {
        try await World.with { world, nodes in
            try await world.project()
            let node = nodes[0]
            let most: JSONValue = [
                "cpus": 2, "memoryBytes": .integer(4 << 30), "pids": 4096, "diskBytes": .integer(50 << 30),
            ]
            let shown = try await world.run("devcontainer.limits", ["project": "shop"])
            #expect(shown["limits"]?["memoryBytes"] == .integer(1 << 30) && shown["ceiling"] == most)
            // Before its first use no node is asked.
            let early = try await world.run("devcontainer.limits", ["project": "shop", "cpus": 2])
            #expect(early["limits"]?["cpus"] == 2 && early["applied"] == true)
            #expect(node.methods.isEmpty)

            try await world.run("devcontainer.ensure", ["project": "shop"])
            let spec = try #require(try node.requests(.containerEnsure, ContainerSpec.self).last)
            #expect(spec.limits.cpus == 2)
            node.reply(.containerLimits) { (wish: ContainerLimits) in
                guard wish.limits.memoryBytes >= 100 << 20 else {
                    throw FastableError(.conflict, "The container uses 104857600 bytes of memory.")
                }
                return Self.status(wish.project, .running)
            }
            let memory: JSONValue = .integer(2 << 30)
            let changed = try await world.run("devcontainer.limits", ["project": "shop", "memoryBytes": memory])
            #expect(changed["limits"] == ["cpus": 2, "memoryBytes": memory, "pids": 512])
            let told = try #require(try node.requests(.containerLimits, ContainerLimits.self).last)
            #expect(told.limits.memoryBytes == 2 << 30 && told.revision > spec.revision ?? 0)

            let refused = await expectFailure(.conflict) {
                try await world.run(
                    "devcontainer.limits", ["project": "shop", "memoryBytes": .integer(64 << 20), "pids": 99])
            }
            #expect(refused?.message.contains("104857600") == true)
            let kept = try await world.run("devcontainer.limits", ["project": "shop"])
            #expect(kept["limits"] == changed["limits"])
            // What the node gets from now on is newer than what it refused.
            try await world.run("devcontainer.ensure", ["project": "shop"])
            let later = try #require(try node.requests(.containerEnsure, ContainerSpec.self).last)
            #expect(later.limits.pids == 512 && later.limits.memoryBytes == 2 << 30)
            #expect(later.revision ?? 0 > told.revision + 1)
            let wrong: [[String: JSONValue]] = [
                ["cpus": .number(2.5)], ["memoryBytes": 1024], ["pids": 5000], ["pids": 0], ["diskBytes": 1024],
            ]
            for fields in wrong {
                let input = fields.merging(["project": "shop"]) { $1 }
                await expectFailure(.unprocessable) { try await world.run("devcontainer.limits", .object(input)) }
            }
            let disk: JSONValue = .integer(20 << 30)
            let grown = try await world.run("devcontainer.limits", ["project": "shop", "diskBytes": disk])
            #expect(grown["limits"]?["diskBytes"] == disk && grown["limits"]?["pids"] == 512)
            #expect(try node.requests(.containerLimits, ContainerLimits.self).last?.limits.diskBytes == 20 << 30)
            let audit = try await world.audit("devcontainer.limits")
            #expect(audit.contains { $0.detail["pids"] == 99 })
        }
    }

    @Test func changesOfLimitsAtTheSameTimeAreAllKept() async throws {
        try await World.with { world, nodes in
            try await world.project()
            nodes[0].reply(.containerLimits) { (wish: ContainerLimits) in Self.status(wish.project, .running) }
            try await world.run("devcontainer.ensure", ["project": "shop"])
            try await withThrowingTaskGroup(of: Void.self) { group in
                let changes: [(String, JSONValue)] = [
                    ("cpus", 2), ("memoryBytes", .integer(2 << 30)), ("pids", 77),
                ]
                for (name, value) in changes {
                    group.addTask { try await world.run("devcontainer.limits", ["project": "shop", name: value]) }
                }
                try await group.waitForAll()
            }
            let limits = try await world.run("devcontainer.limits", ["project": "shop"])["limits"]
            #expect(limits == ["cpus": 2, "memoryBytes": .integer(2 << 30), "pids": 77])
        }
    }

    @Test func aNodeThatWasAwayIsToldItsLimits() async throws {
        try await World.with { world, nodes in
            try await world.project()
            let node = nodes[0]
            try await world.run("devcontainer.ensure", ["project": "shop"])
            node.reply(.containerLimits) { (_: ContainerLimits) -> ContainerStatus in
                throw FastableError(.unavailable, "The node goes down.")
            }
            node.reply(.containerPolicy) { (_: ContainerPolicy) in Empty() }
            let set = try await world.run("devcontainer.limits", ["project": "shop", "pids": 1024])
            #expect(set["applied"] == false && set["limits"]?["pids"] == 1024)
            await world.services.fleet.nodeConnected(node.id, facts: World.facts())
            try await eventually {
                try node.requests(.containerPolicy, ContainerPolicy.self).last?.limits?.pids == 1024
            }
        }
    }

    @Test func theLimitThatACommandCameToIsInItsAnswerAndItsAudit() async throws {
        try await World.with { world, nodes in
            try await world.project()
            let hit = LimitHit(.memory, limitBytes: 1 << 30, process: "node")
            nodes[0].onExec { _, exec in
                try await exec.started()
                try await exec.finish(code: nil, signal: "SIGKILL", limitHit: hit)
            }
            let answer = try await world.run("shell.exec", ["project": "shop", "cmd": "node build.js"])
            #expect(answer["limitHit"] == ["limit": "memory", "limitBytes": .integer(1 << 30), "process": "node"])
            let audit = try await world.audit("shell.exec")
            #expect(audit.contains { $0.detail["limitHit"] == "memory" })

            nodes[0].reply(.containerStatus) { (project: ProjectReference) in
                var status = Self.status(project.project, .running)
                status.limitHits = [LimitTally(hit: hit, count: 3, at: Date())]
                return status
            }
            let status = try await world.run("devcontainer.status", ["project": "shop"])
            #expect(status["limitHits"]?.array?.first?["count"] == 3)
            #expect(status["limitHits"]?.array?.first?["hit"]?["process"] == "node")
        }
    }
}
