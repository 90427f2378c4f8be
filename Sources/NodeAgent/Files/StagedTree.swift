import CLinux
import FastableCore
import Glibc
import NodeLinux

/// A tree that is made out of sight, on the workspace's own file system, before it takes its place or that of another.
///
/// Its directory is the node's alone (mode 0700): a process of the container may move it about, but neither look into it nor change
/// what is in it. Every step goes through open directories, so a move leads nothing astray.
final class StagedTree: Sendable {
    private static let prefix = ".fastable-push-"
    private static let digits = 16
    /// For ripgrep.
    static let namePattern = prefix + String(repeating: "?", count: digits)
    static let treeName = "tree"
    /// Names the checkpoint that what was replaced becomes. Once the exchange is done, its note gone, nothing undoes that any more.
    private static let keepName = "keep"

    /// Below this the archive is unpacked.
    let tree: RootedDirectory
    private let root: RootedDirectory
    private let owner: UInt32
    /// Holds the tree, by the name `treeName`.
    let directory: FileDescriptor
    private let name: String

    init(in root: RootedDirectory, owner: UInt32) throws(Errno) {
        self.root = root
        self.owner = owner
        let number = String(UInt64.random(in: .min ... .max), radix: 16)
        name = Self.prefix + String(repeating: "0", count: Self.digits - number.count) + number
        directory = try root.descriptor.makeDirectory(name, mode: 0o700, owner: geteuid())
        tree = RootedDirectory(try directory.makeDirectory(Self.treeName, mode: 0o755, owner: owner))
    }

    /// Whether an entry is such a directory, to be passed over by whatever shows, watches or copies a workspace.
    static func isName(_ name: UnsafePointer<CChar>) -> Bool {
        guard strncmp(name, prefix, prefix.utf8.count) == 0 else { return false }
        let rest = name + prefix.utf8.count
        return strlen(rest) == digits && strspn(rest, "0123456789abcdef") == digits
    }

    /// Lets the tree, which must be on the disk, have a place where nothing is.
    ///
    /// - Throws: `EEXIST` when something is there, also a symbolic link that leads nowhere.
    func publish(asNew path: RootedPath) throws(Errno) {
        guard !path.isRoot else { throw Errno(EEXIST) }
        let place = try root.place(of: path, makingDirectoriesFor: owner)
        try directory.moveEntry(Self.treeName, to: place.directory, as: place.name, exclusively: true)
        try place.directory.synchronize()
        try directory.synchronize()
    }

    /// Lets the tree, which must be on the disk, take the place of what is at `path`; what was there lies where the tree was.
    ///
    /// A directory other than the root is exchanged in one step. The root itself is a mount point of the container: its entries are
    /// exchanged one by one, each in one step, and all go back when one cannot.
    func publish(at path: RootedPath) throws(Errno) {
        if path.isRoot { return try exchangeContent() }
        let place: RootedDirectory.Place
        do throws(Errno) {
            place = try root.finalPlace(of: path, makingDirectoriesFor: owner)
        } catch {
            // A symbolic link that leads to the root.
            guard error.number == EISDIR else { throw error }
            return try exchangeContent()
        }
        switch place.status?.kind {
        case nil: try directory.moveEntry(Self.treeName, to: place.directory, as: place.name)
        case .directory:
            if let status = place.status { try adopt(status) }
            try directory.exchangeEntry(Self.treeName, with: place.directory, place.name)
        case .regular, .symlink, .other: throw Errno(ENOTDIR)
        }
        try place.directory.synchronize()
        try directory.synchronize()
    }

    /// The new directory belongs to whom the old one belongs, unless that is nobody of the container.
    private func adopt(_ old: FileStatus) throws(Errno) {
        let users = owner..<(owner + 65_536)
        if users.contains(old.user), users.contains(old.group) {
            try tree.descriptor.setOwner(old.user, group: old.group)
        }
        try tree.descriptor.setMode(old.mode & 0o777)
    }

    private func exchangeContent(keepingAs checkpoint: CheckpointID? = nil) throws(Errno) {
        let swap = try TreeSwap(from: tree.descriptor, into: root.descriptor)
        try swap.note(in: directory)
        do throws(Errno) {
            if let checkpoint { try Self.noteKept(checkpoint, in: directory) }
            try swap.perform(tree.descriptor, root.descriptor)
            try root.descriptor.synchronize()
            try tree.descriptor.synchronize()
        } catch {
            try swap.undo(tree.descriptor, root.descriptor)
            try Self.forgetKept(in: directory)
            try TreeSwap.forget(in: directory)
            throw error
        }
        try TreeSwap.forget(in: directory)
    }

    // MARK: keeping what was replaced

    /// Lets the tree, which must be on the disk, take the place of the workspace's content, and keeps that as a checkpoint. Whenever
    /// the daemon ends meanwhile, the old content is in one of the two places.
    ///
    /// - Returns: whether there was something to keep.
    func replaceContent(keepingAs checkpoint: CheckpointID, in checkpoints: Checkpoints) throws(Errno) -> Bool {
        let old = try root.descriptor.status()
        try exchangeContent(keepingAs: checkpoint)
        guard try !TreeSwap.isEmpty(tree.descriptor) else {
            try Self.forgetKept(in: directory)
            return false
        }
        try tree.descriptor.setOwner(old.user, group: old.group)
        try tree.descriptor.setMode(old.mode)
        try Self.moveKept(from: directory, to: checkpoints)
        return true
    }

