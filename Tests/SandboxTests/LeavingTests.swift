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
