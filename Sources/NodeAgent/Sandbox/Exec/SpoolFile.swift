import Glibc
import NIOCore
import NodeLinux
import Synchronization

/// The last bytes of one output stream on disk: the byte at offset `n` stands at position `n mod capacity`.
///
/// It is never synchronized to the disk: it has to survive the daemon, not the machine. Only root can read it.
final class SpoolFile: Sendable {
    private let directory: String
    private let path: String
    private let capacity: Int
    private let opened = Mutex<CInt?>(nil)

    init(directory: String, name: String, capacity: Int) {
        self.directory = directory
        path = directory + "/" + name
        self.capacity = capacity
    }

    deinit {
        if let file = opened.withLock({ $0 }) { close(file) }
    }

    /// Makes the file, and its directory, when this is the first write.
    func write(_ bytes: ByteBuffer, at offset: UInt64) throws(Errno) {
        let file = try open(creating: true)
        var bytes = bytes
        var offset = offset
        while bytes.readableBytes > 0 {
            let position = Int(offset % UInt64(capacity))
            let count = try bytes.withUnsafeReadableBytes { memory throws(Errno) in
                let most = min(memory.count, capacity - position)
                return try Errno.check { pwrite(file, memory.baseAddress, most, off_t(position)) }
            }
            bytes.moveReaderIndex(forwardBy: count)
            offset += UInt64(count)
        }
    }

    /// Up to `count` bytes; fewer where the file turns around. None when the file is not there or too short.
    func read(at offset: UInt64, count: Int) throws(Errno) -> ByteBuffer {
        let file: CInt
        do { file = try open(creating: false) } catch {
            if error.number == ENOENT { return ByteBuffer() }
            throw error
        }
        let position = Int(offset % UInt64(capacity))
        let most = min(count, capacity - position)
        var buffer = ByteBufferAllocator().buffer(capacity: most)
        try buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: most) { memory throws(Errno) in
            try Errno.check { pread(file, memory.baseAddress, most, off_t(position)) }
        }
        return buffer
    }

    private func open(creating: Bool) throws(Errno) -> CInt {
        try opened.withLock { opened throws(Errno) in
            if let opened { return opened }
            if creating, mkdir(directory, 0o700) < 0, errno != EEXIST { throw Errno.last }
            let flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | (creating ? O_CREAT : 0)
            let file = try Errno.check { Glibc.open(path, flags, 0o600) }
            opened = file
            return file
        }
    }
}
