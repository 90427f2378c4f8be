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
        let error = #expect(throws: FastableError.self) { try full.checkForStart() }
        #expect(error?.code == .unavailable)
        #expect(error?.message.contains("fs.delete") == true)
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

/// A file system in a file: of a kind that nodes have. One in memory cannot be mapped to the ids of containers before Linux 6.3.
private struct SmallDisk {
    private let directory: TemporaryDirectory
    var path: String { directory.path + "/disk" }
    private var taken: String { path + "/taken" }

    init() async throws {
        directory = try TemporaryDirectory(mode: 0o711)
        let image = directory.path + "/image"
        try await HostCommand("truncate", ["-s", "512M", image]).runChecked("make an empty file")
        try await HostCommand("mkfs.ext4", ["-q", "-F", "-m", "0", "-N", "12000", "-O", "^has_journal", image])
            .runChecked("make a file system")
        try Errno.check { mkdir(path, 0o755) }
        // Its loop device goes with the mount.
        try await HostCommand("mount", ["-o", "loop,noinit_itable", image, path]).runChecked("mount")
    }

    func take(_ shortage: ContainerTests.FullDisks.Shortage) throws {
        switch shortage {
        case .bytes: try takeBytes(leaving: 100 << 20)
        case .files: try takeFiles(leaving: 5000)
        }
    }

    /// Blocks are set apart; nothing is written.
    func takeBytes(leaving left: Int) throws {
        let file = try FileDescriptor(opening: taken, O_CREAT | O_WRONLY | O_CLOEXEC, mode: 0o600)
        var size = 0
        var piece = try #require(DiskSpace(path)).freeBytes - left
        // What the file system needs for itself makes the last pieces smaller.
        while piece >= 4096 {
            if posix_fallocate(file.number, size, piece) == 0 { size += piece } else { piece /= 2 }
            piece = min(piece, try #require(DiskSpace(path)).freeBytes - left)
        }
        #expect(try #require(DiskSpace(path)).freeBytes <= left)
    }

    private func takeFiles(leaving left: Int) throws {
        try Errno.check { mkdir(taken, 0o700) }
        let free = try #require(DiskSpace(path)?.freeInodes)
        for number in left..<free { close(creat(taken + "/\(number)", 0o600)) }
        #expect(try #require(DiskSpace(path)?.freeInodes) <= left)
    }

    func giveBack() async throws { try await HostCommand("rm", ["-r", taken]).runChecked("free the disk") }

    func remove() async throws { try await HostCommand("umount", ["-l", path]).runChecked("unmount") }
}
