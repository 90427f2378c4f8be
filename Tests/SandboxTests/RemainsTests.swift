import FastableCore
import Glibc
import NodeLinux
import NodeSandbox
import TestSupport
import Testing

/// What is left of a container that could not be removed keeps its slot from being used, over restarts of the daemon, until it is gone.
extension ContainerTests {
    @Suite(.serialized) struct RemainsOfContainers {
        /// Containers that the runtime knows.
        private static func known(_ node: TestNode) -> [String] {
            Leftovers.names(node.configuration.paths.run + "/runtime")
        }

        private static func expectRefusal(_ node: TestNode, _ spec: ContainerSpec) async {
            let error = await #expect(throws: FastableError.self) { try await node.manager.ensure(spec) }
            #expect(error?.code == .unavailable)
            #expect(error?.message.contains("could not") == true)
        }

        @Test func nothingIsStartedOverThem() async throws {
            try await FaultyRuntime.with { node, runtime in
                let spec = node.project()
                try await node.sh(spec, "echo kept > file; sleep 1000 & echo")
                let before = try await node.manager.ensure(spec)
                try runtime.breakDeletion()
                await node.manager.stop(spec.project, reason: "test")
                let status = try #require(await node.manager.status(spec.project))
                #expect(status.state == .failed)
                #expect(status.reason.contains("tries again"))
                await Self.expectRefusal(node, spec)
                #expect(Self.known(node) == ["\(before.id)"])
                // Somebody else has nothing to do with it.
                let other = node.project()
                #expect(try await node.sh(other, "echo fine").out == "fine\n")

                try await node.restart()
                #expect(try #require(await node.manager.status(spec.project)).state == .failed)
                await Self.expectRefusal(node, spec)
                #expect(Self.known(node).contains("\(before.id)"))

                runtime.mend()
                #expect(try await node.sh(spec, "cat file").out == "kept\n")
                #expect(!Self.known(node).contains("\(before.id)"))
            }
        }

        @Test func aSlotWithThemIsNotGivenAway() async throws {
            try await FaultyRuntime.with { node, runtime in
                let spec = node.project()
                let before = try await node.manager.ensure(spec)
                try runtime.breakDeletion()
                await #expect(throws: FastableError.self) { try await node.manager.delete(spec.project) }
                let next = node.project()
                #expect(try await node.manager.volume(next).uidBase != before.volume.uidBase)

                // The project's record is lost as well: the slot is known from what is on the host.
                await node.manager.close()
                _ = try await HostCommand("rm", ["-rf", before.volume.paths.directory]).runChecked("remove")
                try await node.restart()
                #expect(await node.manager.status(spec.project) == nil)
                let third = node.project()
                #expect(try await node.manager.volume(third).uidBase != before.volume.uidBase)

                runtime.mend()
                try await node.restart()
                #expect(Self.known(node).isEmpty)
                let fourth = node.project()
                #expect(try await node.manager.volume(fourth).uidBase == before.volume.uidBase)
            }
        }

        @Test func withoutASlotTheyKeepNewProjectsAway() async throws {
            try await FaultyRuntime.with { node, runtime in
                let spec = node.project()
                let before = try await node.manager.ensure(spec)
                let other = node.project()
                _ = try await node.manager.volume(other)
                try runtime.breakDeletion()
                await node.manager.stop(spec.project, reason: "test")
                await node.manager.close()
                let paths = node.configuration.paths
                for directory in [before.volume.paths.directory, "\(paths.run)/containers/\(before.id)"] {
                    _ = try await HostCommand("rm", ["-rf", directory]).runChecked("remove")
                }
                try await node.restart()
                await Self.expectRefusal(node, node.project())
                // Its slot is its own, whatever is left of others.
                #expect(try await node.sh(other, "echo fine").out == "fine\n")
                runtime.mend()
                try await node.restart()
                #expect(try await node.sh(node.project(), "echo fine").out == "fine\n")
            }
        }

        @Test func theyAreTriedAgainByThemselves() async throws {
            try await FaultyRuntime.with { node, runtime in
                let log = LogRecorder()
                try await node.restart(log.logger)
                let spec = node.project()
                _ = try await node.manager.ensure(spec)
                try runtime.breakDeletion()
                let began = ContinuousClock.now
                await node.manager.stop(spec.project, reason: "test")
                let failures = log.count("could not remove it from the runtime")
                #expect(failures == 1)
                await node.manager.retryRemovals(began + .seconds(Limits.removalRetryFirstSeconds - 1))
                #expect(log.count("could not remove it from the runtime") == failures, "it is too early")
                runtime.mend()
                let later = ContinuousClock.now + .seconds(Limits.removalRetryFirstSeconds)
                await node.manager.retryRemovals(later)
                #expect(Self.known(node).isEmpty)
                #expect(log.count("what was left of a container is removed") == 1)
            }
        }

        @Test func theNodeIsNotTakenDownOverThem() async throws {
            try await FaultyRuntime.with { node, runtime in
                let spec = node.project()
                _ = try await node.manager.ensure(spec)
                try runtime.breakDeletion()
                let error = await #expect(throws: FastableError.self) { try await node.manager.tearDownAll() }
                #expect(error?.code == .unavailable)
                let table = "inet fastable_\(node.configuration.paths.instance)"
                #expect(try await NetworkTools.tables().contains(table), "the rules stay in force")
                runtime.mend()
                try await node.manager.tearDownAll()
                let left = await Leftovers.of(node)
                #expect(left.isEmpty, "\(left)")
                try await node.restart()
            }
        }

        /// Without any fake: a process that the node cannot find holds one of the container's control groups.
        @Test func aBusyControlGroupIsWaitedFor() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                let before = try await node.manager.ensure(spec)
                let group = "/sys/fs/cgroup/pids/fastable-\(node.configuration.paths.instance)/\(before.id)"
                // With version 2 alone, ending a group ends everything in it.
                guard access(group, F_OK) == 0 else { return }
                let guest = Task { try await HostCommand("sleep", ["1717"]).run(timeout: .seconds(580)) }
                defer { guest.cancel() }
                let pid = try await Self.child(named: "sleep 1717")
                try Self.write("\(pid)", to: group + "/cgroup.procs")
                await node.manager.stop(spec.project, reason: "test")
                #expect(try #require(await node.manager.status(spec.project)).state == .failed)
                await Self.expectRefusal(node, spec)
                #expect(access(group, F_OK) == 0)
                kill(pid, SIGKILL)
                #expect(try await node.sh(spec, "echo fine").out == "fine\n")
                #expect(access(group, F_OK) != 0)
            }
        }

        private static func write(_ text: String, to path: String) throws {
            try FileDescriptor(opening: path, O_WRONLY).writeAll(Array(text.utf8))
        }

        /// A process that this one started.
        private static func child(named command: String) async throws -> Int32 {
            var found: Int32?
            try await eventually("‘\(command)’ runs") {
                for name in Leftovers.names("/proc") {
                    guard let pid = Int32(name),
                        let bytes = (try? SmallFile.read("/proc/\(pid)/cmdline", atMost: 4096)).flatMap({ $0 }),
                        String(decoding: bytes, as: UTF8.self) == command.replacing(" ", with: "\0") + "\0",
                        let status = (try? SmallFile.read("/proc/\(pid)/stat", atMost: 4096)).flatMap({ $0 }),
                        String(decoding: status, as: UTF8.self).contains(") S \(getpid()) ")
                    else { continue }
                    found = pid
                }
                return found != nil
            }
            return try #require(found)
        }
    }
}
