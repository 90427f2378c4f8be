#if canImport(Glibc)
    import Glibc
#endif

/// Writes small files of a daemon's own so that a crash at any moment leaves the old content or the new, never a mixture.
///
/// The calls block until the disk has the bytes; they are for records and keys, not for data.
public enum AtomicFile {
    /// Replaces the file, or makes it.
    ///
    /// - Parameter mode: permission bits, independent of the umask.
    /// - Throws: what the system says, for example `unavailable` when the disk is full; the old file is untouched then.
    public static func write(_ path: String, _ bytes: [UInt8], mode: UInt32 = 0o600) throws {
        try install(bytes, mode: mode, at: path) { rename($0, path) }
    }

    /// Makes the file and fails with `conflict` when it exists: two processes cannot both believe they made it.
    public static func create(_ path: String, _ bytes: [UInt8], mode: UInt32 = 0o600) throws {
        // A link fails when the name is taken; a rename would replace the other file.
        try install(bytes, mode: mode, at: path) { link($0, path) }
    }

    private static func install(
        _ bytes: [UInt8], mode: UInt32, at path: String, place: (String) -> Int32
    ) throws {
        let (directory, name) = split(path)
        let random = UInt64.random(in: .min ... .max)
        let temporary = "\(directory)/.\(name).\(String(random, radix: 36)).tmp"
        let file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode)
        guard file >= 0 else { throw failure(name, path) }
        defer { unlink(temporary) }
        do {
            defer { close(file) }
            guard fchmod(file, mode) == 0, writeAll(bytes, to: file), fsync(file) == 0 else {
                throw failure(name, path)
            }
        }
        guard place(temporary) == 0 else { throw failure(name, path) }
        try synchronize(directory: directory, name: name, path: path)
    }

    private static func writeAll(_ bytes: [UInt8], to file: Int32) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }

    /// Makes the new name itself survive a power cut.
    private static func synchronize(directory: String, name: String, path: String) throws {
        let folder = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { throw failure(name, path) }
        defer { close(folder) }
        guard fsync(folder) == 0 else { throw failure(name, path) }
    }

    private static func split(_ path: String) -> (directory: String, name: String) {
        guard let slash = path.lastIndex(of: "/") else { return (".", path) }
        let directory = path[..<slash]
        return (directory.isEmpty ? "/" : String(directory), String(path[path.index(after: slash)...]))
    }

    private static func failure(_ name: String, _ path: String) -> FastableError {
        .system(errno, cannot: "write ‘\(name)’", context: path)
    }
}
