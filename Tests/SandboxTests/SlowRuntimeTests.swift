import FastableCore
import NodeSandbox
import Synchronization
import TestSupport
import Testing

extension ContainerTests {
    /// Starts whose OCI runtime takes its time.
    @Suite(.serialized) struct SlowRuntime {
        @Test func whoAsksMeanwhileHearsThatItIsBeingStarted() async throws {
            try await FaultyRuntime.with { node, runtime in
                let (manager, spec) = (node.manager, node.project())
                try runtime.holdStarts()
                let told = Mutex<[StartProgress.Stage]>([])
                let start = Task {
                    try await manager.ensure(spec) { progress in told.withLock { $0.append(progress.stage) } }.id
                }
                try await eventually("the runtime is at work") { runtime.hasHeld }
                let status = try #require(await manager.status(spec.project))
                #expect(status.state == .creating && status.start?.stage == .starting, "\(status)")
                #expect(status.reason == status.start?.message)
                #expect(try await manager.explain(spec.project).start?.stage == .starting)
                try await eventually("who waits is told") { told.withLock { $0.contains(.starting) } }
                runtime.mend()
                #expect(try await start.value == status.container)
                let running = try #require(await manager.status(spec.project))
                #expect(running.state == .running && running.start == nil, "\(running)")
            }
        }

        @Test func aStartThatHangsEndsAndTheNextOneWorks() async throws {
            try await FaultyRuntime.with { node, runtime in
                let spec = node.project()
                try runtime.holdStarts()
                let began = ContinuousClock.now
                let error = try await expectError { try await node.manager.ensure(spec) }
                let took = ContinuousClock.now - began
                #expect(runtime.hasHeld)
                #expect(error.code == .timeout && error.message.contains("took too long"), "\(error)")
                #expect(took >= .seconds(Limits.hostCommandSeconds))
                #expect(took < .seconds(Limits.containerStartSeconds))
                let status = try #require(await node.manager.status(spec.project))
                #expect(status.state == .failed && status.reason == error.message, "\(status)")
                runtime.mend()
                #expect(try await node.sh(spec, "echo fine").out == "fine\n")
            }
        }
    }
}
