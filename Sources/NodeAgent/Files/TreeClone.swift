public import FastableCore
import Glibc
import NodeLinux
import Synchronization

/// A copy of a tree that is under way: what it has come to, and whether anybody still wants it.
public final class TreeWork: Sendable {
    private let state = Mutex(TreeProgress(entries: 0, contentBytes: 0))
    private let cancellation = Cancellation()
    private let onProgress: @Sendable (TreeProgress) -> Void

    /// - Parameter onProgress: called on the thread that copies, each time `progress` changes; the copy goes on when it returns.
    public init(onProgress: @escaping @Sendable (TreeProgress) -> Void = { _ in }) { self.onProgress = onProgress }

    public var progress: TreeProgress { state.withLock { $0 } }

    /// Lets the copy end soon, with `cancelled`.
    public func cancel() { cancellation.cancel() }

    func check() throws(Errno) { try cancellation.check() }

    func tell(_ progress: TreeProgress) {
        state.withLock { $0 = progress }
        onProgress(progress)
    }
}

/// Copies a whole tree into a fresh directory that nobody else can reach yet: contents by sharing blocks where the file system can,
/// all attributes, every name of a file. Owners keep the numbers that they have in the container, whichever ids the host gives them.
struct TreeClone: ~Copyable {
    private let source: RootedDirectory
    private let users: ContainerUsers
    private let target: RootedDirectory
    private let work: TreeWork
    /// So much of the disk stays free.
    private let reserveBytes: Int
    private var builder: TreeBuilder
    private var links = HardLinks()
    private var extended = ExtendedAttributes()
    private(set) var result = TreeWorkResult(entries: 0, contentBytes: 0, changedFiles: 0, skipped: 0)

    private static let entriesBetweenLooks = 256

    init(
        from source: RootedDirectory, of users: ContainerUsers, to target: RootedDirectory, for owners: ContainerUsers,
        reserveBytes: Int, work: TreeWork
    ) throws(Errno) {
        self.source = source
        self.users = users
        self.target = target
        self.reserveBytes = reserveBytes
        self.work = work
        builder = try TreeBuilder(in: target, users: owners)
    }

    /// Copies everything; it is on the disk then. What was copied before an error stays.
    ///
    /// - Throws: `E2BIG` for too many entries, `EFBIG` for too many bytes, `ENOSPC` also before the disk is full, `ECANCELED`.
    mutating func run() throws(Errno) {
        var walker = TreeWalker(source)
        while let entry = try walker.next() {
            if result.entries.isMultiple(of: Self.entriesBetweenLooks) { try look() }
            guard result.entries < Limits.snapshotEntries else { throw Errno(E2BIG) }
            try copy(entry)
        }
        guard !walker.isIncomplete else { throw Errno(E2BIG) }
        try builder.finish()
        look(at: result)
    }

    private func look(at result: TreeWorkResult) {
        work.tell(TreeProgress(entries: result.entries, contentBytes: result.contentBytes))
    }

    private func look() throws(Errno) {
        try work.check()
        look(at: result)
        var facts = statvfs()
        let number = target.descriptor.number
        try Errno.check { fstatvfs(number, &facts) }
        if Int(clamping: facts.f_bavail) * Int(clamping: facts.f_frsize) < reserveBytes { throw Errno(ENOSPC) }
    }

    private mutating func copy(_ entry: TreeWalker.Entry) throws(Errno) {
        switch entry.status.kind {
        case .directory:
            let extended = try extended.ofDirectory(entry.path, below: source)
            try builder.makeDirectory(
                entry.path, TreeBuilder.Attributes(entry.status, of: users, extended: extended))
        case .symlink:
            try builder.makeSymlink(
                entry.path, to: entry.linkTarget ?? [], TreeBuilder.Attributes(entry.status, of: users))
        case .regular: guard try copyFile(entry.path) else { return }
        case .other:
            result.skipped += 1
            return
        }
        result.entries += 1
    }

    /// `false` when there is no such file any more.
    private mutating func copyFile(_ path: [UInt8]) throws(Errno) -> Bool {
        let file: FileDescriptor
        do throws(Errno) { file = try source.openWithoutLinks(path, O_RDONLY) } catch {
            // It was removed, or replaced by something else, since the walker saw it.
            guard [ENOENT, ENOTDIR, ELOOP, ENXIO].contains(error.number) else { throw error }
            result.changedFiles += 1
            return false
        }
        let status = try file.status()
        guard status.kind == .regular else {
            result.changedFiles += 1
            return false
        }
        if let first = links.earlierName(of: status, at: path) {
            try builder.makeHardLink(path, to: first)
            return true
        }
        guard status.size <= Limits.snapshotContentBytes - result.contentBytes else { throw Errno(EFBIG) }
        let copy = try builder.makeFile(path)
        try file.copyContent(to: copy, size: status.size) { () throws(Errno) in try look() }
        let extended = try extended.of(file)
        try builder.finishFile(copy, TreeBuilder.Attributes(status, of: users, extended: extended))
        if try !file.status().isSameState(as: status) { result.changedFiles += 1 }
        result.contentBytes += status.size
        return true
    }
}
