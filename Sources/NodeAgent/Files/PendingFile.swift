import CLinux
import FastableCore
import Glibc
import NodeLinux

/// A new content that takes the place of a file at once and completely, or not at all.
///
/// It is written into a file without a name (a crash leaves nothing behind) in the same directory. A hard link to the old file keeps
/// the old content.
struct PendingFile: ~Copyable, Sendable {
    /// What the new file's permissions and owner are.
    enum Attributes: Sendable {
        /// Those of the file that is replaced, with its user attributes, else the container's root and 0644. Set-id bits are
        /// dropped. `executable` sets or clears the execute bits; `nil` keeps them.
        case kept(executable: Bool?)
        case mode(UInt32)
    }

    private let directory: FileDescriptor
    private let name: String
    private let file: FileDescriptor
    /// A name for the time being: where the filesystem has no files without one, and just before an old file is replaced.
    private var temporaryName: String?
    private let names: TemporaryNames?
    private let exists: Bool

    private init(
        directory: consuming FileDescriptor, name: String, file: consuming FileDescriptor, temporaryName: String?,
        names: TemporaryNames?, exists: Bool
    ) {
        self.directory = directory
        self.name = name
        self.file = file
        self.temporaryName = temporaryName
        self.names = names
        self.exists = exists
    }

    /// - Parameters:
    ///   - owner: the container's root on the host.
    ///   - names: notes a name for the time being.
    static func begin(
        at place: borrowing RootedDirectory.Place, owner: UInt32, attributes: Attributes, names: TemporaryNames?
    ) throws(Errno) -> PendingFile {
        let directory = try place.directory.duplicate()
        let (number, temporaryName) = try create(in: directory, names)
        let pending = PendingFile(
            directory: directory, name: place.name, file: FileDescriptor(owning: number),
            temporaryName: temporaryName, names: names, exists: place.status != nil)
        switch attributes {
        case .kept(let executable): try pending.adopt(place.status, owner, executable)
        case .mode(let mode):
            try pending.file.setOwner(owner)
            try pending.file.setMode(mode & 0o777)
        }
        return pending
    }

    deinit {
        guard let temporaryName else { return }
        try? directory.removeEntry(temporaryName)
        names?.forget(temporaryName)
    }

    private static func create(
        in directory: borrowing FileDescriptor, _ names: TemporaryNames?
    ) throws(Errno) -> (number: CInt, name: String?) {
        let unnamed = fst_open_unnamed(directory.number)
        switch -unnamed {
        case EOPNOTSUPP, EISDIR, EINVAL: break
        default: return (try Errno.checkNegative(unnamed), nil)
        }
        let name = TemporaryNames.random()
        names?.note(name, in: directory)
        return (try directory.openEntry(name, O_RDWR | O_CREAT | O_EXCL, mode: 0o600).release(), name)
    }

    private borrowing func adopt(_ previous: FileStatus?, _ owner: UInt32, _ executable: Bool?) throws(Errno) {
        let users = owner..<(owner + Limits.containerUsers)
        if let previous, users.contains(previous.user), users.contains(previous.group) {
            try file.setOwner(previous.user, group: previous.group)
        } else {
            try file.setOwner(owner)
        }
        if exists, let old = try? directory.openEntry(name, O_RDONLY) {
            fst_copy_user_attributes(old.number, file.number)
        }
        var mode = (previous?.mode ?? 0o644) & 0o777
        // Whoever may read it may execute it.
        if let executable { mode = executable ? mode | (mode & 0o444) >> 2 : mode & ~0o111 }
        try file.setMode(mode)
    }

    borrowing func write(_ bytes: UnsafeRawBufferPointer) throws(Errno) { try file.writeAll(bytes) }

    borrowing func write(_ bytes: [UInt8]) throws(Errno) { try file.writeAll(bytes) }

    borrowing func write(contentOf source: borrowing FileDescriptor, size: Int64, _ budget: CopyBudget) throws(Errno) {
        try source.copyContent(to: file, size: size) { () throws(Errno) in try budget.check() }
    }

    borrowing func setModified(_ nanoseconds: Int64) throws(Errno) { try file.setModified(nanoseconds) }

    borrowing func status() throws(Errno) -> FileStatus { try file.status() }

    /// Waits until the bytes are on the disk; comes before `commit`.
    borrowing func synchronize() throws(Errno) { try file.synchronize() }

    /// Waits until the name is on the disk; comes after `commit`.
    borrowing func synchronizeName() throws(Errno) { try directory.synchronize() }

    /// What has the name now.
    borrowing func current() throws(Errno) -> FileStatus? {
        do throws(Errno) {
            return try directory.status(of: name)
        } catch {
            if error.number == ENOENT { return nil }
            throw error
        }
    }

    /// Gives the file its name.
    ///
    /// - Parameter exclusively: `EEXIST` when something has the name; otherwise that is replaced.
    mutating func commit(exclusively: Bool) throws(Errno) {
        if temporaryName == nil {
            if exclusively || !exists, try linkUnnamed(exclusively) { return }
            let temporary = TemporaryNames.random()
            names?.note(temporary, in: directory)
            try Errno.checkNegative(fst_link_descriptor(file.number, directory.number, temporary))
            temporaryName = temporary
        }
        guard let temporary = temporaryName else { return }
        try directory.moveEntry(temporary, to: directory, as: name, exclusively: exclusively)
        temporaryName = nil
        names?.forget(temporary)
    }

    /// Links the file without a name under its final one; `false` when something has taken that meanwhile and may be replaced.
    private borrowing func linkUnnamed(_ exclusively: Bool) throws(Errno) -> Bool {
        let result = fst_link_descriptor(file.number, directory.number, name)
        if result == -EEXIST && !exclusively { return false }
        try Errno.checkNegative(result)
        return true
    }
}