    private static func noteKept(_ checkpoint: CheckpointID, in directory: borrowing FileDescriptor) throws(Errno) {
        let file = try directory.openEntry(keepName, O_WRONLY | O_CREAT | O_EXCL, mode: 0o600)
        try file.writeAll(Array(checkpoint.description.utf8))
        try file.synchronize()
        try directory.synchronize()
    }

    private static func forgetKept(in directory: borrowing FileDescriptor) throws(Errno) {
        do throws(Errno) { try directory.removeEntry(keepName) } catch {
            if error.number != ENOENT { throw error }
        }
        try directory.synchronize()
    }

    private static func isKept(in directory: borrowing FileDescriptor) throws(Errno) -> Bool {
        do throws(Errno) { _ = try directory.status(of: keepName) } catch {
            guard error.number == ENOENT else { throw error }
            return false
        }
        return true
    }

    private static func moveKept(
        from directory: borrowing FileDescriptor, to checkpoints: Checkpoints
    ) throws(Errno) {
        let bytes = try directory.openEntry(keepName, O_RDONLY).readAll(limit: 64)
        // A note that is not whole was not followed by anything.
        if let checkpoint = CheckpointID(String(decoding: bytes, as: UTF8.self)) {
            do throws(Errno) { try checkpoints.adopt(checkpoint, treeName, of: directory) } catch {
                // It was moved already.
                if error.number != ENOENT { throw error }
            }
        }
        try forgetKept(in: directory)
    }

    /// Removes what lies in the directory, and that itself. What cannot be removed goes at the next start of the node.
    func discard(_ work: FileWork) async {
        try? await work.run { [self] in try remove() }
    }

    /// Like `discard`, on this thread.
    func remove() throws(Errno) {
        // A swap that could neither be done nor undone: what is here belongs to the workspace.
        guard try !TreeSwap.isNoted(in: directory), try !Self.isKept(in: directory) else { return }
        try Self.remove(directory, name, in: root.descriptor)
    }

    private static func remove(
        _ directory: borrowing FileDescriptor, _ name: String, in root: borrowing FileDescriptor
    ) throws(Errno) {
        var removal = TreeRemoval()
        try removal.removeContent(of: directory)
        try root.removeDirectory(name)
    }
}

/// What pushes left in a workspace that the end of the daemon cut short.
public struct AbandonedTrees: Sendable {
    private let workspace: String
    private let names: [String]

    /// Looks for them, and undoes what one of them had begun to exchange; `nil` when there are none. What had been replaced already
    /// goes where it was to be kept.
    public init?(workspace: String, checkpoints: Checkpoints) throws {
        let root = try FileDescriptor(opening: workspace, O_RDONLY | O_DIRECTORY)
        var found: [String] = []
        try root.forEachEntry { entry in
            if StagedTree.isName(entry.pointer) { found.append(String(decoding: entry.name, as: UTF8.self)) }
            return true
        }
        names = found.filter { Self.isOurs($0, in: root) }
        self.workspace = workspace
        guard !names.isEmpty else { return nil }
        for name in names { try StagedTree.settle(name, in: root, checkpoints) }
    }

    /// One that a process of the container made is an ordinary directory.
    private static func isOurs(_ name: String, in root: borrowing FileDescriptor) -> Bool {
        guard let status = try? root.status(of: name) else { return false }
        return status.kind == .directory && status.user == geteuid() && status.mode == 0o700
    }

    /// Removes them, which may take a while.
    public func remove() throws {
        let root = try FileDescriptor(opening: workspace, O_RDONLY | O_DIRECTORY)
        for name in names { try StagedTree.remove(name, in: root) }
    }
}

extension StagedTree {
    fileprivate static func settle(
        _ name: String, in root: borrowing FileDescriptor, _ checkpoints: Checkpoints
    ) throws(Errno) {
        let directory = try root.openEntry(name, O_RDONLY | O_DIRECTORY)
        guard try TreeSwap.isNoted(in: directory) else {
            if try isKept(in: directory) { try moveKept(from: directory, to: checkpoints) }
            return
        }
        // A note that is not whole was not followed by anything.
        if let swap = try TreeSwap(notedIn: directory) {
            try swap.undo(try directory.openEntry(treeName, O_RDONLY | O_DIRECTORY), root)
        }
        try forgetKept(in: directory)
        try TreeSwap.forget(in: directory)
    }

    fileprivate static func remove(_ name: String, in root: borrowing FileDescriptor) throws(Errno) {
        let directory = try root.openEntry(name, O_RDONLY | O_DIRECTORY)
        guard try !TreeSwap.isNoted(in: directory), try !isKept(in: directory) else { return }
        try remove(directory, name, in: root)
    }
}
