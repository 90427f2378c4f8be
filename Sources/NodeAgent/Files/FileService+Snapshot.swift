import FastableCompression
public import FastableCore
import FoundationEssentials
import NodeLinux
import Synchronization

extension FileService {
    private var users: ContainerUsers { ContainerUsers(base: uidBase) }

    /// Whether nothing is in the workspace.
    public func isEmpty() async throws -> Bool {
        try await offload { [self] in
            try onFile(.root, "read") { () throws(Errno) in try TreeSwap.isEmpty(root.descriptor) }
        }
    }

    /// Begins to make a compressed archive of the whole workspace.
    public func readSnapshot() throws -> SnapshotStream {
        try SnapshotStream(ArchiveOutput(SnapshotPacker(top: root, users: users), .zstd, work), work) { [self] in
            try checkInPlace()
        }
    }

    /// Begins to take such an archive in, which then replaces the content.
    public func restoreSnapshot(
        _ request: SnapshotRestore, checkpoints: Checkpoints
    ) async throws -> SnapshotSink {
        try await offload { [self] in
            let staged = try onFile(.root, "restore") { () throws(Errno) in
                try StagedTree(in: root, owner: uidBase)
            }
            let intake = try SnapshotIntake(request, top: staged.tree, users: users, work)
            return SnapshotSink(intake, staged: staged, work) { [self] top in
                try replaceContent(
                    with: staged, top: top, keepingAs: request.keepAs, note: "before restore", in: checkpoints)
            }
        }
    }

    /// Lets a staged tree take the place of the content. Gives the checkpoint that has the old content, if there was any to keep.
    func replaceContent(
        with staged: StagedTree, top: TreeBuilder.Attributes?, keepingAs checkpoint: CheckpointID?, note: String,
        in checkpoints: Checkpoints
    ) throws -> CheckpointID? {
        guard let checkpoint else {
            try commitLock.withLock { _ in
                try onFile(.root, "replace") { () throws(Errno) in
                    try staged.publish(at: .root)
                    try top?.apply(toTop: root.descriptor, of: users)
                }
            }
            return nil
        }
        // Its place is there before, so that on a full disk nothing is replaced.
        _ = try checkpoints.begin(CheckpointInfo(id: checkpoint, createdAt: Date(), note: note))
        let kept: Bool
        do {
            kept = try commitLock.withLock { _ in
                try onFile(.root, "replace") { () throws(Errno) in
                    let kept = try staged.replaceContent(keepingAs: checkpoint, in: checkpoints)
                    try top?.apply(toTop: root.descriptor, of: users)
                    return kept
                }
            }
        } catch {
            if (try? checkpoints.tree(checkpoint)) == nil { try? checkpoints.discard(checkpoint) }
            throw error
        }
        guard kept else {
            try checkpoints.discard(checkpoint)
            return nil
        }
        try? checkpoints.removeSurplus()
        return checkpoint
    }
}

/// The bytes of a workspace's archive.
public final class SnapshotStream: Sendable {
    private struct State: ~Copyable {
        var output: ArchiveOutput<SnapshotPacker>
        var digest = Digest()
        var bytes: Int64 = 0
    }

    private let state: Mutex<State>
    private let work: FileWork
    /// Throws when what was read was not all.
    private let check: @Sendable () throws -> Void

    init(
        _ output: consuming ArchiveOutput<SnapshotPacker>, _ work: FileWork,
        check: @escaping @Sendable () throws -> Void
    ) {
        state = Mutex(State(output: output))
        self.work = work
        self.check = check
    }

    /// The next bytes; `nil` after the end. One reader at a time.
    public func next() async throws -> [UInt8]? {
        while true {
            let (bytes, isAtEnd) = try await work.run { [self] in
                try state.withLock { state in
                    let bytes = try state.output.next()
                    bytes.withUnsafeBytes { state.digest.update($0) }
                    state.bytes += Int64(bytes.count)
                    if state.output.isAtEnd { try check() }
                    return (bytes, state.output.isAtEnd)
                }
            }
            if !bytes.isEmpty { return bytes }
            if isAtEnd { return nil }
            try Task.checkCancellation()
        }
    }

    /// What it holds; call it after the end.
    public var facts: SnapshotFacts {
        state.withLock { state in
            SnapshotFacts(
                entries: state.output.packer.entries, contentBytes: state.output.packer.contentBytes,
                archiveBytes: state.bytes, sha256: state.digest.text, changedFiles: state.output.packer.changedFiles,
                skipped: state.output.packer.skipped, isConsistent: state.output.packer.isConsistent,
                fingerprint: state.output.packer.fingerprintText)
        }
    }
}

