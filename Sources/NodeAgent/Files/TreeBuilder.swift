import CLinux
import FastableArchive
import FastableCore
import Glibc
import NodeLinux

/// Makes a complete tree, with all its attributes, in a fresh directory that nobody else can reach yet.
///
/// Entries come as `TreeWalker` gives them: each directory before what is in it, and all of that before anything else. A directory
/// gets its attributes when the next entry lies outside of it. Every place is opened through no symbolic link.
struct TreeBuilder: ~Copyable {
    struct Attributes: Sendable {
        /// With set-id and sticky bits.
        var mode: UInt32
        /// As the container numbers its users.
        var user: UInt32
        var group: UInt32
        /// Nanoseconds since 1970.
        var modified: Int64
        /// Those that begin with `user.`.
        var extended: [UserAttribute] = []
    }

    private let top: RootedDirectory
    private let users: ContainerUsers
    /// The directory in which the last entry was made.
    private var parentPath: [UInt8] = []
    private var parent: FileDescriptor
    /// Those that the last entry lies in.
    private var unfinished: [(path: [UInt8], attributes: Attributes)] = []

    init(in top: RootedDirectory, users: ContainerUsers) throws(Errno) {
        self.top = top
        self.users = users
        parent = try top.descriptor.duplicate()
    }

    /// Whether a path can be an entry below the top: relative, in normal form, no longer than Linux takes.
    static func isPath(_ path: [UInt8]) -> Bool {
        guard !path.isEmpty, path.count < Limits.pathBytes, !path.contains(0) else { return false }
        return path.split(separator: slash, omittingEmptySubsequences: false).allSatisfy { part in
            !part.isEmpty && part.count <= 255 && !part.elementsEqual([dot]) && !part.elementsEqual([dot, dot])
        }
    }

    private static let slash = UInt8(ascii: "/")
    private static let dot = UInt8(ascii: ".")

    mutating func makeDirectory(_ path: [UInt8], _ attributes: Attributes) throws(Errno) {
        let name = try enter(path)
        _ = try parent.makeDirectory(name, mode: 0o700, owner: geteuid())
        unfinished.append((path, attributes))
    }

    /// A new file, to be filled and then given to `finishFile`.
    mutating func makeFile(_ path: [UInt8]) throws(Errno) -> FileDescriptor {
        let name = try enter(path)
        return try parent.openEntry(name, O_RDWR | O_CREAT | O_EXCL, mode: 0o600)
    }

    func finishFile(_ file: borrowing FileDescriptor, _ attributes: Attributes) throws(Errno) {
        try apply(attributes, to: file)
    }

    mutating func makeSymlink(_ path: [UInt8], to target: [UInt8], _ attributes: Attributes) throws(Errno) {
        guard !target.isEmpty, target.count < Limits.pathBytes, !target.contains(0) else { throw Errno(EINVAL) }
        let name = try enter(path)
        try parent.makeSymlink(name, target: Self.text(target), owner: geteuid())
        try parent.setEntry(
            name, user: users.onHost(attributes.user), group: users.onHost(attributes.group),
            modified: attributes.modified)
    }

    /// Another name for a file of this tree.
    mutating func makeHardLink(_ path: [UInt8], to target: [UInt8]) throws(Errno) {
        guard Self.isPath(target) else { throw Errno(EINVAL) }
        let name = try enter(path)
        let file = try top.openWithoutLinks(target, CInt(FST_O_PATH))
        guard try file.status().kind == .regular else { throw Errno(EINVAL) }
        try Errno.checkNegative(fst_link_descriptor(file.number, parent.number, name))
    }

    /// Ends the tree; it is on the disk then.
    mutating func finish() throws(Errno) {
        try leaveDirectories(notHolding: [])
        try Errno.checkNegative(fst_synchronize_filesystem(top.descriptor.number))
    }

    // MARK: the way

    /// Opens the directory of an entry; answers the entry's name in it.
    private mutating func enter(_ path: [UInt8]) throws(Errno) -> [CChar] {
        try leaveDirectories(notHolding: path)
        let split = path.lastIndex(of: Self.slash)
        let directory = split.map { Array(path[..<$0]) } ?? []
        if directory != parentPath {
            parent = try top.openWithoutLinks(directory.isEmpty ? [Self.dot] : directory, O_RDONLY | O_DIRECTORY)
            parentPath = directory
        }
        return Self.text(split.map { Array(path[($0 + 1)...]) } ?? path)
    }

    private mutating func leaveDirectories(notHolding path: [UInt8]) throws(Errno) {
        while let (directory, attributes) = unfinished.last,
            !(path.count > directory.count && path[directory.count] == Self.slash && path.starts(with: directory))
        {
            try apply(attributes, to: try top.openWithoutLinks(directory, O_RDONLY | O_DIRECTORY))
            unfinished.removeLast()
        }
    }

    /// The mode comes after the owner, whose change takes set-id bits away.
    private func apply(_ attributes: Attributes, to file: borrowing FileDescriptor) throws(Errno) {
        try file.setOwner(users.onHost(attributes.user), group: users.onHost(attributes.group))
        try file.setMode(attributes.mode & 0o7777)
        for attribute in attributes.extended {
            do throws(Errno) { try file.set(attribute) } catch {
                // Not every file system has them: they are an extra, not the content.
                guard [ENOTSUP, EINVAL, ERANGE].contains(error.number) else { throw error }
            }
        }
        try file.setModified(attributes.modified)
    }

    private static func text(_ bytes: [UInt8]) -> [CChar] { bytes.map { CChar(bitPattern: $0) } + [0] }
}

extension TreeBuilder.Attributes {
    init(_ status: FileStatus, of users: ContainerUsers, extended: [UserAttribute] = []) {
        self.init(
            mode: status.mode, user: users.inside(status.user), group: users.inside(status.group),
            modified: status.modified, extended: extended)
    }

    /// A time that no file can have becomes the beginning of time.
    init(_ entry: TarEntry) {
        let (seconds, overflows) = entry.modified.multipliedReportingOverflow(by: 1_000_000_000)
        let isPossible = !overflows && abs(seconds / 2) < .max / 2 - 1_000_000_000
        self.init(
            mode: entry.mode, user: entry.user, group: entry.group,
            modified: isPossible ? seconds + entry.modifiedNanoseconds : 0,
            extended: entry.attributes.map { UserAttribute(name: $0.name, value: $0.value) })
    }

    /// The workspace's own directory.
    func apply(toTop top: borrowing FileDescriptor, of users: ContainerUsers) throws(Errno) {
        try top.setOwner(users.onHost(user), group: users.onHost(group))
        try top.setMode(mode & 0o7777)
    }
}
