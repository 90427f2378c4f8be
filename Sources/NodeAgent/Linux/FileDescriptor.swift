import CLinux
import Glibc

/// An open file that has exactly one owner and is closed when the owner lets go.
public struct FileDescriptor: ~Copyable, Sendable {
    /// Valid as long as this value lives. Lend it to system calls; never close it.
    public let number: CInt

    /// Takes over a number that nobody else will close.
    public init(owning number: CInt) { self.number = number }

    /// The owned result of a function of `CLinux`, which answers a negative errno.
    public init(checking result: CInt) throws(Errno) {
        self.init(owning: try Errno.checkNegative(result))
    }

    /// Opens an absolute path of the host, close-on-exec. Files of a workspace are opened by `RootedDirectory` only.
    public init(opening path: String, _ flags: CInt, mode: UInt32 = 0) throws(Errno) {
        self.init(owning: try Errno.check { open(path, flags | O_CLOEXEC, mode) })
    }

    deinit { Glibc.close(number) }

    /// Closes now. An error is final: the number is free in any case.
    public consuming func close() throws(Errno) {
        let number = release()
        if Glibc.close(number) < 0, errno != EINTR { throw Errno.last }
    }

    /// Gives the number away: the caller closes it.
    public consuming func release() -> CInt {
        let number = number
        discard self
        return number
    }

    /// The same file opened anew, for more than `O_PATH` allows. Never waits for a FIFO or a lease.
    public borrowing func reopen(_ flags: CInt) throws(Errno) -> FileDescriptor {
        try FileDescriptor(opening: "/proc/self/fd/\(number)", flags | O_NONBLOCK | O_NOCTTY)
    }

    /// Another descriptor of the same open file, close-on-exec.
    public borrowing func duplicate() throws(Errno) -> FileDescriptor {
        let number = number
        return FileDescriptor(owning: try Errno.check { fcntl(number, F_DUPFD_CLOEXEC, 0) })
    }
}

/// Both ends of a pipe, close-on-exec.
public struct Pipe: ~Copyable, Sendable {
    public let reading: FileDescriptor
    public let writing: FileDescriptor

    public init() throws(Errno) {
        var ends: (CInt, CInt) = (-1, -1)
        let result = withUnsafeMutableBytes(of: &ends) { fst_pipe($0.assumingMemoryBound(to: CInt.self).baseAddress) }
        try Errno.checkNegative(result)
        reading = FileDescriptor(owning: ends.0)
        writing = FileDescriptor(owning: ends.1)
    }
}

extension FileDescriptor {
    /// One read; 0 is the end.
    public borrowing func read(into buffer: UnsafeMutableRawBufferPointer) throws(Errno) -> Int {
        let number = number
        return try Errno.check { Glibc.read(number, buffer.baseAddress, buffer.count) }
    }

    /// Reads at `offset` until the buffer is full or the file ends; answers the bytes read.
    public borrowing func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(Errno) -> Int {
        let number = number
        var done = 0
        while done < buffer.count {
            let count = try Errno.check {
                pread(number, buffer.baseAddress?.advanced(by: done), buffer.count - done, off_t(offset) + off_t(done))
            }
            if count == 0 { break }
            done += count
        }
        return done
    }

    /// Reads from `offset` to the end, but at most `limit` bytes. Works for the files of /proc too, whose size is told as 0.
    public borrowing func readAll(limit: Int, at offset: Int64 = 0) throws(Errno) -> [UInt8] {
        let size = Int(clamping: max(0, Int64(try status().size) - offset))
        var bytes: [UInt8] = []
        while bytes.count < limit {
            let wanted = min(limit, bytes.isEmpty && size > 0 ? size + 1 : bytes.count + 64 * 1024) - bytes.count
            let chunk = try readChunk(wanted, at: offset + Int64(bytes.count))
            if bytes.isEmpty { bytes = chunk } else { bytes += chunk }
            if chunk.count < wanted { break }
        }
        return bytes
    }

    /// Up to `count` bytes at `offset`; fewer only at the end of the file.
    public borrowing func readChunk(_ count: Int, at offset: Int64) throws(Errno) -> [UInt8] {
        var failure: Errno?
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            do throws(Errno) {
                filled = try read(into: UnsafeMutableRawBufferPointer(buffer), at: offset)
            } catch { failure = error }
        }
        if let failure { throw failure }
        return bytes
    }

    /// Writes everything, at the file's position.
    public borrowing func writeAll(_ bytes: UnsafeRawBufferPointer) throws(Errno) {
        let number = number
        var rest = bytes[...]
        while !rest.isEmpty {
            let chunk = UnsafeRawBufferPointer(rebasing: rest)
            let count = try Errno.check { Glibc.write(number, chunk.baseAddress, chunk.count) }
            rest = rest.dropFirst(count)
        }
    }

    /// Writes everything, at the file's position.
    public borrowing func writeAll(_ bytes: [UInt8]) throws(Errno) {
        var failure: Errno?
        bytes.withUnsafeBytes { buffer in
            do throws(Errno) { try writeAll(buffer) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    /// Returns once the file's bytes are on the disk.
    public borrowing func synchronize() throws(Errno) {
        let number = number
        try Errno.check { fsync(number) }
    }
}
