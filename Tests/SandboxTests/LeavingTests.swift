import FastableCore
import FoundationEssentials
import NodeSandbox
import Synchronization
import TestSupport
import Testing

extension ContainerTests {
    /// A container ends because its project goes elsewhere.
    @Suite(.serialized) struct Leaving {
        private static func stop(_ spec: ContainerSpec, _ manner: ContainerStop.Manner) -> ContainerStop {
            ContainerStop(project: spec.project, reason: "It goes elsewhere.", manner: manner)
        }

        private static func isRunning(_ node: TestNode, _ spec: ContainerSpec) async -> Bool {
            await node.manager.status(spec.project)?.container != nil
        }

        @Test func whatWorksIsSpared() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                try await node.manager.stop(Self.stop(spec, .idle))
                let command = try await node.start(spec, "while ! test -e go; do sleep 0.05; done; echo out")
                let refused = await expectFailure(.conflict) { try await node.manager.stop(Self.stop(spec, .idle)) }
                #expect(refused?.message.contains("exe_") == true)
                #expect(await Self.isRunning(node, spec))
                try Data().write(
                    to: URL(filePath: node.configuration.paths.project(spec.project).workspace + "/go"))
                #expect(try await TestNode.collect(command).out == "out\n", "it was not disturbed")
                try await eventually("it may end") {
                    (try? await node.manager.stop(Self.stop(spec, .idle))) != nil
                }
                #expect(await !Self.isRunning(node, spec))
                #expect(await node.manager.status(spec.project)?.restingSince != nil)
                // Again is fine, and the next use makes it anew.
                try await node.manager.stop(Self.stop(spec, .idle))
                #expect(try await node.sh(spec, "echo again").out == "again\n")
            }
        }

        /// Between the look at what works and the end there is no moment in which a command could begin and be cut off.
        @Test func whoComesWhileItEndsIsNotCutOff() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                try await node.sh(spec, "true")
                let manager = node.manager
                let ends = Task { await Self.endAgainAndAgain(spec, manager) }
                let done = try await withThrowingTaskGroup(of: Int.self) { group in
                    for pause in [7, 11] {
                        group.addTask { try await Self.use(spec, manager, seconds: 4, pauseMilliseconds: pause) }
                    }
                    return try await group.reduce(0, +)
                }
                ends.cancel()
                #expect(await ends.value > 0)
                #expect(try await node.sh(spec, "cat count* | wc -l").out == "\(done)\n", "each ran once")
            }
        }

        /// Ends the container as often as nothing works in it, until the task is cancelled; tells how often.
        private static func endAgainAndAgain(_ spec: ContainerSpec, _ manager: SandboxManager) async -> Int {
            var count = 0
            while !Task.isCancelled {
                if (try? await manager.stop(stop(spec, .idle))) != nil { count += 1 }
                await Task.yield()
            }
            return count
        }

        /// Runs commands one after the other, and tells how many; one that did not begin is begun again.
        private static func use(
            _ spec: ContainerSpec, _ manager: SandboxManager, seconds: Int, pauseMilliseconds: Int
        ) async throws -> Int {
            var (done, late) = (0, 0)
            let end = ContinuousClock.now + .seconds(seconds)
            let command = ExecCommand(
                arguments: ["/bin/sh", "-c", "echo x >> count\(pauseMilliseconds)"], environment: ["PATH": "/bin"])
            while ContinuousClock.now < end {
                let container = try await manager.ensure(spec)
                let session: ExecSession
                do {
                    session = try await container.start(
                        exec: ExecID(), command: command, user: ExecUser(uid: 0, gid: 0))
                } catch let error as FastableError where error.code == .gone {
                    late += 1
                    continue
                }
                #expect(try await TestNode.collect(session).status == 0)
                done += 1
                try await Task.sleep(for: .milliseconds(Int.random(in: 0...pauseMilliseconds)))
            }
            #expect(done > 0, "\(late) came too late")
            return done
        }

        @Test func filesThatAreUsedAreWaitedFor() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                try await node.sh(spec, "true")
                let use = try node.manager.usesFiles(of: spec.project)
                await expectFailure(.conflict) { try await node.manager.stop(Self.stop(spec, .idle)) }
                let cuts = Mutex(0)
                use?.whenCut { cuts.withLock { $0 += 1 } }
                let ended = try node.manager.usesFiles(of: spec.project)
                ended?.whenCut { cuts.withLock { $0 += 100 } }
                ended?.end()
                try await node.manager.stop(Self.stop(spec, .grace))
                #expect((1...2).contains(cuts.withLock(\.self)), "those that last are cut off, and no others")
                #expect(await !Self.isRunning(node, spec))
                use?.end()
                try await node.manager.stop(Self.stop(spec, .idle))
            }
        }

        @Test func commandsAreAskedToEnd() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                let polite = try await node.start(
                    spec,
                    "trap 'echo asked >> /workspace/end; exit 3' TERM; echo up > ready; while :; do sleep 0.05; done")
                let ready = node.configuration.paths.project(spec.project).workspace + "/ready"
                try await eventually("it runs") { FileManager.default.fileExists(atPath: ready) }
                try await node.manager.stop(Self.stop(spec, .grace))
                #expect(try await TestNode.collect(polite).status == 3)
                #expect(try await node.sh(spec, "cat end").out == "asked\n")
            }
        }
    }
}
