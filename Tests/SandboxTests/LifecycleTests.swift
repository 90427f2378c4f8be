import FastableCore
import Foundation
import Glibc
import NodeLinux
import NodeSandbox
import TestSupport
import Testing

/// Tests with real containers. One at a time: they measure and count what the machine has.
@Suite(.serialized, .enabled(if: Host.runsContainers, Host.needs), .endsInTime)
struct ContainerTests {}

extension ContainerTests {
    @Suite(.serialized) struct Lifecycle {
        @Test func aContainerIsMadeOnceAndUsedAgain() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                let first = try await node.manager.ensure(spec)
                let second = try await node.manager.ensure(spec)
                #expect(first.id == second.id)
                let status = try #require(await node.manager.status(spec.project))
                #expect(status.state == .running)
                #expect(status.container == first.id)
                #expect(status.startedAt != nil)
                #expect(
                    try await node.sh(spec, "cat /etc/image; hostname; id -u").out == """
                        tiny
                        \(spec.project.description.replacing("_", with: "-"))
                        0

                        """)
            }
        }

        @Test func callersThatComeTogetherShareOneStart() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                let manager = node.manager
                let ids = try await withThrowingTaskGroup(of: ContainerID.self) { group in
                    for _ in 0..<8 { group.addTask { try await manager.ensure(spec).id } }
                    return try await group.reduce(into: Set<ContainerID>()) { $0.insert($1) }
                }
                #expect(ids.count == 1)
            }
        }

        @Test func filesOutliveTheContainerAndHandlesDoNot() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                let before = try await node.manager.ensure(spec)
                try await node.sh(
                    spec, "echo kept > file; echo layer > /etc/made; echo x > /cache/c; echo gone > /run/state")
                await node.manager.stop(spec.project, reason: "test")
                #expect(try #require(await node.manager.status(spec.project)).state == .stopped)
                let after = try await node.manager.ensure(spec)
                #expect(after.id != before.id)
                #expect(
                    try await node.sh(spec, "cat file /etc/made /cache/c; ls /run").out
                        == "kept\nlayer\nx\nfastable-init\n")
                await #expect(throws: FastableError.self) {
                    try await before.execs.start(
                        exec: ExecID(), container: before.id, command: ExecCommand(arguments: ["/bin/true"]),
                        user: ExecUser(uid: 0, gid: 0))
                }
            }
        }

        @Test func aKilledContainerSaysSoAndComesBack() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                let before = try await node.manager.ensure(spec)
                try await node.sh(spec, "echo kept > file")
                let session = try await node.start(spec, "sleep 100")
                kill(try node.pid(spec), SIGKILL)
                let error = await #expect(throws: FastableError.self) { try await TestNode.collect(session) }
                #expect(error?.code == .gone)
                try await eventually { await node.manager.status(spec.project)?.state == .stopped }
                #expect(await node.manager.status(spec.project)?.reason.contains("ended unexpectedly") == true)
                #expect(try await node.sh(spec, "cat file").out == "kept\n")
                #expect(try await node.manager.ensure(spec).id != before.id)
            }
        }

        @Test func deletingLeavesNothing() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                try await node.sh(spec, "mkdir -p a/b; echo x > a/b/c; sleep 1000 & echo $!")
                let container = try await node.manager.ensure(spec)
                try await node.manager.delete(spec.project)
                #expect(await node.manager.status(spec.project) == nil)
                #expect(access(container.volume.paths.directory, F_OK) != 0)
                #expect(Leftovers.names(node.configuration.paths.state + "/trash").isEmpty)
                #expect(Leftovers.processes(of: node.manager.block).isEmpty)
                let prefix = node.manager.block.interfacePrefix
                #expect(!NetworkTools.interfaces().contains { $0.hasPrefix(prefix) })
                #expect(try Mounts.below(node.directory.path).isEmpty)
                // Deleting what is not there is no error.
                try await node.manager.delete(spec.project)
                // Its id is never used again: a call that was under way does not bring it back.
                let late = await #expect(throws: FastableError.self) { try await node.manager.ensure(spec) }
                #expect(late?.code == .gone)
                await #expect(throws: FastableError.self) { try await node.manager.volume(spec) }
                #expect(access(container.volume.paths.directory, F_OK) != 0)
            }
        }

        @Test func deletingCutsAStartShort() async throws {
            try await TestNode.with { node in
                let manager = node.manager
                // On a busy machine a start may be over before it is seen, or before it is cut short.
                for _ in 0..<20 {
                    let spec = node.project()
                    let start = Task { try await manager.ensure(spec) }
                    try await eventually("it is being started") {
                        let state = await manager.status(spec.project)?.state
                        return state == .creating || state == .running
                    }
                    try await manager.delete(spec.project)
                    let result = await start.result
                    #expect(await manager.status(spec.project) == nil)
                    #expect(access(node.configuration.paths.project(spec.project).directory, F_OK) != 0)
                    if case .failure = result { return }
                }
                Issue.record("no start was cut short")
            }
        }

        @Test func aFailedStartSaysWhyAndLeavesNothing() async throws {
            try await TestNode.with { node in
                var spec = node.project()
                spec.image = "other"
                let missing = await #expect(throws: FastableError.self) { try await node.manager.ensure(spec) }
                #expect(missing?.code == .notFound)
                #expect(missing?.message.contains("‘tiny’") == true)
                #expect(await node.manager.status(spec.project)?.state == .failed)

                // An image in which the mount point of /proc is a file.
                let broken = node.directory.path + "/broken"
                try TinyImage.make(at: broken)
                try AtomicFile.write(broken + "/proc", Array("no directory".utf8))
                _ = try await node.manager.images.adopt(broken, name: "other", source: "dir:/broken")
                let refused = await #expect(throws: FastableError.self) { try await node.manager.ensure(spec) }
                #expect(refused?.code == .internal)
                #expect(refused?.context?.isEmpty == false)
                let status = try #require(await node.manager.status(spec.project))
                #expect(status.state == .failed)
                #expect(status.reason.contains("could not be started"))
                let prefix = node.manager.block.interfacePrefix
                #expect(!NetworkTools.interfaces().contains { $0.hasPrefix(prefix) })
                #expect(try Mounts.below(node.directory.path).isEmpty)
                #expect(Leftovers.names(node.configuration.paths.run + "/containers").isEmpty)

                // With another image the project works, and its root file system is that image's.
                spec.image = "tiny"
                #expect(try await node.sh(spec, "cat /etc/image").out == "tiny\n")
            }
        }

        @Test func anotherImageGivesAFreshRootAndTheSameFiles() async throws {
            try await TestNode.with { node in
                var spec = node.project()
                try await node.sh(spec, "echo mine > file; echo old > /etc/image")
                let rootfs = node.directory.path + "/second"
                try TinyImage.make(at: rootfs)
                try AtomicFile.write(rootfs + "/etc/image", Array("second\n".utf8), mode: 0o644)
                _ = try await node.manager.images.adopt(rootfs, name: "second", source: "dir:/second")
                await node.manager.stop(spec.project, reason: "test")
                spec.image = "second"
                #expect(try await node.sh(spec, "cat /etc/image file").out == "second\nmine\n")
                let used = await #expect(throws: FastableError.self) { try await node.manager.removeImage("second") }
                #expect(used?.code == .conflict)
                try await node.manager.removeImage("tiny")
            }
        }

        @Test func aReplacedImageIsForProjectsMadeFromNowOn() async throws {
            try await TestNode.with { node in
                var sources: [String] = []
                for name in ["one", "two"] {
                    let source = node.directory.path + "/" + name
                    try TinyImage.make(at: source)
                    try AtomicFile.write(source + "/etc/image", Array("\(name)\n".utf8), mode: 0o644)
                    sources.append("dir:" + source)
                }
                _ = try await node.manager.images.add(ImageAdd(name: "here", source: sources[0]), inPlace: true)
                var spec = node.project()
                spec.image = "here"
                try await node.sh(spec, "echo mine > file")
                let before = try await node.manager.ensure(spec)
                _ = try await node.manager.images.add(ImageAdd(name: "here", source: sources[1]), inPlace: true)
                #expect(try await node.sh(spec, "cat /etc/image").out == "one\n")
                try await node.restart()
                #expect(try await node.manager.ensure(spec).id == before.id)
                #expect(try await node.sh(spec, "cat /etc/image").out == "one\n")
                // What the project changed in its root fits to the image that it was changed on.
                try await node.sh(spec, "echo installed > /etc/mine")
                await node.manager.stop(spec.project, reason: "test")
                try await node.restart()
                #expect(try await node.sh(spec, "cat /etc/image /etc/mine file").out == "one\ninstalled\nmine\n")
                var other = node.project()
                other.image = "here"
                #expect(try await node.sh(other, "cat /etc/image").out == "two\n")
                await node.manager.stop(spec.project, reason: "test")
                try FileManager.default.removeItem(atPath: String(sources[0].dropFirst("dir:".count)))
                #expect(try await node.sh(spec, "cat /etc/image file; ls /etc/mine").out == "two\nmine\n")
            }
        }

        @Test func aCommandThatWasEndedIsNotStartedLate() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                let container = try await node.manager.ensure(spec)
                let (ended, exec) = (EndedExecs(), ExecID())
                ended.insert(exec)
                let refused = await #expect(throws: FastableError.self) {
                    _ = try await container.execs.start(
                        exec: exec, container: container.id,
                        command: ExecCommand(
                            arguments: ["/bin/sh", "-c", "echo ran > ran"], environment: ["PATH": "/bin"]),
                        user: ExecUser(uid: 0, gid: 0), ended: ended)
                }
                #expect(refused?.code == .cancelled)
                #expect(container.execs.runningCount == 0)
                #expect(try await node.sh(spec, "ls").out == "")
            }
        }

        @Test func environmentOfImageAndProjectReachesCommands() async throws {
            try await TestNode.with { node in
                var spec = node.project()
                spec.environment = ["FROM_PROJECT": "1"]
                let environment1 = try await node.manager.ensure(spec).environment
                #expect(environment1["FROM_PROJECT"] == "1")
                spec.environment = ["FROM_PROJECT": "2"]
                let environment2 = try await node.manager.ensure(spec).environment
                #expect(environment2["FROM_PROJECT"] == "2")
            }
        }

        @Test func aVolumeNeedsNoContainer() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                let volume = try await node.manager.volume(spec)
                #expect(await node.manager.status(spec.project)?.state == .absent)
                var status = stat()
                #expect(stat(volume.paths.workspace, &status) == 0)
                #expect(status.st_uid == volume.uidBase)
                try AtomicFile.write(volume.paths.workspace + "/early", Array("bird\n".utf8), mode: 0o644)
                #expect(try await node.sh(spec, "cat early").out == "bird\n")
            }
        }
    }
}
