import FastableCore
import Foundation
import Glibc
import NIOPosix
import NodeLinux
import NodeSandbox
import TestSupport
import Testing

extension ContainerTests {
    @Suite(.serialized) struct Recovery {
        @Test func containersAndCommandsOutliveTheDaemon() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                let before = try await node.manager.ensure(spec)
                let session = try await node.start(spec, "echo first; sleep 1; echo second; exit 7")
                try await node.restart()
                let status = try #require(await node.manager.status(spec.project))
                #expect(status.state == .running)
                #expect(status.container == before.id)
                #expect(try await node.manager.ensure(spec).id == before.id)
                let again = try await node.manager.exec(session.exec, of: spec.project)
                let output = try await TestNode.collect(again)
                #expect(output.out == "first\nsecond\n")
                #expect(output.status == 7)
            }
        }

        /// Its folder of commands cannot be read at first, as on a disk that comes late.
        @Test func aContainerThatDoesNotAnswerAtOnceIsTriedAgain() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                let before = try await node.manager.ensure(spec)
                let session = try await node.start(spec, "echo first; sleep 2; echo second; exit 7")
                let execs = before.volume.paths.execs
                await node.manager.close()
                rename(execs, execs + ".away")
                try AtomicFile.write(execs, [])
                let log = LogRecorder()
                let mended = Task {
                    try await eventually { log.contains("a container does not answer") }
                    unlink(execs)
                    rename(execs + ".away", execs)
                }
                try await node.restart(log.logger)
                try await mended.value
                #expect((1..<Limits.containerAdoptionAttempts).contains(log.count("a container does not answer")))
                #expect(await node.manager.status(spec.project)?.state == .running)
                #expect(try await node.manager.ensure(spec).id == before.id)
                let output = try await TestNode.collect(
                    try await node.manager.exec(session.exec, of: spec.project))
                #expect(output.out == "first\nsecond\n" && output.status == 7)
            }
        }

        @Test func resultsAreThereWithoutAContainer() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                let session = try await node.start(spec, "echo result; exit 3")
                #expect(try await TestNode.collect(session).status == 3)
                await node.manager.stop(spec.project, reason: "test")
                try await node.restart()
                #expect(await node.manager.status(spec.project)?.state == .stopped)
                let output = try await TestNode.collect(try await node.manager.exec(session.exec, of: spec.project))
                #expect(output.out == "result\n" && output.status == 3)
                let unknown = await #expect(throws: FastableError.self) {
                    try await node.manager.exec(ExecID(), of: spec.project)
                }
                #expect(unknown?.code == .notFound)
            }
        }

        @Test func aContainerThatDiedMeanwhileIsMadeAgain() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                let before = try await node.manager.ensure(spec)
                try await node.sh(spec, "echo kept > file")
                let process = try ProcessIdentity(pid: try node.pid(spec))
                await node.manager.close()
                kill(process.pid, SIGKILL)
                try await eventually("it has died") { !process.isAlive }
                try await node.restart()
                let status = try #require(await node.manager.status(spec.project))
                #expect(status.state == .stopped)
                #expect(status.reason.contains("restarted"))
                #expect(try await node.sh(spec, "cat file").out == "kept\n")
                #expect(try await node.manager.ensure(spec).id != before.id)
            }
        }

        @Test func aProjectWhoseRecordCannotBeReadKeepsItsIdsAndFiles() async throws {
            try await TestNode.with { node in
                let (spec, other) = (node.project(), node.project())
                try await node.sh(spec, "echo kept > file")
                let paths = node.configuration.paths.project(spec.project)
                let owner = try FileManager.default.attributesOfItem(atPath: paths.workspace)[.ownerAccountID] as? Int
                try AtomicFile.write(paths.record, Array("{".utf8))
                try await node.restart()
                #expect(await node.manager.status(spec.project) == nil)
                // Nobody else gets its ids meanwhile.
                try await node.sh(other, "echo other > file")
                let others = node.configuration.paths.project(other.project)
                #expect(
                    try FileManager.default.attributesOfItem(atPath: others.workspace)[.ownerAccountID] as? Int != owner
                )
                #expect(try await node.sh(spec, "cat file; echo again > file; cat file").out == "kept\nagain\n")
                #expect(
                    try FileManager.default.attributesOfItem(atPath: paths.workspace)[.ownerAccountID] as? Int == owner)
            }
        }

        @Test func brokenLeftoversAreRemoved() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                let kept = try await node.manager.ensure(spec)
                let paths = node.configuration.paths
                // What a daemon leaves that is killed at the wrong moment: a bundle with mounts, a link, groups.
                let stranger = ContainerID()
                let directory = "\(paths.run)/containers/\(stranger)"
                mkdir(directory, 0o711)
                mkdir(directory + "/rootfs", 0o711)
                try await HostCommand("mount", ["-t", "tmpfs", "none", directory + "/rootfs"]).runChecked("mount")
                let link = node.manager.block.interfacePrefix + "3e6"
                try await HostCommand("ip", ["link", "add", link, "type", "veth", "peer", "name", link + "p"])
                    .runChecked("add a link")
                let group = try #require(Leftovers.groups(paths.instance).first)
                mkdir("\(group)/\(stranger)", 0o755)

                try await node.restart()
                #expect(access(directory, F_OK) != 0)
                #expect(try Mounts.below(node.directory.path).isEmpty)
                #expect(!NetworkTools.interfaces().contains(link))
                #expect(access("\(group)/\(stranger)", F_OK) != 0)
                #expect(try await node.manager.ensure(spec).id == kept.id)
                #expect(try await node.sh(spec, "echo fine").out == "fine\n")
            }
        }

        @Test func takingDownKeepsTheData() async throws {
            try await TestNode.with { node in
                let specs = (0..<3).map { _ in node.project() }
                for (number, spec) in specs.enumerated() {
                    try await node.sh(spec, "echo \(number) > file; sleep 100 & echo")
                }
                let volume = try await node.manager.volume(specs[1])
                try await node.manager.tearDownAll()
                let left = await Leftovers.of(node)
                #expect(left.isEmpty, "\(left)")
                #expect(
                    Leftovers.names(node.configuration.paths.run).filter { $0 == "containers" || $0 == "runtime" }
                        .isEmpty)
                #expect(try SmallFile.read(volume.paths.workspace + "/file", atMost: 10) == Array("1\n".utf8))

                try await node.restart()
                #expect(try await node.manager.volume(specs[1]) == volume)
                for (number, spec) in specs.enumerated() {
                    #expect(try await node.sh(spec, "cat file").out == "\(number)\n")
                }
                #expect(await node.manager.statuses().count == 3)
            }
        }

        @Test func takingDownNeedsNoRecovery() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                try await node.sh(spec, "sleep 1000 & echo")
                await node.manager.close()
                // ‘fastable-node teardown’ after the daemon was killed: nothing was recovered.
                let fresh = try await SandboxManager(
                    node.configuration, group: MultiThreadedEventLoopGroup.singleton, logger: .quiet)
                try await fresh.tearDownAll()
                let left = await Leftovers.of(node)
                #expect(left.isEmpty, "\(left)")
            }
        }
    }
}
