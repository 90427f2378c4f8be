#if canImport(Glibc)
    import Glibc
#endif

/// Reads whole files of a daemon's own: configuration, keys, records. Never for files of a project.
public enum SmallFile {
    /// What an open file is, for a check before its content is used.
    public struct Facts: Sendable {
        /// User id.
        public var owner: UInt32
        /// The permission bits, as in `0o600`.
        public var mode: UInt32
    }

    /// The whole content, or `nil` when there is no such file.
    ///
    /// - Parameters:
    ///   - limit: bytes; a longer file is refused as `too_large`.
    ///   - followingLinks: when false, a symbolic link is refused.
    ///   - check: sees the facts of the very file that is then read.
    /// - Throws: `conflict` when it is no regular file; what the system says otherwise.
    public static func read(
        _ path: String, atMost limit: Int, followingLinks: Bool = true, check: (Facts) throws -> Void = { _ in }
    ) throws -> [UInt8]? {
        let name = path.split(separator: "/").last.map(String.init) ?? path
        // Without O_NONBLOCK the open of a pipe would wait for a writer.
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | (followingLinks ? 0 : O_NOFOLLOW))
        guard file >= 0 else {
            if errno == ENOENT { return nil }
            throw FastableError.system(errno, cannot: "open ‘\(name)’", context: path)
        }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0 else {
            throw FastableError.system(errno, cannot: "look at ‘\(name)’", context: path)
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw FastableError(.conflict, "‘\(name)’ is not a regular file.", context: path)
        }
        try check(Facts(owner: status.st_uid, mode: status.st_mode & 0o7777))
        return try content(of: file, name: name, path: path, limit: limit)
    }

    private static func content(of file: Int32, name: String, path: String, limit: Int) throws -> [UInt8] {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16 * 1024)
        while true {
            let count = Glibc.read(file, &buffer, buffer.count)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw FastableError.system(errno, cannot: "read ‘\(name)’", context: path) }
            if count == 0 { return bytes }
            bytes += buffer[..<count]
            guard bytes.count <= limit else {
                throw FastableError(.tooLarge, "‘\(name)’ is larger than \(limit) bytes.", context: path)
            }
        }
    }
}
