import FastableCore
import FoundationEssentials
import Glibc
import NodeFiles
import NodeLinux
import TestSupport

/// A workspace in a directory of its own, with a canary beside it that nothing may see or change.
final class Workspace: Sendable {
    static let canary = "canary-\(UInt64.random(in: 0...UInt64.max))"
    static var isRoot: Bool { geteuid() == 0 }

    private let directory: TemporaryDirectory
    var base: String { directory.path }
    let path: String
    let outside: String
    let uidBase: UInt32
    let service: FileService
    var checkpoints: Checkpoints { Checkpoints(directory: base + "/checkpoints") }

    /// - Parameter inMemory: on a disk that never waits, for tests that write thousands of times.
    /// - Parameter uidBase: the host's id of the container's root, for tests that run as root.
    init(service inside: String? = nil, inMemory: Bool = false, uidBase: UInt32 = 1_500_000_000) throws {
        let parent = inMemory && access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"
        directory = try TemporaryDirectory(in: parent, mode: 0o711)
        path = directory.path + "/workspace"
        outside = directory.path + "/outside"
        self.uidBase = Self.isRoot ? uidBase : getuid()
        for directory in [path, outside, outside + "/sub"] { try Errno.check { mkdir(directory, 0o755) } }
        chown(path, self.uidBase, self.uidBase)
        for name in ["secret", "sub/secret"] {
            try Self.put(Self.canary + "\n", at: outside + "/" + name)
            chmod(outside + "/" + name, 0o644)
        }
        service = try FileService(root: inside ?? path, uidBase: self.uidBase)
    }

    private static func put(_ text: String, at path: String) throws {
        let file = try FileDescriptor(opening: path, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o644)
        try file.writeAll(Array(text.utf8))
    }

    /// Makes a file, as a process of the container would.
    func put(_ text: String, _ name: String) throws {
        try makeDirectories(name)
        try Self.put(text, at: path + "/" + name)
        chown(path + "/" + name, uidBase, uidBase)
    }

    func put(_ bytes: [UInt8], _ name: String) throws {
        try makeDirectories(name)
        try FileDescriptor(opening: path + "/" + name, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o644).writeAll(bytes)
        chown(path + "/" + name, uidBase, uidBase)
    }

    /// Makes the directories that a name needs.
    func makeDirectories(_ name: String) throws {
        var directory = path
        for part in name.split(separator: "/").dropLast() {
            directory += "/" + part
            if mkdir(directory, 0o755) == 0 { chown(directory, uidBase, uidBase) }
        }
    }

    func link(_ target: String, _ name: String) throws {
        try makeDirectories(name)
        try Errno.check { symlink(target, path + "/" + name) }
    }

    func bytes(_ name: String) throws -> [UInt8] {
        try FileDescriptor(opening: path + "/" + name, O_RDONLY).readAll(limit: .max)
    }

    func text(_ name: String) throws -> String { String(decoding: try bytes(name), as: UTF8.self) }

    func exists(_ name: String) -> Bool { (try? status(name)) != nil }

    /// Of the entry itself, also when it is a symbolic link.
    func status(_ name: String) throws -> FileStatus {
        let parts = name.split(separator: "/")
        let parent = ([Substring(path)] + parts.dropLast()).joined(separator: "/")
        return try FileDescriptor(opening: parent, O_RDONLY | O_DIRECTORY).status(of: String(parts.last ?? "."))
    }

    func names(_ directory: String = "") throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: path + "/" + directory).sorted()
    }

    /// Every file outside with its content: must be the same before and after an attack.
    func outsideState() throws -> [String] {
        let names = try FileManager.default.subpathsOfDirectory(atPath: outside).sorted()
        return try names.map { name in
            let file = try FileDescriptor(opening: outside + "/" + name, O_RDONLY)
            let status = try file.status()
            let content = status.kind == .regular ? try file.readAll(limit: 1000) : []
            return
                "\(name) \(status.mode) \(status.user) \(status.modified) \(String(decoding: content, as: UTF8.self))"
        }
    }
}

extension FileReadResult {
    /// The text without its form.
    var text: String { content ?? "" }
}
