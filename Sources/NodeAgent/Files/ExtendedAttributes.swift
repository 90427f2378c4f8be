import FastableCore
import Glibc
import NodeLinux

/// Reads the `user.` attributes of one file after the other. Of a file that has more than a whole tree should, none are kept.
struct ExtendedAttributes {
    private var buffer = [CChar](repeating: 0, count: Limits.snapshotAttributeBytes)

    mutating func of(_ file: borrowing FileDescriptor) throws(Errno) -> [UserAttribute] {
        do throws(Errno) { return try file.userAttributes(in: &buffer) } catch {
            guard error.number == E2BIG else { throw error }
            return []
        }
    }

    /// None for a directory that is there no more.
    mutating func ofDirectory(_ path: [UInt8], below top: RootedDirectory) throws(Errno) -> [UserAttribute] {
        let directory: FileDescriptor
        do throws(Errno) { directory = try top.openWithoutLinks(path, O_RDONLY | O_DIRECTORY) } catch {
            guard [ENOENT, ENOTDIR, ELOOP].contains(error.number) else { throw error }
            return []
        }
        return try of(directory)
    }
}
