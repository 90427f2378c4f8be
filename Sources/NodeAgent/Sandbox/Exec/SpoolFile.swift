import Glibc
import NIOCore
import NodeLinux
import Synchronization

/// The last bytes of one output stream on disk: the byte at offset `n` stands at position `n mod capacity`.
///
/// When the disk was full and nobody needed the bytes, the file begins anew behind them, under a name that says where: `stdout@1048576`.
/// So nobody ever takes other bytes for those that were lost.
///
/// It has to survive the daemon, not the machine, so it is not synchronized to the disk as it grows. Only root can read it.
final class SpoolFile: Sendable {
    private struct State {
        var start: UInt64
        var opened: CInt?
    }

    private let directory: String
    private let name: String
    private let capacity: Int
    private let state: Mutex<State>

    /// - Parameter start: the first byte that it has, see `start(of:in:)`.
    init(directory: String, name: String, capacity: Int, start: UInt64 = 0) {
        self.directory = directory
        self.name = name
        self.capacity = capacity
        state = Mutex(State(start: start))
    }

    deinit {
        if let file = state.withLock({ $0.opened }) { close(file) }
    }

    /// The first byte that a file from earlier has; 0 for one that was never begun anew, and without a file.
    static func start(of name: String, in directory: String) -> UInt64 {
        files(of: name, in: directory).compactMap { UInt64($0.dropFirst(name.utf8.count + 1)) }.max() ?? 0
    }

    /// Removes what was written under a name.
    static func remove(_ name: String, in directory: String) {
        for file in files(of: name, in: directory) { unlink(directory + "/" + file) }
    }

    /// Puts what was written under a name onto the disk itself.
    static func synchronize(_ name: String, in directory: String) throws(Errno) {
        for file in files(of: name, in: directory) {
            do throws(Errno) {
                try FileDescriptor(opening: directory + "/" + file, O_RDONLY | O_NOFOLLOW).synchronize()
            } catch {
                // It may have gone meanwhile, as the oldest one.
                guard error.number == ENOENT else { throw error }
            }
        }
    }

    private static func files(of name: String, in directory: String) -> [String] {
        Directories.names(directory).filter { $0 == name || $0.hasPrefix(name + "@") }
    }

    private func path(_ start: UInt64) -> String {
        start == 0 ? "\(directory)/\(name)" : "\(directory)/\(name)@\(start)"
    }

    /// Forgets all bytes; the next ones are at `start` and behind.
    func restart(at start: UInt64) {
        state.withLock { state in
            if let file = state.opened.take() { close(file) }
            // Under its new name from now on, and empty: the next daemon must not take it for one without a beginning.
            let old = path(state.start)
            if truncate(old, 0) < 0 || rename(old, path(start)) < 0 { unlink(old) }
            state.start = start
        }
    }

    /// The first byte that it has.
    var start: UInt64 { state.withLock { $0.start } }

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
        try state.withLock { state throws(Errno) in
            if let opened = state.opened { return opened }
            if creating, mkdir(directory, 0o700) < 0, errno != EEXIST { throw Errno.last }
            let flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | (creating ? O_CREAT : 0)
            let path = path(state.start)
            let file = try Errno.check { Glibc.open(path, flags, 0o600) }
            state.opened = file
            return file
        }
    }
}
