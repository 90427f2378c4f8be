import FastableCore
import NodeLinux
import NodeSandbox
import TestSupport
import Testing

extension ContainerTests {
    /// What keeps real containers awake, with the clock handed in.
    @Suite(.serialized) struct Idle {
        private typealias Suspension = ContainerTests.Suspension

        private static func project(_ node: TestNode) -> ContainerSpec {
            var spec = node.project()
            spec.lifecycle = LifecyclePolicy(idleSeconds: 100, stopAfterSeconds: 1000)
            return spec
        }

        @Test func withoutWorkItIsSuspendedAndThenStopped() async throws {
            try await TestNode.with { node in
                let spec = Self.project(node)
                let before = ContinuousClock.now
                try await node.sh(spec, "echo kept > file")
                let awake = try await node.manager.explain(spec.project)
                #expect(awake.state == .running)
                let since = Int((ContinuousClock.now - before) / .seconds(1))
                #expect(awake.next?.step == .suspend && (98 - since...100).contains(awake.next?.inSeconds ?? 0))
                #expect(awake.awakeBecause.map(\.kind) == [.recent])
                #expect(awake.text.contains("ago a command ran.") && awake.text.contains("It will be suspended in "))
                let now = ContinuousClock.now
                await node.manager.sweep(before + .seconds(95))
                #expect(await Suspension.state(node, spec) == .running)
                await node.manager.sweep(now + .seconds(101))
                #expect(await Suspension.state(node, spec) == .suspended)
                let asleep = try await node.manager.explain(spec.project)
                #expect(asleep.reason.contains("Nothing worked in it for 1 minute and 40 seconds"))
                #expect(asleep.next?.step == .stop)
                #expect(asleep.idleSince == nil && asleep.awakeBecause.isEmpty)
                await node.manager.sweep(now + .seconds(990))
                #expect(await Suspension.state(node, spec) == .suspended)
                await node.manager.sweep(.now + .seconds(1001))
                #expect(await Suspension.state(node, spec) == .stopped)
                let stopped = try await node.manager.explain(spec.project)
                #expect(stopped.next == nil && stopped.text.contains("files are kept"))
                #expect(try await node.sh(spec, "cat file").out == "kept\n")
            }
        }

        @Test func aRunningCommandKeepsItAwake() async throws {
            try await TestNode.with { node in
                let spec = Self.project(node)
                let session = try await node.start(spec, "sleep 1000")
                await node.manager.sweep(.now + .seconds(100_000))
                #expect(await Suspension.state(node, spec) == .running)
                let explanation = try await node.manager.explain(spec.project)
                #expect(explanation.next == nil && explanation.idleSince == nil)
                #expect(explanation.awakeBecause.first?.kind == .command)
                #expect(explanation.text.contains("1 command (\(session.exec))"))
            }
        }

        @Test func aProcessThatUsesTheCPUKeepsItAwake() async throws {
            try await TestNode.with { node in
                let spec = Self.project(node)
                // No command runs: its background process does.
                try await node.sh(spec, "(\(Suspension.counting)) >/dev/null 2>&1 & echo")
                try await Suspension.counts(node, spec)
                let now = ContinuousClock.now
                await node.manager.sweep(now)
                let before = try LimitsInForce.cpuTicks(node, spec)
                try await eventually("it was on a core for half a second") {
                    try LimitsInForce.cpuTicks(node, spec) - before >= 50
                }
                let later = max(now + .seconds(2), ContinuousClock.now)
                await node.manager.sweep(later)
                await node.manager.sweep(later + .seconds(99))
                #expect(await Suspension.state(node, spec) == .running)
                let refused = await #expect(throws: FastableError.self) {
                    try await node.manager.suspend(spec.project, force: false)
                }
                #expect(refused?.message.contains("use the CPU") == true)
                try await node.manager.suspend(spec.project, force: true)
                #expect(try await Suspension.standsStill(node, spec))
            }
        }

