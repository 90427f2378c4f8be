import FastableCore
import FoundationEssentials
import NIOCore
import NodeSandbox
import Synchronization
import TestSupport
import Testing

extension ContainerTests {
    /// Commands that the controller tells of before they are on record.
    @Suite(.serialized) struct AnnouncedStart {
        /// Leave to begin, which a test gives or refuses.
        private final class Leave: Sendable {
            private let asked = Mutex(false)
            private let (stream, answer) = AsyncThrowingStream.makeStream(of: Void.self)

            var isAsked: Bool { asked.withLock { $0 } }

            func wait() async throws {
                asked.withLock { $0 = true }
                for try await _ in stream { return }
                throw CancellationError()
            }

            func give() { answer.yield() }
            func refuse() { answer.finish(throwing: FastableError(.cancelled, "It could not be recorded.")) }
        }

        private static func announce(
            _ exec: ExecID, _ script: String, _ leave: Leave, _ node: TestNode, _ spec: ContainerSpec
        ) -> Task<TestNode.Output, any Error> {
            let command = ExecCommand(
                arguments: ["/bin/sh", "-c", script], environment: ["PATH": "/bin"], timeoutMilliseconds: 600_000)
            let start = ExecStart(exec: exec, container: spec, command: command)
            let manager = node.manager
            return Task {
                try await TestNode.collect(try await manager.begin(start, leave: { try await leave.wait() }))
            }
        }

        private static func hasRun(_ node: TestNode, _ spec: ContainerSpec) -> Bool {
            let workspace = node.configuration.paths.project(spec.project).workspace
            return (try? SmallFile.read(workspace + "/ran", atMost: 16)).flatMap { $0 } != nil
        }

        @Test func itStartsWhenItIsOnRecordAndNotBefore() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                try await node.sh(spec, "true")
                let leave = Leave()
                let command = Self.announce(ExecID(), "echo x > ran; exit 3", leave, node, spec)
                try await eventually("it is ready") { leave.isAsked }
                try await Task.sleep(for: .milliseconds(100))
                #expect(!Self.hasRun(node, spec))
                leave.give()
                #expect(try await command.value.status == 3)
                #expect(Self.hasRun(node, spec))
            }
        }

        @Test func oneThatIsTakenBackNeverStarts() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                try await node.sh(spec, "true")
                let (exec, leave) = (ExecID(), Leave())
                let command = Self.announce(exec, "echo x > ran", leave, node, spec)
                try await eventually("it is ready") { leave.isAsked }
                leave.refuse()
                let refused = await #expect(throws: FastableError.self) { _ = try await command.value }
                #expect(refused?.code == .cancelled)
                #expect(!Self.hasRun(node, spec))
                // Nothing of it is left: the same id can be started still.
                let again = Leave()
                again.give()
                #expect(try await Self.announce(exec, "exit 4", again, node, spec).value.status == 4)
            }
        }

        @Test func whatWasEndedMeanwhileNeverStarts() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                try await node.sh(spec, "true")
                let (exec, leave) = (ExecID(), Leave())
                let command = Self.announce(exec, "echo x > ran", leave, node, spec)
                try await eventually("it is ready") { leave.isAsked }
                node.manager.ended.insert(exec)
                leave.give()
                let refused = await #expect(throws: FastableError.self) { _ = try await command.value }
                #expect(refused?.code == .cancelled)
                #expect(!Self.hasRun(node, spec))
            }
        }

        /// Its container was ended while it waited: it gets the next one.
        @Test func itOutlivesTheContainerThatItWasMadeReadyFor() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                try await node.sh(spec, "true")
                let leave = Leave()
                let command = Self.announce(ExecID(), "exit 7", leave, node, spec)
                try await eventually("it is ready") { leave.isAsked }
                await node.manager.stop(spec.project, reason: "asked")
                leave.give()
                #expect(try await command.value.status == 7)
            }
        }

        @Test func noContainerIsMadeOrWokenForIt() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                let first = Leave()
                let making = Self.announce(ExecID(), "exit 5", first, node, spec)
                try await eventually("it is asked for") { first.isAsked }
                #expect(await node.manager.status(spec.project) == nil)
                first.give()
                #expect(try await making.value.status == 5)

                try await node.manager.suspend(spec.project, force: false)
                let second = Leave()
                let waking = Self.announce(ExecID(), "exit 6", second, node, spec)
                try await eventually("it is asked for") { second.isAsked }
                #expect(await node.manager.status(spec.project)?.state == .suspended)
                second.give()
                #expect(try await waking.value.status == 6)
                #expect(await node.manager.status(spec.project)?.state == .running)
            }
        }
    }
}
