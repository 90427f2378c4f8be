import CLinux
import FastableCore
import Glibc
import NodeLinux

/// Copies what is below one directory into another, empty one.
///
/// Both sides are reached by paths below their tops that go through no symbolic link, so nothing is read or made elsewhere, whatever
/// moves meanwhile. Copies belong to the container's root, set-id and sticky bits are dropped, links are copied as links, and FIFOs,
/// sockets and devices are left out.
struct TreeCopy {
    private let source: RootedDirectory
    private let target: RootedDirectory
    private let owner: UInt32
    private let budget: CopyBudget
    private let destination: FileStatus
    /// Directories that their owner cannot write to get their mode at the end.
    private var laterModes: [(path: [UInt8], mode: UInt32)] = []
    /// The first files and directories that were made.
    private var made: [[UInt8]] = []
    private(set) var copied = 0
    private(set) var skipped = 0
    private(set) var sizeBytes: Int64 = 0

    /// - Parameter destination: the directory that the copy goes into at the end.
    init(
        from source: RootedDirectory, to target: RootedDirectory, goingInto destination: FileStatus, owner: UInt32,
        budget: CopyBudget
    ) {
        self.source = source
        self.target = target
        self.destination = destination
        self.owner = owner
        self.budget = budget
    }

    /// - Throws: `EINVAL` when the destination lies in the source, `E2BIG` for too many entries, `EFBIG` for too many bytes, and what the
    ///   calls and the budget give. What was copied so far stays.
    mutating func run() throws(Errno) {
        guard try !source.descriptor.status().isSameFile(as: destination) else { throw Errno(EINVAL) }
        var walker = TreeWalker(source)
        while let entry = try walker.next() {
            try budget.check()
            guard !entry.status.isSameFile(as: destination) else { throw Errno(EINVAL) }
            guard copied + skipped < Limits.copyEntries else { throw Errno(E2BIG) }
            do throws(Errno) {
                try copy(entry)
            } catch {
                // It was removed, or replaced by something else, since the walker saw it.
                guard [ENOENT, ENOTDIR, ELOOP].contains(error.number) else { throw error }
            }
        }
        guard !walker.isIncomplete else { throw Errno(E2BIG) }
        for (path, mode) in laterModes.reversed() {
            try target.openWithoutLinks(path, O_RDONLY | O_DIRECTORY).setMode(mode)
        }
    }

    /// Returns once the copy is on the disk. Few files are waited for one by one: whatever else the file system has yet to write, of
    /// other projects too, may take long.
    func synchronize() throws(Errno) {
        guard made.count <= Limits.copyEntriesSavedSingly else {
            try Errno.checkNegative(fst_synchronize_filesystem(target.descriptor.number))
            return
        }
        for path in made.reversed() { try target.openWithoutLinks(path, O_RDONLY).synchronize() }
        try target.descriptor.synchronize()
    }

    private mutating func copy(_ entry: TreeWalker.Entry) throws(Errno) {
        let (parent, name) = Self.split(entry.path)
        let directory = try target.openWithoutLinks(parent, O_RDONLY | O_DIRECTORY)
        switch entry.status.kind {
        case .directory:
            let mode = entry.status.mode & 0o777
            _ = try directory.makeDirectory(name, mode: mode | 0o700, owner: owner)
            if mode & 0o700 != 0o700 { laterModes.append((entry.path, mode)) }
        case .symlink:
            let text = (entry.linkTarget ?? []).map { CChar(bitPattern: $0) } + [0]
            try directory.makeSymlink(name, target: text, owner: owner)
        case .regular: try copyFile(entry, to: directory, name)
        case .other:
            skipped += 1
            return
        }
        copied += 1
        // A link is saved with its directory.
        if entry.status.kind != .symlink, made.count <= Limits.copyEntriesSavedSingly { made.append(entry.path) }
    }

    private mutating func copyFile(
        _ entry: TreeWalker.Entry, to directory: borrowing FileDescriptor, _ name: [CChar]
    ) throws(Errno) {
        let file = try source.openWithoutLinks(entry.path, O_RDONLY)
        let status = try file.status()
        guard status.kind == .regular else { throw Errno(ENOENT) }
        guard status.size <= Int64(Limits.copyBytes) - sizeBytes else { throw Errno(EFBIG) }
        let copy = try directory.openEntry(name, O_RDWR | O_CREAT | O_EXCL, mode: 0o600)
        let budget = budget
        try file.copyContent(to: copy, size: status.size) { () throws(Errno) in try budget.check() }
        try copy.setOwner(owner)
        try copy.setMode(status.mode & 0o777)
        sizeBytes += status.size
    }

    private static func split(_ path: [UInt8]) -> (parent: [UInt8], name: [CChar]) {
        let slash = path.lastIndex(of: UInt8(ascii: "/"))
        let parent = slash.map { Array(path[..<$0]) } ?? [UInt8(ascii: ".")]
        let name = path[(slash.map { $0 + 1 } ?? 0)...].map { CChar(bitPattern: $0) } + [0]
        return (parent, name)
    }
}
