public import FastableCore
import Glibc
import NodeLinux
import Synchronization

/// Takes the raw bytes of one file; nothing is seen of them before `finish`.
///
/// When it is dropped without `finish` the bytes are gone and the old file stays.
public final class FileUploadSink: Sendable {
    private struct State: ~Copyable {
        var pending: PendingFile?
        var digest = Digest()
        var count = 0
    }

    private let service: FileService
    private let path: RootedPath
    private let precondition: Precondition
    private let expected: Expectation
    private let isNew: Bool
    private let state: Mutex<State>

    init(
        _ service: FileService, _ path: RootedPath, _ precondition: Precondition, _ expected: Expectation,
        _ pending: consuming PendingFile, isNew: Bool
    ) {
        self.service = service
        self.path = path
        self.precondition = precondition
        self.expected = expected
        self.isNew = isNew
        state = Mutex(State(pending: .some(pending)))
    }

    /// Adds bytes. One writer at a time; waiting for it slows the sender.
    public func write(_ bytes: [UInt8]) async throws {
        try await service.offload { [self] in
            try service.onFile(path, "write") { () throws(Errno) in
                try state.withLock { state throws(Errno) in
                    guard state.count + bytes.count <= Limits.rawFileBytes else { throw Errno(EFBIG) }
                    guard state.pending != nil else { throw Errno(EBADF) }
                    do throws(Errno) { try state.pending?.write(bytes) } catch {
                        // At once, and not when the sender lets go: a disk that is full must not stay so.
                        state.pending = nil
                        throw error
                    }
                    bytes.withUnsafeBytes { state.digest.update($0) }
                    state.count += bytes.count
                }
            }
        }
    }

    /// Puts the file in place once its bytes are on the disk.
    ///
    /// - Throws: `stale` when the file changed since the upload began and `ifMatch` was given.
    public func finish() async throws -> FileWriteResult {
        try await service.offload { [self] in
            let result = try state.withLock { state in
                guard var pending = state.pending.take() else {
                    throw FastableError(.invalid, "The upload has ended already.")
                }
                try service.onFile(path, "write") { () throws(Errno) in try pending.synchronize() }
                guard try service.commit(&pending, path, expected) else { return FileWriteResult?.none }
                return FileWriteResult(
                    path: path.description, sha256: state.digest.text, sizeBytes: state.count, created: isNew)
            }
            guard let result else {
                // Tells what is there now; when that fits after all, the change came and went.
                try service.check(path, precondition)
                throw service.busy(path)
            }
            return result
        }
    }

    /// Drops what was sent.
    public func cancel() { state.withLock { $0.pending = nil } }
}

extension FileService {
    /// Begins to take the raw bytes of a file of any size up to `Limits.rawFileBytes`.
    public func upload(_ request: FileUpload) async throws -> FileUploadSink {
        let path = try Self.requestedPath(request.path)
        let precondition = try Precondition(request.ifMatch)
        return try await offload { [self] in
            let place = try writablePlace(path, precondition)
            let isNew = place.status == nil
            let expected = try expectation(path, place, precondition)
            let pending = try onFile(path, "write") { () throws(Errno) in
                try PendingFile.begin(
                    at: place, owner: uidBase, attributes: .kept(executable: request.executable), names: names)
            }
            return FileUploadSink(self, path, precondition, expected, pending, isNew: isNew)
        }
    }

    /// Throws `stale` when the file is not as the precondition says.
    func check(_ path: RootedPath, _ precondition: Precondition) throws {
        _ = try expectation(path, try writablePlace(path, precondition), precondition)
    }
}
