import FastableCore
import NIOCore
import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// An archive of the store that is read from its beginning, once. It stays readable when it is removed meanwhile.
final class StoredArchive: Sendable {
    private let file: CInt
    private let position = Mutex<Int64>(0)

    /// Throws `not_found` when there is no such file.
    init(_ path: String) throws {
        file = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)
        guard file >= 0 else { throw FastableError.system(errno, cannot: "read the snapshot", context: path) }
        posix_fadvise(file, 0, 0, POSIX_FADV_SEQUENTIAL)
    }

    deinit { close(file) }

    /// The next bytes; `nil` at the end.
    func next(on thread: FileThread) async throws -> [UInt8]? {
        try Task.checkCancellation()
        return try await thread.run { [self] in
            try position.withLock { position in
                var failure: CInt?
                let bytes = [UInt8](unsafeUninitializedCapacity: Limits.snapshotPieceBytes) { buffer, filled in
                    var count = -1
                    repeat {
                        count = pread(file, buffer.baseAddress, buffer.count, off_t(position))
                    } while count < 0
                        && errno == EINTR
                    if count < 0 { failure = errno }
                    filled = max(0, count)
                }
                if let failure { throw FastableError.system(failure, cannot: "read the snapshot") }
                position += Int64(bytes.count)
                return bytes.isEmpty ? nil : bytes
            }
        }
    }
}

/// Its bytes, for a transfer.
struct StoredArchiveBytes: AsyncSequence, Sendable {
    typealias Element = ByteBuffer

    let archive: StoredArchive
    /// Told how many bytes were given.
    let onBytes: @Sendable (Int) async throws -> Void

    func makeAsyncIterator() -> Iterator { Iterator(bytes: self) }

    struct Iterator: AsyncIteratorProtocol {
        let bytes: StoredArchiveBytes
        private let thread = FileThread()

        init(bytes: StoredArchiveBytes) { self.bytes = bytes }

        func next() async throws -> ByteBuffer? {
            guard let piece = try await bytes.archive.next(on: thread) else { return nil }
            try await bytes.onBytes(piece.count)
            return ByteBuffer(bytes: piece)
        }
    }
}
