import FastableCore

#if canImport(Glibc)
    import Glibc
#endif

/// Makes the database file so that nobody else can read it. SQLite gives its companion files (`-wal`, `-shm`) the
/// same mode.
enum DatabaseFile {
    static func prepare(_ path: String) throws {
        if let slash = path.lastIndex(of: "/") { try makeDirectory(String(path[..<slash])) }
        let file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw failure(errno) }
        defer { close(file) }
        guard fchmod(file, 0o600) == 0 else { throw failure(errno) }
    }

    /// The last directory is private. Those above it may be passed by others, since containers' files live below them
    /// too.
    private static func makeDirectory(_ path: String, mode: mode_t = 0o700) throws {
        guard !path.isEmpty, access(path, F_OK) != 0 else { return }
        if let slash = path.lastIndex(of: "/") { try makeDirectory(String(path[..<slash]), mode: 0o711) }
        guard mkdir(path, mode) == 0 || errno == EEXIST else { throw failure(errno) }
    }

    private static func failure(_ code: Int32) -> FastableError {
        let reason = String(cString: strerror(code))
        let advice =
            switch code {
            case EACCES, EPERM: "Start the controller as the user who owns its state directory."
            case EROFS: "The file system is read-only; mount it writable, or choose another state directory."
            case ENOSPC, EDQUOT: "The disk is full; free some space."
            default: "Check the state directory in the configuration."
            }
        return FastableError(.unavailable, "The database cannot be opened: \(reason). \(advice)")
    }
}
