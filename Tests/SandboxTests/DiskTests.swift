import FastableCore
import Glibc
import NodeFiles
import NodeLinux
import NodeSandbox
import TestSupport
import Testing

@Suite struct DiskSpaceTests {
    @Test func whatIsTooLittleIsSaid() throws {
        let bytes = Limits.nodeDiskFreeBytesLeast
        let inodes = Limits.nodeDiskFreeInodesLeast
        for enough in [inodes, Int.max, nil] {
            #expect(DiskSpace(totalBytes: .max, freeBytes: bytes, freeInodes: enough).shortage == nil)
        }
        let little = DiskSpace(totalBytes: .max, freeBytes: bytes - 1, freeInodes: nil)
        #expect(little.shortage == "255 MiB are free, 256 MiB are needed")
        let full = DiskSpace(totalBytes: .max, freeBytes: .max, freeInodes: inodes - 1)
        #expect(full.shortage == "9999 files can still be made, 10000 are needed")
    }

    @Test func aFileSystemIsRead() throws {
        let space = try #require(DiskSpace("/tmp"))
        #expect(space.totalBytes >= space.freeBytes && space.freeBytes > 0)
        #expect(DiskSpace("/nowhere") == nil)
        // The kernel's own file systems have no fixed number of files.
        #expect(DiskSpace("/proc")?.freeInodes == nil)
    }
}

extension ContainerTests {
    @Suite(.serialized) struct FullDisks {
        enum Shortage: CaseIterable { case bytes, files }

        /// A node whose state is on a disk of its own.
        private static func with(_ body: (TestNode, SmallDisk) async throws -> Void) async throws {
            let disk = try await SmallDisk()
            do {
                try await TestNode.with {
                    $0.paths = try NodePaths(
                        instance: $0.paths.instance, state: disk.path + "/s", run: $0.paths.run)
                } _: { node in
                    try await body(node, disk)
                }
            } catch {
                try await disk.remove()
                throw error
            }
            try await disk.remove()
        }

        private static func expectRefusal(_ node: TestNode, _ spec: ContainerSpec, _ words: String) async {
            let error = await #expect(throws: FastableError.self) { try await node.manager.ensure(spec) }
            #expect(error?.code == .unavailable)
            #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
            #expect(error?.retryAfterSeconds != nil)
            #expect(error?.message.contains("fs.delete") == true)
            let status = await node.manager.status(spec.project)
            #expect(status?.state == .failed)
            #expect(status?.reason.contains(words) == true)
        }

        @Test(arguments: Shortage.allCases) func onlyStartsAreRefused(_ shortage: Shortage) async throws {
            try await Self.with { node, disk in
                let running = node.project()
                try await node.sh(running, "echo kept > file; echo big > big")
                let stopped = node.project()
                try await node.sh(stopped, "echo kept > file")
                await node.manager.stop(stopped.project, reason: "test")

                try disk.take(shortage)
                let words = shortage == .bytes ? "MiB are free" : "files can still be made"
                await Self.expectRefusal(node, stopped, words)
                await Self.expectRefusal(node, node.project(), words)
                #expect(try await node.sh(running, "cat file; echo more > more; cat more").out == "kept\nmore\n")
                for spec in [running, stopped] {
                    let volume = try await node.manager.volume(of: spec.project)
                    let files = try FileService(root: volume.paths.workspace, uidBase: volume.uidBase)
                    _ = try await files.delete(FileDelete(path: spec.project == running.project ? "big" : "file"))
                }
                // Nothing is left of a start that was refused.
                #expect(Leftovers.names(node.configuration.paths.run + "/containers").count == 1)

                try await disk.giveBack()
                #expect(try await node.sh(stopped, "ls").out == "")
                #expect(try await node.sh(node.project(), "echo fine").out == "fine\n")
            }
        }

        @Test func theDaemonStartsOnAFullDiskAndWarns() async throws {
            try await Self.with { node, disk in
                let spec = node.project()
                let before = try await node.manager.ensure(spec)
                try disk.takeBytes(leaving: 0)
                let log = LogRecorder()
                try await node.restart(log.logger)
                #expect(log.count("warning the disk is nearly full") == 1)
                #expect(try await node.manager.ensure(spec).id == before.id)
                #expect(try await node.sh(spec, "echo fine").out == "fine\n")
                try await node.manager.delete(spec.project)
                await Self.expectRefusal(node, node.project(), "MiB are free")
                try await disk.giveBack()
            }
        }
    }
}
