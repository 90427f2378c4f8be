import CLinux
import Glibc

/// What can be done to the entries of an open directory. A name is one part, never a path, and is never followed when it is a
/// symbolic link.
extension FileDescriptor {
    /// Opens an entry; `ELOOP` when it is a symbolic link (unless it is opened with `O_PATH`).
    public borrowing func openEntry(
        _ name: UnsafePointer<CChar>, _ flags: CInt, mode: UInt32 = 0
    ) throws(Errno) -> FileDescriptor {
        let careful = flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY
        return try FileDescriptor(checking: fst_open_beneath(number, name, careful, mode, 0))
    }

    /// Makes a directory, or takes the one that is there already, and opens it. Only a new one gets the owner and mode.
    public borrowing func makeDirectory(
        _ name: UnsafePointer<CChar>, mode: UInt32, owner: UInt32
    ) throws(Errno) -> FileDescriptor {
        let number = number
        var isNew = true
        do {
            try Errno.check { mkdirat(number, name, 0o700) }
        } catch {
            guard error.number == EEXIST else { throw error }
            isNew = false
        }
        let directory = try openEntry(name, O_RDONLY | O_DIRECTORY)
        if isNew {
            try directory.setOwner(owner)
            try directory.setMode(mode)
        }
        return directory
    }

    /// Gives the file to a user and the group of the same number, or to a group of its own.
    public borrowing func setOwner(_ owner: UInt32, group: UInt32? = nil) throws(Errno) {
        let status = try status()
        let number = number
        let group = group ?? owner
        if status.user != owner || status.group != group { try Errno.check { fchown(number, owner, group) } }
    }

    public borrowing func setMode(_ mode: UInt32) throws(Errno) {
        let number = number
        try Errno.check { fchmod(number, mode) }
    }

    /// `UTIME_OMIT`: leaves this time as it is.
    private static var omitted: Int { (1 << 30) - 2 }

    private static func times(modified nanoseconds: Int64) -> [timespec] {
        // Kept non-negative: nanoseconds count forward from the second, also before 1970.
        let part = ((nanoseconds % 1_000_000_000) + 1_000_000_000) % 1_000_000_000
        let seconds = (nanoseconds &- part) / 1_000_000_000
        return [timespec(tv_sec: 0, tv_nsec: omitted), timespec(tv_sec: Int(seconds), tv_nsec: Int(part))]
    }

    /// Sets when the content last changed, in nanoseconds since 1970.
    public borrowing func setModified(_ nanoseconds: Int64) throws(Errno) {
        let times = Self.times(modified: nanoseconds)
        let number = number
        try Errno.check { futimens(number, times) }
    }

    /// Sets owner and time of an entry in this directory; a symbolic link is not followed.
    public borrowing func setEntry(
        _ name: UnsafePointer<CChar>, user: UInt32, group: UInt32, modified nanoseconds: Int64
    ) throws(Errno) {
        let times = Self.times(modified: nanoseconds)
        let number = number
        let status = try status(of: name)
        if status.user != user || status.group != group {
            try Errno.check { fchownat(number, name, user, group, AT_SYMLINK_NOFOLLOW) }
        }
        try Errno.check { utimensat(number, name, times, AT_SYMLINK_NOFOLLOW) }
    }

    /// Makes a symbolic link; nothing may have its name.
    public borrowing func makeSymlink(
        _ name: UnsafePointer<CChar>, target: UnsafePointer<CChar>, owner: UInt32
    ) throws(Errno) {
        let number = number
        try Errno.check { symlinkat(target, number, name) }
        guard try status(of: name).user != owner else { return }
        try Errno.check { fchownat(number, name, owner, owner, AT_SYMLINK_NOFOLLOW) }
    }

    /// Removes an entry that is not a directory.
    public borrowing func removeEntry(_ name: UnsafePointer<CChar>) throws(Errno) {
        let number = number
        try Errno.check { unlinkat(number, name, 0) }
    }

