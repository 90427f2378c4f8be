public import FastableCore
import Glibc
import NodeLinux
import Synchronization

extension FileService {
    /// Begins to unpack a tar archive below a directory, which is made when it is missing.
    ///
    /// With `replace` the old content stays until the new one is complete and on the disk, and then gives way to it. The disk has
    /// to hold both for that long. With an empty `ifMatch` the tree appears when it is complete, where nothing was.
    ///
    /// - Throws: `stale` when `ifMatch` does not hold.
    public func pushTree(_ request: TreePush) async throws -> TreePushSink {
        let path = try Self.requestedPath(request.path ?? ".")
        return try await offload { [self] in
            let expansion = request.compression == nil ? nil : try ArchiveIntake.Expansion(work)
            if try Self.isForNothing(request) { return try beginNew(path, expansion) }
            if request.replace ?? false { return try beginReplacing(path, expansion) }
            if !path.isRoot {
                _ = try onFile(path, "make") { () throws(Errno) in
                    try root.makeDirectory(path, owner: uidBase).number
                }
            }
            let top = try directory(path, "unpack into")
            return TreePushSink(ArchiveIntake(TreeUnpacker(top: top, owner: uidBase, names: names), expansion), work)
        }
    }

    /// Whether nothing may be at the place. A directory has no content that could be named otherwise.
    private static func isForNothing(_ request: TreePush) throws -> Bool {
        switch try Precondition(request.ifMatch) {
        case .none: return false
        case .absent:
            guard request.replace ?? false else { return true }
            throw FastableError(
                .unprocessable, "A tree cannot both replace what is there and ask that nothing is. Leave one out.",
                details: ["field": "replace"])
        case .digest, .version:
            throw FastableError(
                .unprocessable,
                "For a tree ‘ifMatch’ can only be empty: nothing may be there yet. A directory has no sha256.",
                details: ["field": "ifMatch"])
        }
    }

    private func beginNew(
        _ path: RootedPath, _ expansion: consuming ArchiveIntake.Expansion?
    ) throws -> TreePushSink {
        let isThere = try onFile(path, "unpack into") { () throws(Errno) in
            guard !path.isRoot else { return true }
            do throws(Errno) { return try root.place(of: path).status != nil } catch {
                guard error.number == ENOENT else { throw error }
                return false
            }
        }
        guard !isThere else { throw Self.isTaken(path) }
        return try stage(path, expansion) { [self] staged in
            do throws(Errno) {
                try commitLock.withLock { _ throws(Errno) in try staged.publish(asNew: path) }
            } catch {
                throw error.number == EEXIST
                    ? Self.isTaken(path) : error.fileError(path.description, doing: "unpack into")
            }
        }
    }

    private static func isTaken(_ path: RootedPath) -> FastableError {
        FastableError(
            .stale,
            "‘\(path)’ is there already, and ‘ifMatch’ says that nothing may be. Choose another place, or leave ‘ifMatch’ out.",
            details: ["path": .string(path.description), "sha256": .null])
    }

    private func beginReplacing(
        _ path: RootedPath, _ expansion: consuming ArchiveIntake.Expansion?
    ) throws -> TreePushSink {
        // A file in the way is told now; a directory that is missing is made when there is something to put into it.
        do { _ = try directory(path, "unpack into") } catch let error as FastableError where error.code == .notFound {}
        return try stage(path, expansion) { [self] staged in
            try onFile(path, "replace") { () throws(Errno) in
                try commitLock.withLock { _ throws(Errno) in try staged.publish(at: path) }
            }
        }
    }

    private func stage(
        _ path: RootedPath, _ expansion: consuming ArchiveIntake.Expansion?,
        publish: @escaping @Sendable (StagedTree) throws -> Void
    ) throws -> TreePushSink {
        let staged = try onFile(path, "unpack into") { () throws(Errno) in try StagedTree(in: root, owner: uidBase) }
        let intake = ArchiveIntake(TreeUnpacker(top: staged.tree, owner: uidBase), expansion)
        return TreePushSink(intake, work, staged: staged) { try publish(staged) }
    }

