import CLinux
import Glibc
import Synchronization

/// A program that is run from a copy in memory which nobody can change. It is made when the program is first run, and again when the
/// one on the disk was replaced.
///
/// runc and crun make such a copy for every container, so that no container can write to the host's program, unless they find that they run
/// from one already.
public final class SealedProgram: Sendable {
    package final class Copy: Sendable {
        private let file: FileDescriptor

        init(of path: String) throws(Errno) { file = try FileDescriptor(checking: fst_program_copy(path)) }

        /// Names it to this process and its children.
        package var path: String { "/proc/\(getpid())/fd/\(file.number)" }
    }

    /// What tells a replaced file from the one that was copied.
    private struct Stamp: Equatable {
        let device: UInt64
        let number: UInt64
        let size: Int64
        let changedSeconds: Int
        let changedNanoseconds: Int

        init?(_ path: String) {
            var facts = stat()
            guard stat(path, &facts) == 0 else { return nil }
            device = UInt64(facts.st_dev)
            number = UInt64(facts.st_ino)
            size = Int64(facts.st_size)
            changedSeconds = facts.st_ctim.tv_sec
            changedNanoseconds = facts.st_ctim.tv_nsec
        }
    }

    private let last = Mutex<(stamp: Stamp, copy: Copy)?>(nil)

    public init() {}

    /// The copy of what is at `path` now; `nil` when there can be none: of a script, or on a host that runs nothing from memory. Blocks
    /// when it has to be made.
    package func copy(of path: String) -> Copy? {
        // Asked first: when the file is replaced meanwhile, the next call copies again.
        guard let stamp = Stamp(path) else { return nil }
        return last.withLock { last in
            if let last, last.stamp == stamp { return last.copy }
            last = (try? Copy(of: path)).map { (stamp: stamp, copy: $0) }
            return last?.copy
        }
    }
}