    /// Removes an empty directory.
    public borrowing func removeDirectory(_ name: UnsafePointer<CChar>) throws(Errno) {
        let number = number
        try Errno.check { unlinkat(number, name, AT_REMOVEDIR) }
    }

    /// Gives an entry another name, in this or in another directory.
    ///
    /// - Parameter exclusively: `EEXIST` when the new name is taken; otherwise a file that has it is replaced at once and completely.
    public borrowing func moveEntry(
        _ name: UnsafePointer<CChar>, to directory: borrowing FileDescriptor, as newName: UnsafePointer<CChar>,
        exclusively: Bool
    ) throws(Errno) {
        let (from, to) = (number, directory.number)
        if exclusively {
            try Errno.checkNegative(fst_rename_exclusive(from, name, to, newName))
        } else {
            try Errno.check { renameat(from, name, to, newName) }
        }
    }

    /// Renames into another directory of the same file system; `EEXIST` when the new name is taken.
    public borrowing func moveEntry(
        _ name: UnsafePointer<CChar>, to directory: borrowing FileDescriptor, as newName: UnsafePointer<CChar>
    ) throws(Errno) {
        try Errno.checkNegative(fst_rename_exclusive(number, name, directory.number, newName))
    }

    /// Exchanges an entry with one of another directory of the same file system, in one step; `ENOENT` when one of them is missing.
    public borrowing func exchangeEntry(
        _ name: UnsafePointer<CChar>, with directory: borrowing FileDescriptor, _ otherName: UnsafePointer<CChar>
    ) throws(Errno) {
        try Errno.checkNegative(fst_rename_exchange(number, name, directory.number, otherName))
    }

    /// The bytes of this symbolic link, opened with `O_PATH | O_NOFOLLOW`.
    public borrowing func linkTarget() throws(Errno) -> [UInt8] { try linkTarget(of: "") }

    /// The bytes of a symbolic link in this directory.
    public borrowing func linkTarget(of name: UnsafePointer<CChar>) throws(Errno) -> [UInt8] {
        let number = number
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count: Int
        do throws(Errno) {
            count = try Errno.check { readlinkat(number, name, &buffer, buffer.count) }
        } catch {
            // Whoever asks has seen a link there; somebody has put something else in its place.
            throw error.number == EINVAL ? Errno(EAGAIN) : error
        }
        return buffer[..<Int(count)].map { UInt8(bitPattern: $0) }
    }

    /// Hands every entry but `.` and `..` to `body`, until it answers `false`. Begins where the last call on this descriptor ended.
    ///
    /// - Parameter bufferBytes: how much is read ahead; entries that are removed meanwhile may still come.
    public borrowing func forEachEntry(
        bufferBytes: Int = 32 * 1024, _ body: (DirectoryEntry) throws(Errno) -> Bool
    ) throws(Errno) {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: bufferBytes, alignment: 16)
        defer { buffer.deallocate() }
        while true {
            let count = try Errno.checkNegative(fst_read_directory(number, buffer.baseAddress, buffer.count))
            if count == 0 { return }
            var offset = 0
            while offset < count {
                let raw = fst_directory_entry_at(buffer.baseAddress, offset)
                offset = raw.next
                guard let name = raw.name else { continue }
                let entry = DirectoryEntry(pointer: name, length: raw.name_length, type: raw.type)
                if !entry.isDots, try !body(entry) { return }
            }
        }
    }
}

/// An entry while its directory is read; valid during the call that hands it over.
public struct DirectoryEntry {
    /// Ends with a zero byte.
    public let pointer: UnsafePointer<CChar>
    let length: Int
    let type: UInt8

    /// Names are bytes; nothing says that they are text.
    public var name: [UInt8] { UnsafeBufferPointer(start: pointer, count: length).map { UInt8(bitPattern: $0) } }

    /// `false` also when the filesystem does not tell.
    public var isSurelyDirectory: Bool { type == 4 }

    var isDots: Bool { pointer[0] == 46 && (length == 1 || (length == 2 && pointer[1] == 46)) }
}
