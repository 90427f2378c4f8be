import FastableCore
import Glibc

/// Stopping all processes of a group at once, and what may be done with one that stands still. All of it is in the version 2 tree,
/// which has it in every mode of the host; only memory is where its controller is. Its calls block.
extension CgroupTree {
    /// How far a group is with standing still.
    public struct Frost: Sendable, Equatable {
        /// It was told to.
        public var isWanted: Bool
        /// Every process in it and below stands still.
        public var isComplete: Bool

        public init(isWanted: Bool, isComplete: Bool) {
            self.isWanted = isWanted
            self.isComplete = isComplete
        }
    }

    public func frost(of group: String) throws(Errno) -> Frost {
        let wanted = try FileDescriptor(opening: freezeFile(group), O_RDONLY).readAll(limit: 64)
        return Frost(isWanted: wanted.first == UInt8(ascii: "1"), isComplete: try Self.isFrozen(events(of: group)))
    }

    /// Tells every process in a group and in those below it to stand still. `awaitFrost` tells when they do.
    public func freeze(_ group: String) throws(Errno) { try Self.write("1", to: freezeFile(group)) }

    /// Returns when every process of the group stands still.
    ///
    /// - Returns: `false` when they do not after `milliseconds`, or nobody wants it any more; they go on stopping until `thaw`.
    public func awaitFrost(of group: String, milliseconds: Int, while isWanted: () -> Bool) throws(Errno) -> Bool {
        let events = try events(of: group)
        let deadline = ContinuousClock.now + .milliseconds(milliseconds)
        // The kernel tells of changes of one file at most every 10 ms: the second of two comes late, so the first looks are short.
        var pauseMicroseconds: UInt32 = 100
        while true {
            if try Self.isFrozen(events) { return true }
            guard ContinuousClock.now < deadline, isWanted() else { return false }
            if pauseMicroseconds < 1000 {
                usleep(pauseMicroseconds)
            } else {
                var watched = pollfd(fd: events.number, events: Int16(POLLPRI), revents: 0)
                let milliseconds = Int32(pauseMicroseconds / 1000)
                try Errno.check { poll(&watched, 1, milliseconds) }
            }
            pauseMicroseconds = min(2 * pauseMicroseconds, 250_000)
        }
    }

    /// Lets the processes of a group go on.
    public func thaw(_ group: String) throws(Errno) { try Self.write("0", to: freezeFile(group)) }

    /// The CPU time that a group has used since it was made.
    public func cpuMicroseconds(of group: String) throws(Errno) -> UInt64 {
        let bytes = try FileDescriptor(opening: "\(root)/\(group)/cpu.stat", O_RDONLY).readAll(limit: 4096)
        guard let value = Self.value(of: "usage_usec", in: bytes) else { throw Errno(ENODATA) }
        return value
    }

    /// Takes back what memory a group can do without: cached files for the most part. Ends early once it is not wanted any more, as
    /// far as the kernel lets itself be asked in steps.
    public func reclaim(_ group: String, stepBytes: Int, while isWanted: () -> Bool) throws(Errno) {
        guard mode == .v2 else { return try reclaimAll(group, isWanted) }
        let path = "\(root)/\(group)"
        let current = try FileDescriptor(opening: path + "/memory.current", O_RDONLY).readAll(limit: 64)
        var rest = Int(String(decoding: current, as: UTF8.self).filter(\.isNumber)) ?? 0
        while rest > 0, isWanted() {
            do throws(Errno) { try Self.write("\(stepBytes)", to: path + "/memory.reclaim") } catch {
                // Nothing more can be taken.
                if error.number == EAGAIN { return }
                throw error
            }
            rest -= stepBytes
        }
    }

    /// Version 1 knows no steps. It drops half a gigabyte of cached files in some milliseconds.
    private func reclaimAll(_ group: String, _ isWanted: () -> Bool) throws(Errno) {
        for tree in hierarchies where isWanted() {
            let file = "\(tree)/\(group)/memory.force_empty"
            guard access(file, F_OK) == 0 else { continue }
            do throws(Errno) { try Self.write("0", to: file) } catch {
                if error.number != EBUSY { throw error }
            }
        }
    }

    private func freezeFile(_ group: String) -> String { "\(root)/\(group)/cgroup.freeze" }

    private func events(of group: String) throws(Errno) -> FileDescriptor {
        try FileDescriptor(opening: "\(root)/\(group)/cgroup.events", O_RDONLY)
    }

    private static func isFrozen(_ events: borrowing FileDescriptor) throws(Errno) -> Bool {
        value(of: "frozen", in: try events.readChunk(512, at: 0)) == 1
    }

    /// Files of this kind have lines of a name and a number.
    private static func value(of name: String, in bytes: [UInt8]) -> UInt64? {
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
            let words = line.split(separator: " ")
            if words.count == 2, words[0] == name { return UInt64(words[1]) }
        }
        return nil
    }
}
