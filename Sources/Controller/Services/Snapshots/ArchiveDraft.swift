import Crypto
import FastableCore
import NIOCore
import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// An archive while it is written. It becomes a snapshot's archive when it was read back from the disk and is what the node says that it
/// sent; otherwise `discard` leaves nothing behind.
final class ArchiveDraft: Sendable {
    private struct State {
        /// -1 once it is closed.
        var file: CInt
        var hash = SHA256()
        var bytes: Int64 = 0
        var waiting: [UInt8] = []
        var uncheckedBytes = 0
    }

    let id: SnapshotID
    private let store: ArchiveStore
    private let thread = FileThread()
    private let state: Mutex<State>

    init(_ id: SnapshotID, in store: ArchiveStore) throws {
        self.id = id
        self.store = store
        let path = store.draftPath(id)
        let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw FastableError.system(errno, cannot: "write the snapshot", context: path) }
        state = Mutex(State(file: file))
    }

    deinit { state.withLock { if $0.file >= 0 { close($0.file) } } }

    /// Adds bytes. Waiting for it slows the sender to what the disk takes.
    func write(_ bytes: ByteBuffer) async throws {
        let isDue = state.withLock { state in
            state.waiting += bytes.readableBytesView
            return state.waiting.count >= Limits.snapshotPieceBytes
        }
        if isDue { try await flush() }
    }

    private func flush() async throws {
        try await thread.run { [self] in
            try state.withLock { state in
                state.uncheckedBytes += state.waiting.count
                if state.uncheckedBytes >= Limits.snapshotSpaceCheckBytes {
                    state.uncheckedBytes = 0
                    try store.checkSpace()
                }
                try write(state.waiting, to: state.file)
                state.hash.update(data: state.waiting)
                state.bytes += Int64(state.waiting.count)
                state.waiting.removeAll(keepingCapacity: true)
            }
        }
    }

    private func write(_ bytes: [UInt8], to file: CInt) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else {
                if errno == ENOSPC || errno == EDQUOT {
                    throw ArchiveStore.tooFull(freeBytes: 0, reserveBytes: store.reserveBytes)
                }
                throw FastableError.system(errno, cannot: "write the snapshot")
            }
            rest = rest.dropFirst(count)
        }
    }

    /// Ends the archive: onto the disk, read back, held against the node's own counts, and under its final name.
    func commit(expecting facts: SnapshotFacts) async throws {
        try await flush()
        let (bytes, digest) = try await thread.run { [self] in
            try state.withLock { state in
                guard fsync(state.file) == 0 else { throw FastableError.system(errno, cannot: "write the snapshot") }
                // What is checked is what lies on the disk, not what is in memory.
                posix_fadvise(state.file, 0, 0, POSIX_FADV_DONTNEED)
                close(state.file)
                state.file = -1
                return (state.bytes, Hex.encode(state.hash.finalize()))
            }
        }
        guard bytes == facts.archiveBytes, digest == facts.sha256 else {
            throw FastableError(
                .internal, "What arrived of the snapshot is not what the node sent. Try again.",
                context: "\(bytes) bytes, \(digest); the node: \(facts)")
        }
        let found = try await ArchiveCheck.run(store.draftPath(id), on: thread)
        guard found == ArchiveCheck.Found(facts) else {
            throw FastableError(
                .internal, "The snapshot is not whole on the controller's disk. Try again.",
                context: "\(found); the node: \(facts)")
        }
        try await thread.run { [self] in
            guard rename(store.draftPath(id), store.path(id)) == 0 else {
                throw FastableError.system(errno, cannot: "write the snapshot")
            }
            try store.synchronizeDirectory()
        }
    }

    /// Removes it, under whichever name it is.
    func discard() async {
        try? await thread.run { [self] in
            unlink(store.draftPath(id))
            unlink(store.path(id))
        }
        store.end(id)
    }
}