    /// Makes a tar archive of what is below a directory.
    public func pullTree(_ request: TreePull) async throws -> TreePullStream {
        let path = try Self.requestedPath(request.path ?? ".")
        let packer = TreePacker(top: try directory(path, "read"))
        return TreePullStream(try ArchiveOutput(packer, request.compression, work), work)
    }
}

/// Takes the bytes of a tar archive; the first entry that is refused ends the matter.
///
/// Entries are there as soon as they are complete, unless the tree replaces another: then all are there after `finish`, or none.
/// `cancel` when there is no `finish`.
public final class TreePushSink: Sendable {
    private struct State: ~Copyable {
        var intake: ArchiveIntake
        var failure: FastableError?
        var staged: StagedTree?
    }

    private let state: Mutex<State>
    private let work: FileWork
    private let publish: @Sendable () throws -> Void

    /// - Parameter publish: puts the staged tree in place.
    init(
        _ intake: consuming ArchiveIntake, _ work: FileWork, staged: StagedTree? = nil,
        publish: @escaping @Sendable () throws -> Void = {}
    ) {
        state = Mutex(State(intake: intake, staged: staged))
        self.work = work
        self.publish = publish
    }

    /// Adds bytes. One writer at a time; waiting for it slows the sender.
    public func write(_ bytes: [UInt8]) async throws {
        var hasMore = try await perform { intake in
            try intake.take(bytes)
            return try intake.goOn()
        }
        // A few bytes can stand for gigabytes: not all at once, so that the end of the transfer is noticed.
        while hasMore {
            try Task.checkCancellation()
            hasMore = try await perform { try $0.goOn() }
        }
    }

    /// Ends the archive; its files are on the disk then.
    public func finish() async throws -> TreeResult {
        let result = try await perform { [publish] intake in
            let result = try intake.finish()
            try publish()
            return result
        }
        // What was replaced lies where the new tree was.
        await discard()
        return result
    }

    /// Drops what was sent, as far as it is not in place.
    public func cancel() async {
        let cancelled = FastableError(.cancelled, "The transfer was cancelled.")
        state.withLock { if $0.failure == nil { $0.failure = cancelled } }
        await discard()
    }

    private func discard() async {
        guard let staged = state.withLock({ $0.staged.take() }) else { return }
        await staged.discard(work)
    }

    private func perform<Value: Sendable>(
        _ body: @escaping @Sendable (inout ArchiveIntake) throws -> Value
    ) async throws -> Value {
        do {
            return try await work.run { [self] in
                try state.withLock { state in
                    if let failure = state.failure { throw failure }
                    do {
                        return try body(&state.intake)
                    } catch {
                        let failure = FastableError.unexpected(error, doing: "unpacking the archive")
                        state.failure = failure
                        state.intake.abandon()
                        throw failure
                    }
                }
            }
        } catch {
            // At once: a disk that is full must not stay so.
            await discard()
            throw error
        }
    }
}

/// The bytes of a tar archive.
public final class TreePullStream: Sendable {
    private let output: Mutex<ArchiveOutput<TreePacker>>
    private let work: FileWork

    init(_ output: consuming ArchiveOutput<TreePacker>, _ work: FileWork) {
        self.output = Mutex(output)
        self.work = work
    }

    /// The next bytes; `nil` after the end. One reader at a time.
    public func next() async throws -> [UInt8]? {
        while true {
            let (bytes, isAtEnd) = try await work.run { [self] in
                try output.withLock { (try $0.next(), $0.isAtEnd) }
            }
            if !bytes.isEmpty { return bytes }
            if isAtEnd { return nil }
            try Task.checkCancellation()
        }
    }

    /// What was packed so far.
    public var result: TreeResult { output.withLock { $0.packer.result } }
}
