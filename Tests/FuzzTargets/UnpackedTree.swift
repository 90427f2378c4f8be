import FastableCore
import FoundationEssentials
import Glibc
import NodeFiles
import NodeLinux

/// An archive in a directory, with files beside that directory which nothing may change.
enum UnpackedTree {
    static func check(_ archive: [UInt8], cut: Int) throws {
        let base = try directory()
        defer { try? FileManager.default.removeItem(atPath: base) }
        let workspace = base + "/workspace"
        let outside = base + "/outside"
        for path in [workspace, outside] { try Errno.check { mkdir(path, 0o755) } }
        try put("secret", at: outside + "/secret")
        try put("mine", at: workspace + "/mine")
        try Errno.check { symlink("../outside", workspace + "/out") }
        try Errno.check { symlink("/workspace/mine", workspace + "/absolute") }

        var unpacker = TreeUnpacker(top: try RootedDirectory(path: workspace), owner: getuid())
        do {
            for start in stride(from: 0, to: archive.count, by: cut) {
                try unpacker.feed(archive[start..<min(start + cut, archive.count)])
            }
        } catch let error as FastableError {
            try require(error.code != .internal, "an error that nobody expected: \(error)")
        }
        _ = consume unpacker
        try require(try names(base) == ["outside", "workspace"], "something beside the directory")
        try require(try names(outside) == ["secret"], "something outside of the directory")
        let secret = try FileDescriptor(opening: outside + "/secret", O_RDONLY)
        try require(try secret.readAll(limit: 100) == Array("secret".utf8), "a file outside was changed")
        try require(try secret.status().mode & 0o7777 == 0o644, "the mode of a file outside was changed")
        try checkKinds(below: workspace, namesAreOurs: archive.contains(prefix))
    }

    /// Of the names that files have before they are complete.
    private static let prefix = Array(".fastable-".utf8)

    /// In memory where that is possible: fast, and no disk is worn out.
    private static func directory() throws -> String {
        let parent = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"
        var template = Array("\(parent)/fastable-fuzz-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Errno.last }
        return String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    private static func put(_ text: String, at path: String) throws {
        let file = try FileDescriptor(opening: path, O_WRONLY | O_CREAT | O_EXCL, mode: 0o644)
        try file.writeAll(Array(text.utf8))
        chmod(path, 0o644)
    }

    private static func names(_ path: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: path).sorted()
    }

    private static func checkKinds(below path: String, namesAreOurs: Bool) throws {
        for name in try names(path) {
            var status = stat()
            guard lstat(path + "/" + name, &status) == 0 else { throw Errno.last }
            switch status.st_mode & S_IFMT {
            case S_IFDIR: try checkKinds(below: path + "/" + name, namesAreOurs: namesAreOurs)
            case S_IFREG, S_IFLNK: break
            default: throw FuzzFinding(description: "a special file was made")
            }
            try require(status.st_mode & 0o7000 == 0 || status.st_mode & S_IFMT == S_IFLNK, "a set-id bit was made")
            try require(namesAreOurs || !name.utf8.starts(with: prefix), "a temporary file was left")
        }
    }
}
