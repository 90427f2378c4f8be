import FastableCore
import Glibc
import NodeLinux

/// A workspace with one of everything that a copy of it must keep.
enum SampleTree {
    static func make(in workspace: Workspace, seed: UInt8 = 7) async throws {
        try workspace.put("#!/bin/sh\necho hi\n", "bin/tool")
        try workspace.put("secret", "private/key")
        try workspace.put("", "private/empty")
        try workspace.put(
            (0..<3_000_000).map { UInt8(truncatingIfNeeded: ($0 &* 2_654_435_761) >> 7) ^ seed }, "data/large")
        try workspace.put("one file\n", "links/first")
        let path = workspace.path
        for (from, to) in [("links/first", "links/second"), ("links/first", "z-third"), ("data/large", "data/again")] {
            try Errno.check { Glibc.link(path + "/" + from, path + "/" + to) }
        }
        for name in ["node_modules/", ".git/", "empty/", "sticky/", "empty/inner/"] {
            try workspace.makeDirectories(name + "x")
        }
        try workspace.put("ignored\n", "node_modules/module.js")
        try workspace.put("node_modules\n*.log\n", ".gitignore")
        try workspace.put("log\n", "debug.log")
        for (target, name) in [("first", "links/soft"), ("nowhere", "dangling"), ("/etc/passwd", "absolute")] {
            try workspace.link(target, name)
        }
        try makeSparse(path + "/sparse", bytes: 5_000_000)
        try makeUnusualNames(workspace)
        try await HostCommand("chown", ["-hR", "\(workspace.uidBase):\(workspace.uidBase)", path]).runChecked("chown")
        // Where the file system has them.
        for (name, bytes) in [("data/large", [1, 0, 255]), ("private", []), ("bin/tool", Array("text=a\n".utf8))]
            as [(String, [UInt8])]
        {
            let file = try FileDescriptor(opening: path + "/" + name, O_RDONLY)
            try? file.set(UserAttribute(name: Array("user.fastable.\(name.count)".utf8), value: bytes))
        }
        try setAttributes(workspace)
    }

    private static func makeSparse(_ path: String, bytes: Int) throws {
        let file = try FileDescriptor(opening: path, O_WRONLY | O_CREAT | O_EXCL, mode: 0o644)
        let number = file.number
        try Errno.check { ftruncate(number, bytes) }
        try Errno.check { pwrite(number, "end", 3, bytes - 3) }
    }

    private static func makeUnusualNames(_ workspace: Workspace) throws {
        try workspace.put("line\n", "with\nnewline and \u{1f600}")
        let top = try FileDescriptor(opening: workspace.path, O_RDONLY | O_DIRECTORY)
        let latin: [CChar] = [0x62, CChar(bitPattern: 0xff), CChar(bitPattern: 0xfe), 0]
        try top.openEntry(latin, O_WRONLY | O_CREAT | O_EXCL, mode: 0o600).writeAll(Array("bytes".utf8))
        let odd = try top.makeDirectory([CChar(bitPattern: 0xe9), 0], mode: 0o755, owner: workspace.uidBase)
        try odd.openEntry("inside", O_WRONLY | O_CREAT | O_EXCL, mode: 0o644).writeAll(Array("odd".utf8))
        let long = (0..<19).map { String(repeating: "\($0 % 10)", count: 190) }.joined(separator: "/")
        try workspace.put("deep\n", long + "/" + String(repeating: "n", count: 200))
        try workspace.link(String(repeating: "t", count: 3000), "long-target")
    }

    private static func setAttributes(_ workspace: Workspace) throws {
        let path = workspace.path
        let base = workspace.uidBase
        if Workspace.isRoot {
            chown(path + "/private/key", base + 1000, base + 1001)
            chown(path + "/private", base + 1000, base + 1000)
            chown(path + "/bin/tool", base + 65_535, base)
            lchown(path + "/links/soft", base + 7, base + 8)
        }
        for (name, mode) in [
            ("bin/tool", 0o4755), ("private/key", 0o400), ("private", 0o700), ("sticky", 0o1777), ("debug.log", 0o000),
            ("empty", 0o2750), ("empty/inner", 0o500),
        ] as [(String, mode_t)] { chmod(path + "/" + name, mode) }
        for (name, seconds, part) in [
            ("bin/tool", 1_000_000_000, 123_456_789), ("links/first", 5, 0), ("data", 1_234_567_890, 1),
            ("dangling", 1_600_000_000, 999_999_999), ("empty/inner", -1, 500_000_000), ("empty", 9_000_000_000, 0),
        ] {
            let times = [timespec(tv_sec: seconds, tv_nsec: part), timespec(tv_sec: seconds, tv_nsec: part)]
            try Errno.check { utimensat(AT_FDCWD, path + "/" + name, times, AT_SYMLINK_NOFOLLOW) }
        }
        chmod(path, 0o2775)
    }
}
