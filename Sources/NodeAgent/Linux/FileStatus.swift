import CLinux
import Glibc

/// What the kernel tells about a file.
public struct FileStatus: Sendable, Equatable {
    public enum Kind: Sendable, Equatable { case regular, directory, symlink, other }

    public let kind: Kind
    /// Permission bits with set-id and sticky bits: `0o7777` at most.
    public let mode: UInt32
    public let user: UInt32
    public let group: UInt32
    public let size: Int64
    public let links: UInt64
    public let device: UInt64
    public let inode: UInt64
    /// Nanoseconds since 1970.
    public let modified: Int64
    /// When content or attributes last changed, in nanoseconds since 1970; nobody can set it back.
    public let changed: Int64

    init(_ status: stat) {
        kind =
            switch status.st_mode & S_IFMT {
            case S_IFREG: .regular
            case S_IFDIR: .directory
            case S_IFLNK: .symlink
            default: .other
            }
        mode = status.st_mode & 0o7777
        user = status.st_uid
        group = status.st_gid
        size = Int64(status.st_size)
        links = UInt64(status.st_nlink)
        device = UInt64(status.st_dev)
        inode = UInt64(status.st_ino)
        modified = Int64(status.st_mtim.tv_sec) &* 1_000_000_000 &+ Int64(status.st_mtim.tv_nsec)
        changed = Int64(status.st_ctim.tv_sec) &* 1_000_000_000 &+ Int64(status.st_ctim.tv_nsec)
    }

    /// Whether this is the very same state of the same file.
    public func isSameState(as other: FileStatus) -> Bool {
        device == other.device && inode == other.inode && size == other.size && modified == other.modified
            && changed == other.changed
    }

    /// Whether this is the same file, whatever happened to it.
    public func isSameFile(as other: FileStatus) -> Bool { device == other.device && inode == other.inode }
}

extension FileDescriptor {
    public borrowing func status() throws(Errno) -> FileStatus {
        var result = stat()
        let number = number
        try Errno.check { fstat(number, &result) }
        return FileStatus(result)
    }

    /// Of the entry `name` in this directory; a symbolic link is not followed.
    public borrowing func status(of name: UnsafePointer<CChar>) throws(Errno) -> FileStatus {
        var result = stat()
        let number = number
        try Errno.check { fstatat(number, name, &result, AT_SYMLINK_NOFOLLOW) }
        return FileStatus(result)
    }
}