/// A snapshot's archive on its way to the disk: expanded, made into files, and held against what it must be.
struct SnapshotIntake: ~Copyable {
    private let expected: SnapshotRestore
    private let turn: CompressionTurn
    private var decoder: ZstdDecoder
    private var unpacker: SnapshotUnpacker
    private var digest = Digest()
    private var archiveBytes: Int64 = 0

    init(_ expected: SnapshotRestore, top: RootedDirectory, users: ContainerUsers, _ work: FileWork) throws {
        let turn = try CompressionTurn.take(of: work)
        let unpacker = try Self.unpacker(top, users)
        decoder = try ZstdDecoder()
        self.expected = expected
        self.turn = turn
        self.unpacker = unpacker
    }

    private static func unpacker(_ top: RootedDirectory, _ users: ContainerUsers) throws -> SnapshotUnpacker {
        do throws(Errno) { return try SnapshotUnpacker(top: top, users: users) } catch {
            throw error.fileError(".", doing: "restore")
        }
    }

    var topAttributes: TreeBuilder.Attributes? { unpacker.topAttributes }

    /// Takes compressed bytes, which then wait for `goOn`.
    mutating func take(_ bytes: [UInt8]) throws {
        bytes.withUnsafeBytes { digest.update($0) }
        archiveBytes += Int64(bytes.count)
        guard archiveBytes <= expected.archiveBytes else { throw differs }
        decoder.append(bytes)
    }

    /// Unpacks some of what was taken; `false` when nothing is left of it.
    mutating func goOn() throws -> Bool {
        var expanded = 0
        while expanded < Limits.zstdStepBytes {
            guard let part = try decoder.next() else { return false }
            expanded += part.count
            try unpacker.feed(part)
            guard unpacker.contentBytes <= expected.contentBytes, unpacker.entries <= expected.entries else {
                throw differs
            }
        }
        return true
    }

    /// Ends the archive. When it returns, the tree is on the disk and is what it must be.
    mutating func finish() throws {
        guard decoder.isComplete, archiveBytes == expected.archiveBytes, digest.text == expected.sha256 else {
            throw differs
        }
        try unpacker.finish()
        guard unpacker.entries == expected.entries, unpacker.contentBytes == expected.contentBytes else {
            throw differs
        }
    }

    mutating func abandon() { unpacker.abandon() }

    private var differs: FastableError {
        FastableError(
            .invalid, "What arrived is not the snapshot that was announced. The workspace was not changed. Try again.",
            context: "\(archiveBytes) of \(expected.archiveBytes) bytes")
    }
}

/// Takes a snapshot's archive. `cancel` when there is no `finish`.
public final class SnapshotSink: Sendable {
    typealias Publish = @Sendable (TreeBuilder.Attributes?) throws -> CheckpointID?

    private struct State: ~Copyable {
        var intake: SnapshotIntake
        var staged: StagedTree?
        var isOver = false
    }

    private let state: Mutex<State>
    private let work: FileWork
    private let publish: Publish

    init(_ intake: consuming SnapshotIntake, staged: StagedTree, _ work: FileWork, publish: @escaping Publish) {
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
        while hasMore {
            try Task.checkCancellation()
            hasMore = try await perform { try $0.goOn() }
        }
    }

    /// Ends the archive, and lets it take the place of what was there; gives the checkpoint that has that.
    public func finish() async throws -> CheckpointID? {
        let kept = try await perform { [publish] intake in
            try intake.finish()
            return try publish(intake.topAttributes)
        }
        await cancel()
        return kept
    }

    /// Drops what was sent, as far as it is not in place.
    public func cancel() async {
        let staged = state.withLock { state in
            state.isOver = true
            state.intake.abandon()
            return state.staged.take()
        }
        await staged?.discard(work)
    }

    private func perform<Value: Sendable>(
        _ body: @escaping @Sendable (inout SnapshotIntake) throws -> Value
    ) async throws -> Value {
        do {
            return try await work.run { [self] in
                try state.withLock { state in
                    guard !state.isOver else { throw FastableError(.cancelled, "The restore was cancelled.") }
                    do { return try body(&state.intake) } catch {
                        state.isOver = true
                        throw FastableError.unexpected(error, doing: "restoring the snapshot")
                    }
                }
            }
        } catch {
            // At once: a disk that is full must not stay so.
            await cancel()
            throw error
        }
    }
}
