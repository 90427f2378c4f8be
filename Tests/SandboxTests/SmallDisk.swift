import Glibc
import NodeLinux
import NodeSandbox
import TestSupport
import Testing

/// A file system in a file: of a kind that nodes have. One in memory cannot be mapped to the ids of containers before Linux 6.3.
struct SmallDisk {
    private let directory: TemporaryDirectory
    var path: String { directory.path + "/disk" }
    private var taken: String { path + "/taken" }

    /// - Parameter files: how many it can hold.
    init(files: Int = 12_000) async throws {
        directory = try TemporaryDirectory(mode: 0o711)
        let image = directory.path + "/image"
        try await HostCommand("truncate", ["-s", "512M", image]).runChecked("make an empty file")
        try await HostCommand("mkfs.ext4", ["-q", "-F", "-m", "0", "-N", "\(files)", "-O", "^has_journal", image])
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
    ///
    /// - Parameter name: of the file that has them; `giveBack` knows the usual one.
    func takeBytes(leaving left: Int, in name: String = "taken") throws {
        let file = try FileDescriptor(opening: "\(path)/\(name)", O_CREAT | O_WRONLY | O_CLOEXEC, mode: 0o600)
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

    func giveBack(_ name: String = "taken") async throws {
        try await HostCommand("rm", ["-r", "\(path)/\(name)"]).runChecked("free the disk")
    }

    func remove() async throws { try await HostCommand("umount", ["-l", path]).runChecked("unmount") }
}
