import Foundation
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

    func remove() {
        // What was deleted may still be written for a moment.
        for _ in 0..<600 {
            if (try? Self.run("/usr/bin/umount", [directory.path])) != nil { return }
            usleep(100_000)
        }
        Issue.record("the test's disk cannot be unmounted")
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
