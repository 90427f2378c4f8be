import CLinux
import Glibc

/// A directory whose files are reached through it only. The kernel resolves every path below it (`openat2` with
/// `RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS`): no symbolic link and no rename that runs beside the call leads out.
///
/// Symbolic links are followed when they stay inside. A link to an absolute path below ``RootedPath/mountPoint`` counts as inside,
/// since that is where its owner sees this directory.
public final class RootedDirectory: Sendable {
    public let descriptor: FileDescriptor

    /// Opens a directory of the host; its own path is trusted.
    public init(path: String) throws(Errno) {
        descriptor = try FileDescriptor(opening: path, O_RDONLY | O_DIRECTORY)
    }

    /// Takes over an open directory.
    public init(_ directory: consuming FileDescriptor) { descriptor = directory }

    /// Opens what `path` leads to. Never waits for a FIFO or a lease, never takes a terminal.
    public func open(_ path: RootedPath, _ flags: CInt) throws(Errno) -> FileDescriptor {
        do {
            return try openDirectly(path.description, flags)
        } catch {
            guard error.number == EXDEV else { throw error }
            return try openDirectly(try physicalPath(path.description), flags)
        }
    }

    /// Opens an entry by its path as bytes, none of whose parts may be a symbolic link; with `O_PATH` the last may.
    public func openWithoutLinks(_ path: [UInt8], _ flags: CInt) throws(Errno) -> FileDescriptor {
        let text = path.map { CChar(bitPattern: $0) } + [0]
        return try FileDescriptor(
            checking: fst_open_beneath(descriptor.number, text, Self.careful(flags) | O_NOFOLLOW, 0, 0))
    }

    private func openDirectly(_ path: String, _ flags: CInt) throws(Errno) -> FileDescriptor {
        try FileDescriptor(checking: fst_open_beneath(descriptor.number, path, Self.careful(flags), 0, 1))
    }

    /// The kernel takes no other flags beside `O_PATH`, which opens nothing that could make one wait.
    private static func careful(_ flags: CInt) -> CInt {
        flags & CInt(FST_O_PATH) == 0 ? flags | O_NONBLOCK | O_NOCTTY : flags
    }

    /// A file's place: the open directory that holds it and its name there. What is done to it goes through both, so that a rename
    /// of a directory above it changes nothing.
    public struct Place: ~Copyable, Sendable {
        public let directory: FileDescriptor
        public let name: String
        /// `nil` while nothing has that name.
        public let status: FileStatus?
    }

    /// Where `path` itself is; its last part is not followed when it is a symbolic link.
    ///
    /// - Parameter owner: makes missing directories, which then belong to this user and group; `nil` makes none.
    public func place(of path: RootedPath, makingDirectoriesFor owner: UInt32? = nil) throws(Errno) -> Place {
        guard !path.isRoot else { throw Errno(EISDIR) }
        let directory = try openDirectory(path.parent.description, makingFor: owner)
        let status = try Self.statusIfAny(directory, path.name)
        return Place(directory: directory, name: path.name, status: status)
    }

    /// Where the file is that `path` leads to, or would be once it is made: symbolic links are followed to the end.
    ///
    /// - Parameter owner: as for `place`.
    public func finalPlace(of path: RootedPath, makingDirectoriesFor owner: UInt32?) throws(Errno) -> Place {
        guard !path.isRoot else { throw Errno(EISDIR) }
        var text = path.description
        for _ in 0..<Self.racesAtMost {
            let (parent, name) = Self.split(text)
            let directory = try openDirectory(parent, makingFor: owner)
            let status = try Self.statusIfAny(directory, name)
            if status?.kind != .symlink { return Place(directory: directory, name: name, status: status) }
            text = try physicalPath(path.description)
            if text == "." { throw Errno(EISDIR) }
        }
        throw Errno(EAGAIN)
    }

    /// Opens a directory and makes it, with those above it, where it is missing.
    public func makeDirectory(_ path: RootedPath, owner: UInt32) throws(Errno) -> FileDescriptor {
        try openDirectory(path.description, makingFor: owner)
    }

