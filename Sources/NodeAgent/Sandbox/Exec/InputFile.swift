import FastableCore
import Glibc
import NIOCore
import NodeLinux

/// All that a command is given to read, in a file that only root can read: a restarted daemon goes on giving it. It goes when nothing of
/// the command will be printed any more.
struct InputFile: Sendable {
    private let directory: String
    private static let name = "/input"

    /// Makes the file; `EEXIST` when there is one.
    init(_ bytes: ByteBuffer, in directory: String) throws(Errno) {
        self.directory = directory
        if mkdir(directory, 0o700) < 0, errno != EEXIST { throw Errno.last }
        do throws(Errno) {
            let file = try FileDescriptor(
                opening: directory + Self.name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600)
            try file.writeAll(Array(bytes.readableBytesView))
        } catch {
            // That of another command with the same id stays.
            if error.number != EEXIST { remove() }
            throw error
        }
    }

    /// What an earlier daemon has kept; `nil` when that is nothing.
    static func bytes(foundIn directory: String) throws(Errno) -> ByteBuffer? {
        do throws(Errno) {
            let file = try FileDescriptor(opening: directory + name, O_RDONLY | O_NOFOLLOW)
            return ByteBuffer(bytes: try file.readAll(limit: Limits.execInputTextBytes))
        } catch {
            if error.number == ENOENT { return nil }
            throw error
        }
    }

    func remove() { Self.remove(from: directory) }

    static func remove(from directory: String) {
        unlink(directory + name)
        // Holds output in most cases.
        rmdir(directory)
    }
}
