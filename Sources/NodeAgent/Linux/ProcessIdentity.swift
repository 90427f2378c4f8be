import CLinux
import Glibc

/// A process that cannot be mistaken for a later one with the same number, also after the host was started anew.
public struct ProcessIdentity: Codable, Sendable, Hashable {
    public let pid: Int32
    /// Ticks from the host's start to the process's.
    let startTime: UInt64
    /// Random, new at each start of the host.
    let boot: String

    /// The process that has the number now. Throws `ESRCH` when there is none.
    public init(pid: Int32) throws(Errno) {
        let text = try Self.readSmall("/proc/\(pid)/stat", missing: ESRCH)
        // The second field is the program's name, in parentheses and free to contain any of them. The 22nd is the start.
        let fields = text[(text.lastIndex(of: ")") ?? text.startIndex)...].split(separator: " ")
        guard fields.count > 20, let startTime = UInt64(fields[20]) else { throw Errno(ESRCH) }
        self.pid = pid
        self.startTime = startTime
        self.boot = try Self.readSmall("/proc/sys/kernel/random/boot_id", missing: ENOENT)
    }

    /// Whether this very process still exists. One that has ended and was not reaped does not.
    public var isAlive: Bool {
        guard let now = try? ProcessIdentity(pid: pid), now == self else { return false }
        guard let text = try? Self.readSmall("/proc/\(pid)/stat", missing: ESRCH) else { return false }
        let state = text[(text.lastIndex(of: ")") ?? text.startIndex)...].dropFirst(2).first
        return state != "Z" && state != "X"
    }

    /// A descriptor that becomes readable when the process ends. Throws `ESRCH` when it has.
    public func open() throws(Errno) -> FileDescriptor {
        let descriptor = try FileDescriptor(checking: fst_process_open(pid))
        guard isAlive else { throw Errno(ESRCH) }
        return descriptor
    }

    /// Returns once the process has ended. Blocks; throws `ETIMEDOUT` when it takes longer.
    public func waitForEnd(milliseconds: Int32) throws(Errno) {
        guard isAlive else { return }
        let descriptor: FileDescriptor
        do throws(Errno) { descriptor = try open() } catch {
            if error.number == ESRCH { return }
            throw error
        }
        var watched = pollfd(fd: descriptor.number, events: Int16(POLLIN), revents: 0)
        guard try Errno.check({ poll(&watched, 1, milliseconds) }) > 0 else { throw Errno(ETIMEDOUT) }
        try descriptor.close()
    }

    private static func readSmall(_ path: String, missing: CInt) throws(Errno) -> String {
        do throws(Errno) {
            let file = try FileDescriptor(opening: path, O_RDONLY)
            let text = String(decoding: try file.readAll(limit: 4096), as: UTF8.self)
            return text.last == "\n" ? String(text.dropLast()) : text
        } catch {
            throw error.number == ENOENT ? Errno(missing) : error
        }
    }
}
