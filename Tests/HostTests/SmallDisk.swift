import Foundation
import Glibc
import Testing

/// A file system of a few megabytes in a file, for what fills disks.
struct SmallDisk: Sendable {
    let directory: URL
    private let image: URL

    struct Size: Sendable {
        var megabytes: Int
        /// How many files it holds; as many as is usual unless given.
        var files: Int?
    }

    init(_ size: Size, at directory: URL) throws {
        self.directory = directory
        image = directory.appendingPathExtension("img")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        try Self.run("/usr/bin/truncate", ["-s", "\(size.megabytes)M", image.path])
        try Self.run("/sbin/mkfs.ext4", ["-q", "-F"] + (size.files.map { ["-N", "\($0)"] } ?? []) + [image.path])
        try Self.run("/usr/bin/mount", ["-o", "loop", image.path, directory.path])
    }

    /// What the kernel has not brought to the disk by now is lost, as by a power cut. Nothing can be read or written before it is opened.
    func cutPower() throws {
        let folder = Glibc.open(directory.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        try #require(folder >= 0)
        // `EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH`: from here on nothing is written, not even the journal.
        var how: UInt32 = 2
        let result = ioctl(folder, 0x8004_587d, &how)
        close(folder)
        try #require(result == 0, "the disk's power cannot be cut: \(errno)")
    }

    /// As it is found when there is power again. Whoever used it has ended.
    func open() throws {
        try unmount()
        // While anybody holds the old one, such as a process of another test with mounts of its own, `mount` would bring back what has no
        // power.
        for _ in 0..<1800 where !HostFacts.loopFiles(image.path).isEmpty { usleep(100_000) }
        try #require(HostFacts.loopFiles(image.path).isEmpty, "the disk without power is still in use")
        try Self.run("/usr/bin/mount", ["-o", "loop", image.path, directory.path])
    }

    func remove() {
        do { try unmount() } catch { Issue.record("the test's disk cannot be unmounted") }
    }

    private func unmount() throws {
        // What was deleted may still be written for a moment.
        for _ in 0..<600 {
            if umount2(directory.path, 0) == 0 { return }
            usleep(100_000)
        }
        try #require(umount2(directory.path, 0) == 0)
    }

    private static func run(_ program: String, _ arguments: [String]) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0, "\(program) \(arguments)")
    }
}
