import Foundation
import Glibc
import NodeLinux
import TestSupport
import Testing

/// A root directory with a shell, `/dev/null` and init, and neither bash nor /proc.
enum MiniatureRoot {
    static func with<Result>(_ body: (String) async throws -> Result) async throws -> Result {
        let root = NSTemporaryDirectory() + "/fbroot-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: root) }
        let files = FileManager.default
        for folder in ["/bin", "/dev"] {
            try files.createDirectory(atPath: root + folder, withIntermediateDirectories: true)
        }
        guard mknod(root + "/dev/null", S_IFCHR | 0o666, 0x103) == 0 else { throw Errno.last }
        try files.copyItem(atPath: try #require(BuiltProgram.path("fastable-init")), toPath: root + "/fastable-init")
        try files.copyItem(
            atPath: URL(fileURLWithPath: "/bin/sh").resolvingSymlinksInPath().path, toPath: root + "/bin/sh")
        let listed = try await HostCommand("ldd", ["/bin/sh"]).run()
        for word in listed.text.split(whereSeparator: \.isWhitespace) where word.first == "/" {
            let library = String(word)
            let folder = URL(fileURLWithPath: root + library).deletingLastPathComponent().path
            try files.createDirectory(atPath: folder, withIntermediateDirectories: true)
            try files.copyItem(
                atPath: URL(fileURLWithPath: library).resolvingSymlinksInPath().path, toPath: root + library)
        }
        return try await body(root)
    }
}
