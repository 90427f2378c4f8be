import FastableCore

#if canImport(Glibc)
    import Glibc
#endif

/// Reads and makes files that hold keys, and the directories they stand in.
enum PrivateFile {
    /// The key file's text, or `nil` when there is none.
    ///
    /// - Throws: `forbidden` when another user could have read it: a key that was seen is no key.
    static func read(_ path: String) throws -> String? {
        let bytes = try SmallFile.read(path, atMost: Limits.certificateTextBytes, followingLinks: false) { facts in
            guard facts.owner == geteuid() else {
                throw FastableError(
                    .forbidden, "The key file ‘\(path)’ belongs to another user (\(facts.owner)). Correct its owner.")
            }
            guard facts.mode & 0o077 == 0 else {
                let mode = String(facts.mode, radix: 8)
                throw FastableError(
                    .forbidden,
                    "Other users can read the key file ‘\(path)’ (mode \(mode)). Run: chmod 600 '\(path)'. "
                        + "If somebody may have read it, make a new one.")
            }
        }
        return bytes.map { String(decoding: $0, as: UTF8.self) }
    }

    /// Nothing happens when there is none.
    static func remove(_ path: String) throws {
        guard unlink(path) < 0, errno != ENOENT else { return }
        throw FastableError.system(errno, cannot: "remove the file ‘\(path)’")
    }

    /// Makes the directory for this user alone, or checks that nobody else can put files into it.
    static func prepare(directory: String) throws {
        if mkdir(directory, 0o700) == 0 { return }
        guard errno == EEXIST else {
            throw FastableError.system(errno, cannot: "make the directory ‘\(directory)’")
        }
        var status = stat()
        guard lstat(directory, &status) == 0 else {
            throw FastableError.system(errno, cannot: "look at the directory ‘\(directory)’")
        }
        guard status.st_mode & S_IFMT == S_IFDIR, status.st_uid == geteuid(), status.st_mode & 0o022 == 0 else {
            throw FastableError(
                .forbidden,
                "‘\(directory)’ must be a directory of this user that nobody else can write to. "
                    + "Run: chmod 700 '\(directory)'")
        }
    }
}
