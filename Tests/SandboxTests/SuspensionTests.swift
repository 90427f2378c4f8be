import FastableCore
import FoundationEssentials
import Glibc
import NIOCore
import NodeFiles
import NodeLinux
import NodeSandbox
import TestSupport
import Testing

extension ContainerTests {
    /// Containers that stand still.
    @Suite(.serialized) struct Suspension {
        static let counting = "i=0; while true; do i=$((i+1)); echo $i > count; done"

        static func count(_ node: TestNode, _ spec: ContainerSpec) -> Int {
            let path = node.configuration.paths.project(spec.project).workspace + "/count"
            let bytes = (try? SmallFile.read(path, atMost: 64)).flatMap { $0 } ?? []
            return Int(String(decoding: bytes, as: UTF8.self).filter(\.isNumber)) ?? 0
        }

        /// The counter does not move for a while in which it would move by thousands.
        static func standsStill(_ node: TestNode, _ spec: ContainerSpec) async throws -> Bool {
            let before = count(node, spec)
            try await Task.sleep(for: .milliseconds(100))
            return count(node, spec) == before
        }

        static func counts(_ node: TestNode, _ spec: ContainerSpec) async throws {
            let before = count(node, spec)
            try await eventually("the counter moves") { count(node, spec) > before }
        }

        static func state(_ node: TestNode, _ spec: ContainerSpec) async -> ContainerState? {
            await node.manager.status(spec.project)?.state
        }

        @Test func allProcessesStandStillAndGoOn() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                let session = try await node.start(spec, Self.counting)
                try await Self.counts(node, spec)
                let refused = await #expect(throws: FastableError.self) {
                    try await node.manager.suspend(spec.project, force: false)
                }
                #expect(refused?.code == .conflict)
                #expect(refused?.message.contains("1 command (\(session.exec))") == true)
                try await Self.counts(node, spec)

                try await node.manager.suspend(spec.project, force: true)
                let status = try #require(await node.manager.status(spec.project))
                #expect(status.state == .suspended)
                #expect(status.since != nil)
                #expect(try await Self.standsStill(node, spec))
                // PID 1 as well.
                #expect(try Self.isFrozen(node, spec))
                // Once more is no error.
                try await node.manager.suspend(spec.project, force: true)

