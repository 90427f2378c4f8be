import Foundation
import Testing

/// A disk from which a test takes what is on it at any moment, as a loss of power would: without what only the kernel has in its memory.
package struct CutDisk: Sendable {
    private let directory: String
    package var path: String { directory + "/disk" }
    private var image: String { directory + "/image" }

    package static func with(_ body: (CutDisk) async throws -> Void) async throws {
        try await withTemporaryDirectory { directory in
            let disk = CutDisk(directory: directory)
            try await run("truncate", ["-s", "64M", disk.image])
            try await run("mkfs.ext4", ["-q", "-F", disk.image])
            // Of the kernel's own accord nothing comes to the disk while a test lasts.
            try await disk.mounted(disk.image, at: disk.path, options: "loop,commit=300,noauto_da_alloc") {
                try await body(disk)
            }
        }
    }

    /// Gives the path of what would be found after a loss of power now.
    package func afterLoss(_ body: (String) async throws -> Void) async throws {
        let copy = directory + "/copy"
        try await Self.run("cp", ["--sparse=always", image, copy])
        defer { unlink(copy) }
        try await mounted(copy, at: directory + "/later", options: "loop") {
            try await body(directory + "/later")
        }
    }

    private func mounted(
        _ image: String, at path: String, options: String, _ body: () async throws -> Void
    ) async throws {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        try await Self.run("mount", ["-o", options, image, path])
        do { try await body() } catch {
            try? await Self.run("umount", ["-l", path])
            throw error
        }
        try await Self.run("umount", ["-l", path])
    }

    private static func run(_ program: String, _ arguments: [String]) async throws {
        let status = try await blocking {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
            process.arguments = [program] + arguments
            try process.run()
            process.waitUntilExit()
            return process.terminationStatus
        }
        try #require(status == 0, "\(program) \(arguments)")
    }
}