        @Test func aLeaseKeepsItAwakeAndWakesIt() async throws {
            try await TestNode.with { node in
                let spec = Self.project(node)
                try await node.sh(spec, "true")
                let manager = node.manager
                try await manager.suspend(spec.project, force: false)
                try await manager.keepAwake(spec.project, seconds: 3600, reason: "demo")
                #expect(await Suspension.state(node, spec) == .running)
                await manager.sweep(.now + .seconds(3000))
                #expect(await Suspension.state(node, spec) == .running)
                let refused = await #expect(throws: FastableError.self) {
                    try await manager.suspend(spec.project, force: false)
                }
                #expect(refused?.message.contains("the lease ‘demo’") == true)
                // It is kept over a restart of the daemon.
                try await node.restart()
                let explanation = try await node.manager.explain(spec.project)
                #expect(explanation.awakeBecause.contains { $0.kind == .lease && $0.text.contains("demo") })
                await node.manager.sweep(.now + .seconds(3000))
                #expect(await Suspension.state(node, spec) == .running)
                try await node.manager.keepAwake(spec.project, seconds: 0, reason: nil)
                await node.manager.sweep(.now + .seconds(3000))
                #expect(await Suspension.state(node, spec) == .suspended)
                for seconds in [-1, Limits.keepAwakeSecondsHighest + 1] {
                    let error = await #expect(throws: FastableError.self) {
                        try await node.manager.keepAwake(spec.project, seconds: seconds, reason: nil)
                    }
                    #expect(error?.code == .unprocessable)
                }
                await node.manager.stop(spec.project, reason: "test")
                let late = await #expect(throws: FastableError.self) {
                    try await node.manager.keepAwake(spec.project, seconds: 10, reason: nil)
                }
                #expect(late?.code == .conflict)
            }
        }

        @Test func useOfItsFilesKeepsItAwake() async throws {
            try await TestNode.with { node in
                let spec = Self.project(node)
                try await node.sh(spec, "true")
                let now = ContinuousClock.now
                try await Task.sleep(for: .seconds(1))
                try node.manager.usesFiles(of: spec.project)
                await node.manager.sweep(now + .seconds(100))
                #expect(await Suspension.state(node, spec) == .running)
                await node.manager.sweep(.now + .seconds(101))
                #expect(await Suspension.state(node, spec) == .suspended)
            }
        }

        @Test func aChangedPolicyCountsAtOnceAndIsKept() async throws {
            try await TestNode.with { node in
                let spec = Self.project(node)
                try await node.sh(spec, "true")
                try await node.manager.setSettings(
                    ContainerPolicy(project: spec.project, policy: LifecyclePolicy(idleSeconds: 0, stopAfterSeconds: 5))
                )
                await node.manager.sweep(.now + .seconds(1_000_000))
                #expect(await Suspension.state(node, spec) == .running)
                #expect(try await node.manager.explain(spec.project).text.contains("never suspended by itself"))
                try await node.restart()
                #expect(try await node.manager.explain(spec.project).policy.idleSeconds == 0)
                try await node.manager.setSettings(
                    ContainerPolicy(project: spec.project, policy: LifecyclePolicy(idleSeconds: 7)))
                await node.manager.sweep(.now + .seconds(8))
                #expect(await Suspension.state(node, spec) == .suspended)
                // Without a time for that it is never stopped.
                await node.manager.sweep(.now + .seconds(1_000_000))
                #expect(await Suspension.state(node, spec) == .suspended)
                #expect(try await node.manager.explain(spec.project).text.contains("never stopped by itself"))
            }
        }

        @Test func memoryIsTakenBackAndNothingIsLost() async throws {
            try await TestNode.with { node in
                let spec = node.project(limits: ResourceLimits(memoryBytes: 256 * 1024 * 1024))
                // What is not on the disk yet cannot be dropped.
                try await node.sh(
                    spec,
                    "dd if=/dev/zero of=large bs=1M count=100 conv=fsync; cat large > /dev/null; echo x > /tmp/y")
                let id = try await node.manager.ensure(spec).id
                try await node.manager.suspend(spec.project, force: false)
                let before = try LimitsInForce.memoryInUse(node, id)
                await node.manager.reclaimMemory()
                let after = try LimitsInForce.memoryInUse(node, id)
                #expect(before - after >= 32 << 20, "\(before) bytes were in use before, \(after) after")
                #expect(await Suspension.state(node, spec) == .suspended)
                #expect(try await node.sh(spec, "wc -c < large; cat /tmp/y").out == "104857600\nx\n")
            }
        }

        /// At the node, without doors.
        @Test(.measuresOnDemand) func suspendingAndWakingTakeMilliseconds() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                try await node.sh(spec, "true")
                var times: [String: [Duration]] = [:]
                let clock = ContinuousClock()
                for _ in 0..<100 {
                    let suspended = try await clock.measure {
                        try await node.manager.suspend(spec.project, force: false)
                    }
                    await node.manager.reclaimMemory()
                    let resumed = try await clock.measure { try await node.manager.awake(spec.project) }
                    let first = try await clock.measure { try await node.sh(spec, "true") }
                    try await node.manager.suspend(spec.project, force: false)
                    let woken = try await clock.measure { try await node.sh(spec, "true") }
                    for (name, time) in [
                        ("suspend", suspended), ("resume", resumed), ("first command after it", first),
                        ("command that wakes", woken),
                    ] { times[name, default: []].append(time) }
                }
                for (name, list) in times.sorted(by: { $0.key < $1.key }) {
                    let sorted = list.sorted()
                    print("\(name): p50 \(sorted[50] / .milliseconds(1)) ms, p90 \(sorted[90] / .milliseconds(1)) ms")
                }
                #expect(try #require(times["suspend"]).sorted()[50] < .milliseconds(3))
                #expect(try #require(times["resume"]).sorted()[50] < .milliseconds(3))
                #expect(try #require(times["first command after it"]).sorted()[50] < .milliseconds(10))
            }
        }
    }
}