    private static let racesAtMost = 16

    private static func statusIfAny(_ directory: borrowing FileDescriptor, _ name: String) throws(Errno) -> FileStatus?
    {
        do {
            return try directory.status(of: name)
        } catch {
            if error.number == ENOENT { return nil }
            throw error
        }
    }

    private static func split(_ path: String) -> (parent: String, name: String) {
        guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return (".", path) }
        return (String(path[..<slash]), String(path[path.utf8.index(after: slash)...]))
    }

    private func openDirectory(_ path: String, makingFor owner: UInt32?) throws(Errno) -> FileDescriptor {
        do {
            return try openFollowing(path)
        } catch {
            guard error.number == ENOENT, let owner else { throw error }
            return try makeDirectories(path, owner)
        }
    }

    private func openFollowing(_ path: String) throws(Errno) -> FileDescriptor {
        do {
            return try openDirectly(path, O_RDONLY | O_DIRECTORY)
        } catch {
            guard error.number == EXDEV else { throw error }
            return try openDirectly(try physicalPath(path), O_RDONLY | O_DIRECTORY)
        }
    }

    /// Makes what is missing on the way, each part in the directory that was opened before it.
    private func makeDirectories(_ path: String, _ owner: UInt32) throws(Errno) -> FileDescriptor {
        var current = try descriptor.duplicate()
        var walked = ""
        for part in path.split(separator: "/") {
            walked += walked.isEmpty ? String(part) : "/\(part)"
            do {
                current = try openFollowing(walked)
            } catch {
                guard error.number == ENOENT else { throw error }
                current = try current.makeDirectory(String(part), mode: 0o755, owner: owner)
            }
        }
        return current
    }
}

extension RootedDirectory {
    private static let linksAtMost = 40

    /// The parts of a path without symbolic links, as it is now; none for the root.
    public func physicalParts(of path: RootedPath) throws(Errno) -> [String] {
        let physical = try physicalPath(path.description)
        return physical == "." ? [] : physical.split(separator: "/").map(String.init)
    }

    /// The path without symbolic links, as it is now. It is only text: whoever opens it goes through the kernel's check again, so
    /// a change meanwhile cannot lead out.
    private func physicalPath(_ path: String) throws(Errno) -> String {
        var waiting = Array(path.split(separator: "/").reversed())
        var walked: [Substring] = []
        var links = 0
        var exists = true
        while let part = waiting.popLast() {
            if part == "." { continue }
            if part == ".." {
                guard exists else { throw Errno(ENOENT) }
                guard walked.popLast() != nil else { throw Errno(EXDEV) }
                continue
            }
            walked.append(part)
            guard exists else { continue }
            switch try target(of: walked.joined(separator: "/")) {
            case .missing: exists = false
            case .noLink: break
            case .link(let target):
                links += 1
                guard links <= Self.linksAtMost else { throw Errno(ELOOP) }
                walked.removeLast()
                if target.hasPrefix("/") { walked = [] }
                waiting += try Self.inside(target).split(separator: "/").reversed()
            }
        }
        return walked.isEmpty ? "." : walked.joined(separator: "/")
    }

    private enum Target { case missing, noLink, link(String) }

    private func target(of path: String) throws(Errno) -> Target {
        let number = fst_open_beneath(descriptor.number, path, CInt(FST_O_PATH) | O_NOFOLLOW, 0, 0)
        if number == -ENOENT { return .missing }
        let file = try FileDescriptor(checking: number)
        guard try file.status().kind == .symlink else { return .noLink }
        guard let target = String(validating: try file.linkTarget(), as: UTF8.self) else { throw Errno(ELOOP) }
        return .link(target)
    }

    /// The target of a link as seen from the root.
    private static func inside(_ target: String) throws(Errno) -> String {
        guard target.hasPrefix("/") else { return target }
        guard target == RootedPath.mountPoint || target.hasPrefix(RootedPath.mountPoint + "/") else {
            throw Errno(EXDEV)
        }
        return String(target.dropFirst(RootedPath.mountPoint.count))
    }
}
