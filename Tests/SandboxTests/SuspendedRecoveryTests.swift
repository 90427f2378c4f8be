import FastableCore
import FoundationEssentials
import Glibc
import NodeLinux
import NodeSandbox
import TestSupport
import Testing

extension ContainerTests {
    /// The daemon ends and starts while containers stand still.
    @Suite(.serialized) struct SuspendedRecovery {
        private typealias Suspension = ContainerTests.Suspension

        @Test func oneThatStandsStillIsTakenUpAsItIs() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                let before = try await node.manager.ensure(spec)
                let session = try await node.start(
                    spec, "echo first; while [ ! -e go ]; do sleep 0.1; done; echo second; exit 7")
                try await eventually { session.status.stdoutBytes > 0 }
                try await node.manager.suspend(spec.project, force: true)
                let since = try #require(await node.manager.status(spec.project)?.since)
                // The best of some: what else the machine does at a moment is no part of it.
                var best = Duration.seconds(3600)
                for _ in 0..<3 where best >= .seconds(Limits.initGreetingSeconds) {
                    best = min(best, try await ContinuousClock().measure { try await node.restart() })
                }
                #expect(best < .seconds(Limits.initGreetingSeconds), "nobody waits for its init, which cannot answer")
                let status = try #require(await node.manager.status(spec.project))
                #expect(status.state == .suspended && status.container == before.id)
                #expect(status.since == since || abs(status.since?.timeIntervalSince(since) ?? 9) <= 1)
                // What was printed and how the command goes on is known once it is awake.
                try await node.sh(spec, "touch go")
                #expect(try await node.manager.ensure(spec).id == before.id)
                let output = try await TestNode.collect(try await node.manager.exec(session.exec, of: spec.project))
                #expect(output.out == "first\nsecond\n" && output.status == 7)
            }
        }

        @Test func whoeverAsksForARunningCommandWakesIt() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                let ended = try await node.start(spec, "echo result; exit 3")
                #expect(try await TestNode.collect(ended).status == 3)
                let runs = try await node.start(spec, "echo early; sleep 1000")
                try await eventually { runs.status.stdoutBytes > 0 }
                try await node.manager.suspend(spec.project, force: true)
                try await node.restart()
                // What has ended is on the disk.
                #expect(
                    try await TestNode.collect(try await node.manager.exec(ended.exec, of: spec.project)).status == 3)
                #expect(await Suspension.state(node, spec) == .suspended)
                #expect(try await node.manager.exec(runs.exec, of: spec.project).status.running)
                #expect(await Suspension.state(node, spec) == .running)
            }
        }

        /// Killed after the kernel was told and before anything else was.
        @Test func aSuspensionThatNobodyRecordedIsSeen() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                _ = try await node.start(spec, Suspension.counting)
                try await Suspension.counts(node, spec)
                let tree = try CgroupTree(ownMount: node.configuration.paths.run + "/cgroup2")
                let id = try await node.manager.ensure(spec).id
                let group = DelegatedGroup(node.configuration.paths.group, in: tree).present + "/\(id)"
                await node.manager.close()
                try tree.freeze(group)
                let isComplete = try tree.awaitFrost(of: group, milliseconds: 60_000) { true }
                #expect(isComplete)
                try await node.restart()
                // It stands still completely, so that is what it is, whatever the record says.
                #expect(await Suspension.state(node, spec) == .suspended)
                try await node.sh(spec, "true")
                try await Suspension.counts(node, spec)
                #expect(try await node.manager.ensure(spec).id == id)
            }
        }

        /// Killed after it was let go on and before the record was written.
        @Test func theKernelKnowsBetterThanTheRecord() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                let id = try await node.manager.ensure(spec).id
                try await node.manager.suspend(spec.project, force: true)
                try await eventually("the record is written") {
                    let record = node.configuration.paths.project(spec.project).record
                    let bytes = try SmallFile.read(record, atMost: 1 << 20) ?? []
                    return String(decoding: bytes, as: UTF8.self).contains("\"suspended\"")
                }
                await node.manager.close()
                let tree = try CgroupTree(ownMount: node.configuration.paths.run + "/cgroup2")
                try tree.thaw(DelegatedGroup(node.configuration.paths.group, in: tree).present + "/\(id)")
                try await node.restart()
                #expect(await Suspension.state(node, spec) == .running)
                #expect(try await node.sh(spec, "echo fine").out == "fine\n")
                #expect(try await node.manager.ensure(spec).id == id)
            }
        }

        @Test func oneThatDiedMeanwhileIsMadeAgain() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                let before = try await node.manager.ensure(spec)
                try await node.sh(spec, "echo kept > file")
                let process = try ProcessIdentity(pid: try node.pid(spec))
                try await node.manager.suspend(spec.project, force: true)
                await node.manager.close()
                kill(process.pid, SIGKILL)
                try await eventually("it has died") { !process.isAlive }
                try await node.restart()
                #expect(await Suspension.state(node, spec) == .stopped)
                #expect(try await node.sh(spec, "cat file").out == "kept\n")
                #expect(try await node.manager.ensure(spec).id != before.id)
            }
        }

        @Test func oneWhoseInitDoesNotAnswerIsEndedInTimeAndMadeAgain() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                let before = try await node.manager.ensure(spec)
                try await node.sh(spec, "echo kept > file")
                let process = try ProcessIdentity(pid: try node.pid(spec))
                try await node.manager.suspend(spec.project, force: true)
                // From here on nobody talks to it before it is woken.
                try await node.restart()
                #expect(await Suspension.state(node, spec) == .suspended)
                #expect(kill(process.pid, SIGSTOP) == 0)
                let began = ContinuousClock.now
                await expectFailure(.unavailable) { _ = try await node.manager.awake(spec.project) }
                // With room for what else the machine does.
                #expect(ContinuousClock.now - began < .seconds(Limits.containerResumeSeconds + 10))
                let status = try #require(await node.manager.status(spec.project))
                #expect(status.state == .failed && status.reason.contains("so it was ended"), "\(status)")
                #expect(try await node.sh(spec, "cat file").out == "kept\n")
                #expect(try await node.manager.ensure(spec).id != before.id)
                #expect(!process.isAlive)
            }
        }

        @Test func itCanBeStoppedAndDeletedWithoutEverHavingBeenTalkedTo() async throws {
            try await TestNode.with { node in
                let specs = (0..<2).map { _ in node.project() }
                for spec in specs {
                    try await node.sh(spec, "echo kept > file; sleep 1000 & echo")
                    try await node.manager.suspend(spec.project, force: true)
                }
                try await node.restart()
                await node.manager.stop(specs[0].project, reason: "test")
                #expect(await Suspension.state(node, specs[0]) == .stopped)
                #expect(try await node.sh(specs[0], "cat file").out == "kept\n")
                try await node.manager.delete(specs[1].project)
                #expect(await node.manager.status(specs[1].project) == nil)
            }
        }

        @Test func theTimeOfASuspensionGoesOnOverARestart() async throws {
            try await TestNode.with { node in
                var spec = node.project()
                spec.lifecycle = LifecyclePolicy(idleSeconds: 10, stopAfterSeconds: 1000)
                _ = try await node.manager.ensure(spec)
                let began = ContinuousClock.now
                try await node.manager.suspend(spec.project, force: true)
                let next = try #require(try await node.manager.explain(spec.project).next)
                let since = Int((ContinuousClock.now - began) / .seconds(1))
                #expect(next.step == .stop && (998 - since...1000).contains(next.inSeconds))
                try await Task.sleep(for: .seconds(2))
                try await node.restart()
                let asked = ContinuousClock.now
                let later = try #require(try await node.manager.explain(spec.project).next)
                #expect(later.step == .stop && later.inSeconds <= next.inSeconds - 2)
                await node.manager.sweep(asked + .seconds(later.inSeconds - 1))
                #expect(await Suspension.state(node, spec) == .suspended)
                await node.manager.sweep(.now + .seconds(later.inSeconds + 2))
                #expect(await Suspension.state(node, spec) == .stopped)
                #expect(
                    await node.manager.status(spec.project)?.reason.contains("was suspended for 16 minutes") == true)
            }
        }

        @Test func aWishToStopThatWasCutShortIsCarriedOut() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                try await node.sh(spec, "echo kept > file")
                await node.manager.close()
                let path = node.configuration.paths.project(spec.project).record
                var record = try JSON.decode(
                    JSONValue.self, from: Data(try #require(try SmallFile.read(path, atMost: 1 << 20))))
                if case .object(var members) = record {
                    members["wish"] = "stopped"
                    record = .object(members)
                }
                try AtomicFile.write(path, Array(try JSON.encode(record)))
                try await node.restart()
                #expect(await Suspension.state(node, spec) == .running)
                await node.manager.sweep()
                #expect(await Suspension.state(node, spec) == .stopped)
                // Who needs it again gets it, and keeps it.
                #expect(try await node.sh(spec, "cat file").out == "kept\n")
                await node.manager.sweep()
                #expect(await Suspension.state(node, spec) == .running)
            }
        }
    }
}
