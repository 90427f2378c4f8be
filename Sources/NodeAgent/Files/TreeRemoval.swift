import FastableCore
import Glibc
import NodeLinux

/// Removes trees of any depth with a few open files and no recursion, whatever happens in them meanwhile.
///
/// Nothing is reached by a path: each directory is opened in the one before it, never through a symbolic link, and on the way back
/// up the parent must be the directory that the walk came from.
struct TreeRemoval {
    /// Files, directories and links that were removed.
    private(set) var removed = 0
    private var steps = 0
    private var above: [(name: [CChar], parent: FileStatus)] = []

    /// A process that makes files as fast as they are removed does not keep this busy for ever.
    private static let stepsAtMost = 4 * Limits.treeFiles

    /// Removes what is in `directory`, which itself stays.
    mutating func removeContent(of directory: borrowing FileDescriptor) throws(Errno) {
        var current = try Self.open(directory, ".")
        while true {
            if let name = try removeUntilSubdirectory(current) {
                guard let child = try Self.openIfDirectory(current, name) else { continue }
                above.append((name, try current.status()))
                current = child
            } else {
                guard let (name, parent) = above.popLast() else { return }
                let up = try Self.open(current, "..")
                guard try up.status().isSameFile(as: parent) else { throw Errno(EAGAIN) }
                // When something new is in it, it is found again.
                _ = try removeIfEmpty(name, in: up)
                current = up
            }
        }
    }

    /// Removes entries until one is a directory with content; `nil` when none is left.
    private mutating func removeUntilSubdirectory(_ directory: borrowing FileDescriptor) throws(Errno) -> [CChar]? {
        var found: [CChar]?
        var count = 0
        // Read in small pieces: after each subdirectory its parent is read from the beginning again.
        let fresh = try Self.open(directory, ".")
        try fresh.forEachEntry(bufferBytes: 4096) { entry throws(Errno) in
            count += 1
            if !entry.isSurelyDirectory, try Self.removeFile(entry.pointer, in: fresh) {
                removed += 1
                return true
            }
            let name = entry.name.map { CChar(bitPattern: $0) } + [0]
            if try removeIfEmpty(name, in: fresh) { return true }
            found = name
            return false
        }
        steps += count + 1
        if steps > Self.stepsAtMost { throw Errno(EBUSY) }
        return found
    }

    /// `false` when it is a directory.
    private static func removeFile(
        _ name: UnsafePointer<CChar>, in directory: borrowing FileDescriptor
    ) throws(Errno) -> Bool {
        do throws(Errno) {
            try directory.removeEntry(name)
            return true
        } catch {
            switch error.number {
            case EISDIR: return false
            case ENOENT: return true
            default: throw error
            }
        }
    }

    /// `false` when it is a directory with content.
    private mutating func removeIfEmpty(
        _ name: [CChar], in directory: borrowing FileDescriptor
    ) throws(Errno) -> Bool {
        do throws(Errno) {
            try directory.removeDirectory(name)
            removed += 1
            return true
        } catch {
            switch error.number {
            case ENOTEMPTY, EEXIST: return false
            // It was replaced by something else, or is gone: the next look at the directory tells.
            case ENOTDIR, ENOENT: return true
            default: throw error
            }
        }
    }

    private static func open(
        _ directory: borrowing FileDescriptor, _ name: String
    ) throws(Errno) -> FileDescriptor {
        let number = directory.number
        return FileDescriptor(
            owning: try Errno.check { openat(number, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) })
    }

    private static func openIfDirectory(
        _ directory: borrowing FileDescriptor, _ name: [CChar]
    ) throws(Errno) -> FileDescriptor? {
        do throws(Errno) {
            return try directory.openEntry(name, O_RDONLY | O_DIRECTORY)
        } catch {
            switch error.number {
            case ENOENT, ENOTDIR, ELOOP: return nil
            default: throw error
            }
        }
    }
}
