import FastableCore
import FoundationEssentials
import NodeSandbox
import TestSupport
import Testing

extension ContainerTests {
    /// Programs that run whenever the container does.
    @Suite(.serialized) struct Supervision {
        private static func server(
            _ script: String, _ name: String = "dev", generation: Int = 1, isWanted: Bool = true
        ) -> SupervisedProcess {
            SupervisedProcess(
                name: name, arguments: ["/bin/sh", "-c", script], environment: ["PATH": "/bin"], isWanted: isWanted,
                generation: generation)
        }

        /// Tells each of its runs in a file, and goes on.
        private static let endless = "echo $$ >> runs; while :; do sleep 0.1; done"

        private static func set(
            _ processes: [SupervisedProcess], _ spec: inout ContainerSpec, _ node: TestNode
        ) async throws {
            spec.revision = (spec.revision ?? 0) + 1
            spec.supervised = processes
            try await node.manager.setSettings(
                ContainerPolicy(
                    project: spec.project, policy: LifecyclePolicy(), supervised: processes, revision: spec.revision))
        }

        private static func runs(_ spec: ContainerSpec, _ node: TestNode) -> Int {
            let path = node.configuration.paths.project(spec.project).workspace + "/runs"
            let text = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
            return text.split(separator: "\n").count
        }

        private static func state(
            _ spec: ContainerSpec, _ node: TestNode, _ name: String = "dev"
        ) async -> SupervisedStatus? {
            await node.manager.status(spec.project)?.supervised?.first { $0.name == name }
        }

        @Test func itRunsAgainAfterAStop() async throws {
            try await TestNode.with { node in
                var spec = node.project()
                spec.supervised = [Self.server(Self.endless)]
                _ = try await node.manager.ensure(spec)
                try await eventually("it runs") { Self.runs(spec, node) == 1 }
                #expect(await Self.state(spec, node)?.state == .running)
                await node.manager.stop(spec.project, reason: "test")
                #expect(await Self.state(spec, node)?.state == .resting)
                _ = try await node.manager.ensure(spec)
                try await eventually("it runs again") { Self.runs(spec, node) == 2 }
                // With a wish that came by itself as well.
                try await Self.set([Self.server(Self.endless, isWanted: false)], &spec, node)
                try await eventually("it ends") {
                    try await node.sh(spec, "ps | grep -c '[s]leep 0.1'").out == "0\n"
                }
                #expect(await Self.state(spec, node)?.state == .stopped)
                await node.manager.stop(spec.project, reason: "test")
                _ = try await node.manager.ensure(spec)
                try await node.sh(spec, "sleep 0.5")
                #expect(Self.runs(spec, node) == 2, "nobody wants it")
            }
        }

        @Test func itIsNobodysWork() async throws {
            try await TestNode.with { node in
                var spec = node.project()
                spec.supervised = [Self.server("echo run >> runs; exec sleep 1000")]
                _ = try await node.manager.ensure(spec)
                try await eventually("it runs") { Self.runs(spec, node) == 1 }
                #expect(await node.manager.status(spec.project)?.runningExecs == 0)
                try await node.manager.suspend(spec.project, force: false)
                #expect(await Self.state(spec, node)?.state == .resting)
                try await node.manager.awake(spec.project)
                try await eventually("it goes on") { await Self.state(spec, node)?.state == .running }
                #expect(Self.runs(spec, node) == 1)
                let exec = await Self.state(spec, node)?.exec
                // A project may leave while it runs.
                try await node.manager.stop(
                    ContainerStop(project: spec.project, reason: "It goes elsewhere.", manner: .idle))
                _ = try await node.manager.ensure(spec)
                try await eventually("it runs again") { Self.runs(spec, node) == 2 }
                #expect(await Self.state(spec, node)?.exec != exec)
            }
        }

        @Test func whatEndsIsStartedAgain() async throws {
            try await TestNode.with { node in
                var spec = node.project()
                spec.supervised = [
                    Self.server("echo run >> runs; test $(wc -l < runs) -gt 1 && exec sleep 1000"),
                    SupervisedProcess(name: "bad", arguments: ["/nonexistent"]),
                ]
                _ = try await node.manager.ensure(spec)
                try await eventually("it runs again") { Self.runs(spec, node) == 2 }
                #expect(await Self.state(spec, node)?.failures == 1)
                try await eventually("what cannot run is told") {
                    await Self.state(spec, node, "bad")?.failures ?? 0 >= 2
                }
                #expect(await Self.state(spec, node, "bad")?.state == .waiting)
                // Its failures keep nothing awake.
                try await node.manager.suspend(spec.project, force: false)
                // Another program under the name takes its place at once.
                try await node.manager.awake(spec.project)
                try await Self.set(
                    [Self.server(Self.endless), Self.server(Self.endless, "bad", generation: 2)], &spec, node)
                try await eventually("it runs") { await Self.state(spec, node, "bad")?.state == .running }
            }
        }

        /// What a server left in the background may hold its port.
        @Test func theNextRunBeginsWhenNothingIsLeftOfTheLast() async throws {
            try await TestNode.with { node in
                var spec = node.project()
                let script = """
                    ps | grep -q ' sleep 1001$' && echo overlap >> overlaps
                    echo run >> runs
                    (trap '' TERM; setsid sleep 1001) &
                    """
                spec.supervised = [Self.server(script)]
                _ = try await node.manager.ensure(spec)
                try await eventually("it runs again and again") { Self.runs(spec, node) >= 3 }
                try await Self.set([], &spec, node)
                try await eventually("nothing is known of it") { await Self.state(spec, node) == nil }
                #expect(try await node.sh(spec, "ps | grep ' sleep 1001$'; cat overlaps").out == "", "nothing is left")
            }
        }

        @Test func anotherDaemonTakesItOver() async throws {
            try await TestNode.with { node in
                var spec = node.project()
                spec.supervised = [Self.server(Self.endless)]
                _ = try await node.manager.ensure(spec)
                try await eventually("it runs") { Self.runs(spec, node) == 1 }
                let exec = await Self.state(spec, node)?.exec
                for _ in 0..<3 { try await node.restart() }
                try await eventually("it is known") { await Self.state(spec, node)?.state == .running }
                #expect(await Self.state(spec, node)?.exec == exec)
                // Also of one that stands still.
                try await node.manager.suspend(spec.project, force: false)
                try await node.restart()
                try await node.manager.awake(spec.project)
                try await eventually("it is known") { await Self.state(spec, node)?.state == .running }
                #expect(await Self.state(spec, node)?.exec == exec)
                #expect(Self.runs(spec, node) == 1, "it was never started twice")
                try await Self.set([Self.server(Self.endless, generation: 2)], &spec, node)
                try await eventually("it was started anew") { Self.runs(spec, node) == 2 }
                let count = try await node.sh(spec, "ps | grep -c '[w]hile :'")
                #expect(count.out == "1\n", "the first one has ended")
                try await Self.set([], &spec, node)
                try await eventually("nothing is known of it") { await Self.state(spec, node) == nil }
            }
        }
    }
}
