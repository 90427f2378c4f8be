import CLinux
import Glibc

extension FileDescriptor {
    /// So much is copied between two looks at the caller's limits.
    private static let copyPieceBytes: Int64 = 16 * 1024 * 1024

    /// Fills an empty file with the first `size` bytes of this one. Blocks are shared where the filesystem can, and holes stay holes.
    ///
    /// - Parameter check: called before each piece; what it throws ends the matter.
    public borrowing func copyContent(
        to target: borrowing FileDescriptor, size: Int64, check: () throws(Errno) -> Void
    ) throws(Errno) {
        try check()
        let copy = target.number
        if fst_clone_file(number, copy) < 0 { try copyData(to: target, size: size, check) }
        // What follows is a hole, or what a process appended meanwhile.
        try Errno.check { ftruncate(copy, off_t(size)) }
    }

    private borrowing func copyData(
        to target: borrowing FileDescriptor, size: Int64, _ check: () throws(Errno) -> Void
    ) throws(Errno) {
        var position: Int64 = 0
        while position < size {
            var end: Int64 = size
            position = try Errno.checkNegative(fst_next_data(number, position, size, &end))
            while position < end {
                try check()
                let wanted = min(Self.copyPieceBytes, end - position)
                let count = try Errno.checkNegative(fst_copy_range(number, target.number, position, wanted))
                // The file became shorter meanwhile.
                if count == 0 { return }
                position += count
            }
        }
    }
}
