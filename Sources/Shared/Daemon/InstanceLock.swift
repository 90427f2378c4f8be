import FastableCore

#if canImport(Glibc)
    import Glibc
#endif

/// Keeps a second daemon away from a state directory. The kernel gives the lock back when the process ends, however it
/// ends, so there is nothing to clean up after a crash.
public final class InstanceLock: Sendable {
    private let file: Int32

    /// Takes the lock for as long as this object lives.
    ///
    /// - Parameters:
    ///   - directory: must exist; the lock is the file `lock` in it.
    ///   - program: for the error message.
    /// - Throws: `conflict` with the process id of the daemon that holds it.
    public init(directory: String, program: String) throws {
        let path = directory + "/lock"
        file = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else { throw FastableError.system(errno, cannot: "open the lock ‘\(path)’") }
        guard flock(file, LOCK_EX | LOCK_NB) == 0 else {
            let number = errno
            let owner = Self.processID(in: file).map { " (process \($0))" } ?? ""
            close(file)
            guard number == EWOULDBLOCK else { throw FastableError.system(number, cannot: "lock ‘\(path)’") }
            throw FastableError(
                .conflict,
                "Another \(program)\(owner) already uses ‘\(directory)’. Stop it, or give this one another instance "
                    + "name or state directory.")
        }
        let text = Array("\(getpid())\n".utf8)
        // In this order it works on a full disk, too: the new number stands where the old one did.
        guard pwrite(file, text, text.count, 0) == text.count, ftruncate(file, off_t(text.count)) == 0 else {
            let number = errno
            close(file)
            throw FastableError.system(number, cannot: "write the lock ‘\(path)’")
        }
    }

    /// Whether a daemon holds the directory now.
    public static func isHeld(directory: String) -> Bool {
        let file = open(directory + "/lock", O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard file >= 0 else { return false }
        defer { close(file) }
        guard flock(file, LOCK_SH | LOCK_NB) == 0 else { return errno == EWOULDBLOCK }
        return false
    }

    deinit { close(file) }

    private static func processID(in file: Int32) -> Int? {
        var buffer = [UInt8](repeating: 0, count: 16)
        let count = pread(file, &buffer, buffer.count, 0)
        guard count > 0 else { return nil }
        return Int(String(decoding: buffer[..<count].prefix { $0 != 0x0a }, as: UTF8.self))
    }
}
