import FastableCore
import Glibc
import NodeLinux

/// Directories of the host that only root writes to.
enum Directories {
    /// Makes a directory, and those above it that are missing; sets its mode and, when given, its owner.
    static func make(_ path: String, mode: mode_t, owner: uid_t? = nil) throws {
        if mkdir(path, mode) < 0, errno == ENOENT, let slash = path.lastIndex(of: "/"), slash != path.startIndex {
            try make(String(path[..<slash]), mode: 0o711)
            mkdir(path, mode)
        }
        let directory = try open(path)
        try Errno.check { fchmod(directory.number, mode) }
        if let owner { try Errno.check { fchown(directory.number, owner, owner) } }
    }

    /// Makes a directory for somebody who may then do with it what he wants. One that exists is left as it is.
    static func makeOnce(_ path: String, owner: uid_t) throws {
        if exists(path) { return }
        // Under its name there is never one that has the wrong owner.
        try make(path + ".new", mode: 0o755, owner: owner)
        try move(path + ".new", to: path)
    }

    /// Opens a directory, never through a symbolic link at its end.
    static func open(_ path: String) throws(Errno) -> FileDescriptor {
        try FileDescriptor(opening: path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
    }

    static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    /// Who owns a directory; `nil` when there is none.
    static func owner(_ path: String) -> uid_t? {
        var status = stat()
        guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else { return nil }
        return status.st_uid
    }

    /// The names in a directory, without `.` and `..`; none when it does not exist.
    static func names(_ path: String) -> [String] {
        guard let stream = opendir(path) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// Whether there is nothing in a directory, or no directory. It may have any number of names.
    static func isEmpty(_ path: String) -> Bool {
        guard let stream = opendir(path) else { return true }
        defer { closedir(stream) }
        // The first two are usually itself and the one above.
        while let entry = readdir(stream) {
            let isOwn = withUnsafeBytes(of: &entry.pointee.d_name) { name in
                let bytes = name.prefix { $0 != 0 }
                return bytes.count <= 2 && bytes.allSatisfy { $0 == UInt8(ascii: ".") }
            }
            if !isOwn { return false }
        }
        return true
    }

    /// Puts a program where containers can run it but not read it: what cannot be read cannot be traced either.
    static func install(_ program: String, at path: String) throws {
        guard let bytes = try SmallFile.read(program, atMost: 64 * 1024 * 1024) else {
            throw FastableError(.notFound, "The program fastable-init is missing.", context: program)
        }
        // Nothing is written when it is there: the disk may be full.
        if (try? SmallFile.read(path, atMost: bytes.count)).flatMap({ $0 }) == bytes { return }
        try AtomicFile.write(path, bytes, mode: 0o111)
    }

    /// Renames within one file system.
    static func move(_ path: String, to other: String) throws(Errno) { try Errno.check { rename(path, other) } }

    /// The same, and it stays so after a loss of power.
    static func moveForGood(_ path: String, to other: String) throws(Errno) {
        try move(path, to: other)
        for place in [path, other] {
            try open(place.lastIndex(of: "/").map { String(place[..<$0]) } ?? ".").synchronize()
        }
    }

    /// Removes a tree that may be large and whose names are a stranger's. Nothing happens when it does not exist.
    static func removeTree(_ path: String, timeout: Duration = .seconds(Limits.hostCommandSeconds)) async throws {
        guard exists(path) else { return }
        try await HostCommand("rm", ["-rf", "--one-file-system", "--", path])
            .runChecked("remove a directory", timeout: timeout)
    }
}
