import FastableCore
import NodeLinux
import NodeSandbox
import Synchronization
import TestSupport
import Testing

extension ContainerTests {
    /// Containers that wait for their turn to be started.
    @Suite(.serialized) struct StartLine {
        /// What a test and the tasks that it starts have in common.
        private final class Shared<Value: Sendable>: Sendable {
            private let state: Mutex<Value>
            init(_ value: Value) { state = Mutex(value) }
            var value: Value { state.withLock { $0 } }
            func change(_ body: @Sendable (inout Value) -> Void) { state.withLock { body(&$0) } }
        }

        private static func tellsItsPlace(_ node: TestNode, _ spec: ContainerSpec, _ position: Int) async throws {
            try await eventually("it is number \(position)") {
                await node.manager.status(spec.project)?.queue?.position == position
            }
        }

        @Test func theyStartInTheirOrderAndTellTheirPlace() async throws {
            let memory = Shared(0)
            try await TestNode.with { configuration in
                configuration.startsAtOnce = 1
                configuration.availableMemory = { memory.value }
            } _: { node in
                let manager = node.manager
                let specs = (0..<3).map { _ in node.project() }
                let told = Shared<[StartProgress]>([])
                var starts: [Task<ContainerID, any Error>] = []
                for (number, spec) in specs.enumerated() {
                    starts.append(
                        Task {
                            try await manager.ensure(spec) { progress in
                                guard number == 2 else { return }
                                told.change { $0.append(progress) }
                            }.id
                        })
                    try await Self.tellsItsPlace(node, spec, number + 1)
                }
                let status = try #require(await manager.status(specs[2].project))
                #expect(status.state == .creating && status.queue?.waiting == 3)
                #expect(status.reason.contains("number 3 of 3") && status.reason.contains("memory"))
                let explained = try await manager.explain(specs[2].project)
                #expect(explained.text.contains("number 3 of 3") && explained.queue?.position == 3)
                #expect(manager.startLoad == StartLoad(running: 0, waiting: 3))
                try await eventually("its listener is told") {
                    told.value.contains { $0.stage == .waiting && $0.message.contains("number 3") }
                }
                // One that nobody waits for any more is not started, and those behind it move up.
                starts[0].cancel()
                try await Self.tellsItsPlace(node, specs[1], 1)
                await #expect(throws: (any Error).self) { try await starts[0].value }
                #expect(await manager.status(specs[0].project)?.state == .stopped)
                memory.change { $0 = .max }
                for start in starts.dropFirst() { _ = try await start.value }
                #expect(manager.startLoad == StartLoad(running: 0, waiting: 0))
                #expect(await manager.status(specs[2].project)?.queue == nil)
                // The one that was given up starts like any other.
                #expect(try await node.sh(specs[0], "echo there").out == "there\n")
            }
        }

        @Test func aWaitingOneCanBeStoppedAndDeleted() async throws {
            let memory = Shared(0)
            try await TestNode.with {
                $0.availableMemory = { memory.value }
            } _: { node in
                let manager = node.manager
                let specs = [node.project(), node.project()]
                var starts: [Task<ContainerID, any Error>] = []
                for (number, spec) in specs.enumerated() {
                    starts.append(Task { try await manager.ensure(spec).id })
                    try await Self.tellsItsPlace(node, spec, number + 1)
                }
                await manager.stop(specs[0].project, reason: "asked")
                #expect(await manager.status(specs[0].project)?.state == .stopped)
                try await manager.delete(specs[1].project)
                for start in starts { await #expect(throws: FastableError.self) { try await start.value } }
                #expect(manager.startLoad == StartLoad(running: 0, waiting: 0))
            }
        }

        /// Two callers share a start; it is given up when both have gone, and not before.
        @Test func itIsGivenUpWithTheLastOfThoseWhoWait() async throws {
            let memory = Shared(0)
            try await TestNode.with {
                $0.availableMemory = { memory.value }
            } _: { node in
                let (manager, spec) = (node.manager, node.project())
                let first = Task { try await manager.ensure(spec).id }
                try await Self.tellsItsPlace(node, spec, 1)
                // This one is told where it is, and is gone by then.
                struct Gone: Error {}
                let heard = Shared(0)
                let second = Task {
                    try await manager.ensure(spec) { _ in
                        heard.change { $0 += 1 }
                        throw Gone()
                    }.id
                }
                try await eventually { heard.value == 1 }
                #expect(await manager.status(spec.project)?.queue?.position == 1, "the first still waits")
                memory.change { $0 = .max }
                let id = try await first.value
                #expect(try await second.value == id)
            }
        }

        @Test func theNextWaitsForThePaceAndIsToldHowLong() async throws {
            try await TestNode.with {
                $0.startsPerMinute = 1
            } _: { node in
                let (manager, specs) = (node.manager, [node.project(), node.project()])
                _ = try await manager.ensure(specs[0])
                let second = Task { try await manager.ensure(specs[1]).id }
                try await Self.tellsItsPlace(node, specs[1], 1)
                let status = try #require(await manager.status(specs[1].project))
                #expect((1...60).contains(status.queue?.expectedSeconds ?? 0), "\(status)")
                #expect(status.reason.contains("Its turn comes in about"), "\(status)")
                #expect(manager.startLoad == StartLoad(running: 0, waiting: 1))
                // Commands in the first go on, and it takes nobody's turn when it is there already.
                #expect(try await node.sh(specs[0], "echo there").out == "there\n")
                await manager.stop(specs[1].project, reason: "asked")
                await #expect(throws: FastableError.self) { try await second.value }
            }
        }

        @Test func manyStartAFewAtATime() async throws {
            try await TestNode.with {
                $0.startsAtOnce = 2
            } _: { node in
                let manager = node.manager
                let specs = (0..<6).map { _ in node.project() }
                let most = Shared(0)
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for spec in specs { group.addTask { _ = try await manager.ensure(spec) } }
                    let watcher = Task {
                        while !Task.isCancelled {
                            let running = manager.startLoad.running
                            most.change { $0 = max($0, running) }
                            try await Task.sleep(for: .milliseconds(1))
                        }
                    }
                    try await group.waitForAll()
                    watcher.cancel()
                }
                #expect(most.value == 2)
                for spec in specs { #expect(await manager.status(spec.project)?.state == .running) }
            }
        }
    }
}

@Suite struct HostMemoryTests {
    @Test func whatTheKernelTellsIsRead() throws {
        let text = "MemTotal:       24683648 kB\nMemFree:        19158876 kB\nMemAvailable:   23452012 kB\n"
        #expect(HostMemory.available(in: text) == 23_452_012 * 1024)
        #expect(HostMemory.available(in: "MemTotal: 1 kB\n") == nil)
        #expect(HostMemory.available(in: "MemAvailable: \(Int.max) kB\n") == nil)
        #expect(try #require(HostMemory.available()) > 0)
    }
}