                #expect(try await node.manager.awake(spec.project)?.id == status.container)
                #expect(await Self.state(node, spec) == .running)
                try await Self.counts(node, spec)
            }
        }

        /// Every process of the container, init too, is in the group that stands still.
        private static func isFrozen(_ node: TestNode, _ spec: ContainerSpec) throws -> Bool {
            let tree = try CgroupTree(ownMount: node.configuration.paths.run + "/cgroup2")
            let pid = try node.pid(spec)
            let lines = try #require(try SmallFile.read("/proc/\(pid)/cgroup", atMost: 4096))
            let group = try #require(
                String(decoding: lines, as: UTF8.self).split(separator: "\n").first { $0.hasPrefix("0::/") })
            #expect(group.contains("fastable-\(node.configuration.paths.instance)/ctr_"))
            let frost = try tree.frost(of: String(group.dropFirst("0::/".count)))
            return frost.isWanted && frost.isComplete
        }

        @Test func aCommandWakesIt() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                let before = try await node.manager.ensure(spec)
                try await node.sh(spec, "echo kept > /tmp/file")
                for _ in 0..<3 {
                    try await node.manager.suspend(spec.project, force: false)
                    #expect(await Self.state(node, spec) == .suspended)
                    #expect(try await node.sh(spec, "cat /tmp/file").out == "kept\n")
                    #expect(await Self.state(node, spec) == .running)
                }
                #expect(try await node.manager.ensure(spec).id == before.id)
            }
        }

        @Test func callersThatComeTogetherShareOneWaking() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                let id = try await node.manager.ensure(spec).id
                let manager = node.manager
                for _ in 0..<5 {
                    try await manager.suspend(spec.project, force: false)
                    try await withThrowingTaskGroup(of: ContainerID?.self) { group in
                        for _ in 0..<8 { group.addTask { try await manager.ensure(spec).id } }
                        for _ in 0..<8 { group.addTask { try await manager.awake(spec.project)?.id } }
                        for try await found in group { #expect(found == id) }
                    }
                }
            }
        }

        /// Suspended and needed at the same moments: no command is ever left standing still.
        @Test func commandsAndSuspensionsThatRaceLeaveNoCommandBehind() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                _ = try await node.manager.ensure(spec)
                let manager = node.manager
                let done = EndedExecs()
                let end = ExecID()
                let suspending = Task {
                    while !done.contains(end) {
                        try? await manager.suspend(spec.project, force: false)
                        await Task.yield()
                    }
                }
                for number in 0..<100 { #expect(try await node.sh(spec, "echo \(number)").out == "\(number)\n") }
                done.insert(end)
                await suspending.value
            }
        }

        @Test func filesNeedNoProcess() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                try await node.sh(spec, "echo text > file")
                try await node.manager.suspend(spec.project, force: false)
                let volume = try await node.manager.volume(of: spec.project)
                let project = spec.project
                let files = try FileService(root: volume.paths.workspace, uidBase: volume.uidBase) {
                    [manager = node.manager] in try await manager.searchGroup(of: project)
                }
                try node.manager.usesFiles(of: spec.project)
                #expect(try await files.read(FileRead(path: "file")).content == "text\n")
                #expect(try await files.grep(FileGrep(pattern: "text")).matches.count == 1)
                #expect(await Self.state(node, spec) == .suspended)
                #expect(try Self.isFrozen(node, spec))
            }
        }

        @Test func inputWakesAndIsRead() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                let container = try await node.manager.ensure(spec)
                let session = try await container.start(
                    exec: ExecID(),
                    command: ExecCommand(arguments: ["/bin/cat"], environment: ["PATH": "/bin"], takesInput: true),
                    user: ExecUser(uid: 0, gid: 0))
                try await node.manager.suspend(spec.project, force: true)
                try await node.manager.needsCommand(of: spec.project)
                try await session.write(ByteBuffer(string: "hello\n"), at: nil)
                try session.finishInput()
                #expect(try await TestNode.collect(session).out == "hello\n")
                #expect(await Self.state(node, spec) == .running)
            }
        }

        @Test func aCommandThatStandsStillCanBeEnded() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                let session = try await node.start(spec, "sleep 1000")
                try await node.manager.suspend(spec.project, force: true)
                let container = try #require(try await node.manager.awake(spec.project))
                let receipt = try await container.execs.end(session.exec, signal: 15, grace: .seconds(5))
                #expect(receipt.everythingEnded)
                #expect(try await TestNode.collect(session).status == 255)
            }
        }

        @Test func itCanBeStoppedKilledAndDeleted() async throws {
            try await TestNode.with { node in
                let specs = (0..<3).map { _ in node.project() }
                for spec in specs {
                    try await node.sh(spec, "echo kept > file; sleep 1000 & echo")
                    _ = try await node.start(spec, Self.counting)
                    try await node.manager.suspend(spec.project, force: true)
                }
                await node.manager.stop(specs[0].project, reason: "test")
                #expect(await Self.state(node, specs[0]) == .stopped)
                #expect(try await node.sh(specs[0], "cat file").out == "kept\n")

                kill(try node.pid(specs[1]), SIGKILL)
                try await eventually { await Self.state(node, specs[1]) == .stopped }
                #expect(await node.manager.status(specs[1].project)?.reason.contains("ended unexpectedly") == true)
                #expect(try await node.sh(specs[1], "cat file").out == "kept\n")

                try await node.manager.delete(specs[2].project)
                #expect(await node.manager.status(specs[2].project) == nil)
            }
        }

        @Test func anOldHandleIsGoneAfterAReplacement() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                let before = try await node.manager.ensure(spec)
                try await node.manager.suspend(spec.project, force: false)
                await node.manager.stop(spec.project, reason: "test")
                let after = try await node.manager.ensure(spec)
                #expect(after.id != before.id)
                let command = ExecCommand(arguments: ["/bin/true"])
                let error = await #expect(throws: FastableError.self) {
                    try await before.start(exec: ExecID(), command: command, user: ExecUser(uid: 0, gid: 0))
                }
                #expect(error?.code == .gone)
                // Nor does it reach the new one under the old name.
                let crossed = await #expect(throws: FastableError.self) {
                    try await after.execs.start(
                        exec: ExecID(), container: before.id, command: command, user: ExecUser(uid: 0, gid: 0))
                }
                #expect(crossed?.code == .gone)
            }
        }
    }
}
