package import FastableCore
import Glibc
import NodeLinux

/// Whom a command runs as, and what its environment says about that.
public struct ContainerAccount: Sendable, Equatable {
    public var user: ExecUser
    /// `HOME`, `SHELL`, `USER` and `LOGNAME`, as `su` sets them.
    public var environment: [String: String]
}

extension RunningContainer {
    /// The account that `name` stands for (see `ExecUserName`), the container's root when it is `nil`. It is looked up in the
    /// container's own files, in which anything may stand.
    ///
    /// - Throws: `unprocessable` when there is no such user, or nothing can be learned from the files.
    public func account(_ name: String?) async throws -> ContainerAccount {
        guard let name else { return ContainerAccount(user: .root, environment: [:]) }
        let wanted = try ExecUserName(name)
        return try await BlockingPool.shared.run { [accounts] in try accounts.find(wanted) }
    }
}

/// Reads the accounts of a running container, below its root as its first process sees it.
struct ContainerAccounts: Sendable {
    let process: ProcessIdentity

    func find(_ wanted: ExecUserName) throws -> ContainerAccount {
        let files: AccountFiles
        do throws(Errno) { files = try read() } catch {
            throw FastableError(
                .unavailable, "The container's files cannot be read at the moment. Try again.", context: "\(error)",
                retryAfterSeconds: 1)
        }
        return try files.resolve(wanted)
    }

    private func read() throws(Errno) -> AccountFiles {
        let root = RootedDirectory(
            try FileDescriptor(opening: "/proc/\(process.pid)/root", O_RDONLY | O_DIRECTORY))
        // The number could have become another process's before its root was opened.
        guard process.isAlive else { throw Errno(ESRCH) }
        return AccountFiles(
            users: try Self.read("etc/passwd", root), groups: try Self.read("etc/group", root))
    }

    /// Nothing when there is no such file.
    private static func read(_ path: String, _ root: RootedDirectory) throws(Errno) -> AccountFiles.Content {
        do throws(Errno) {
            // No link is followed, and nothing waits for a FIFO.
            let file = try root.openWithoutLinks(Array(path.utf8), O_RDONLY)
            guard try file.status().kind == .regular else { return .unusable(path, "is not a regular file") }
            let bytes = try file.readAll(limit: Limits.accountFileBytes + 1)
            guard bytes.count <= Limits.accountFileBytes else {
                return .unusable(path, "is larger than \(Limits.accountFileBytes) bytes")
            }
            return .bytes(bytes)
        } catch {
            switch error.number {
            case ENOENT, ENOTDIR: return .bytes([])
            case ELOOP: return .unusable(path, "is a symbolic link, or lies behind one")
            case ENXIO, EACCES: return .unusable(path, "is not a regular file")
            default: throw error
            }
        }
    }
}

/// What stands in a container's `passwd` and `group`. Pure. Whoever is root in the container has written it: only the lines that
/// are asked for count, of each the first, and only what is well-formed in them.
package struct AccountFiles: Sendable {
    package enum Content: Sendable {
        case bytes([UInt8])
        /// The file, and why nothing is read from it.
        case unusable(String, String)
    }

    private let users: Content
    private let groups: Content

    package init(users: Content, groups: Content) {
        self.users = users
        self.groups = groups
    }

    package func resolve(_ wanted: ExecUserName) throws(FastableError) -> ContainerAccount {
        switch wanted {
        case .name(let name):
            guard let entry = try entry(where: { $0[0].elementsEqual(name.utf8) }) else {
                throw Self.refusal("The container has no user ‘\(name)’. /etc/passwd in it lists those that it has.")
            }
            return try account(entry, wanted: name)
        case .ids(let user, nil):
            if let entry = try entry(where: { Self.id($0[2]) == user }) {
                return try account(entry, wanted: "\(user)")
            }
            // Not the group of root: it owns what nobody else is to touch.
            return Self.account(ExecUser(uid: user, gid: user), nil)
        case .ids(let user, let group?):
            // Works whatever stands in the file.
            let entry = try? entry(where: { Self.id($0[2]) == user })
            return Self.account(ExecUser(uid: user, gid: group), entry)
        }
    }

    private typealias Fields = [ArraySlice<UInt8>]

    private func account(_ entry: Fields, wanted: String) throws(FastableError) -> ContainerAccount {
        guard let user = Self.id(entry[2]), let group = Self.id(entry[3]) else {
            throw Self.refusal(
                "The ids of the user ‘\(wanted)’ in the container's /etc/passwd are no numbers below "
                    + "\(Limits.containerUsers).")
        }
        return Self.account(
            ExecUser(uid: user, gid: group, groups: try supplementary(of: entry[0], primary: group)), entry)
    }

    private static func account(_ user: ExecUser, _ entry: Fields?) -> ContainerAccount {
        var environment = ["HOME": "/"]
        if let entry {
            environment["HOME"] = path(entry[5]) ?? "/"
            environment["SHELL"] = path(entry[6]) ?? "/bin/sh"
            if let name = text(entry[0]), !name.isEmpty {
                environment["USER"] = name
                environment["LOGNAME"] = name
            }
        }
        return ContainerAccount(user: user, environment: environment)
    }

    /// The groups that name the user as a member, without the primary one.
    private func supplementary(of name: ArraySlice<UInt8>, primary: UInt32) throws(FastableError) -> [UInt32] {
        var found: [UInt32] = []
        for line in try Self.lines(of: groups) {
            let fields = Self.fields(line)
            guard fields.count == 4, let group = Self.id(fields[2]), group != primary, !found.contains(group),
                fields[3].split(separator: UInt8(ascii: ",")).contains(where: { $0.elementsEqual(name) })
            else { continue }
            guard found.count < Limits.execGroups else {
                throw Self.refusal("The user is in more than \(Limits.execGroups) groups of the container.")
            }
            found.append(group)
        }
        return found
    }

    private func entry(where matches: (Fields) -> Bool) throws(FastableError) -> Fields? {
        for line in try Self.lines(of: users) {
            let fields = Self.fields(line)
            if fields.count == 7, matches(fields) { return fields }
        }
        return nil
    }

    private static func lines(of content: Content) throws(FastableError) -> Fields {
        switch content {
        case .bytes(let bytes): return bytes.split(separator: UInt8(ascii: "\n"))
        case .unusable(let path, let reason):
            throw refusal(
                "The container's /\(path) \(reason), so its users are not known. Mend it, or give uid:gid.")
        }
    }

    private static func fields(_ line: ArraySlice<UInt8>) -> Fields {
        line.split(separator: UInt8(ascii: ":"), maxSplits: 8, omittingEmptySubsequences: false)
    }

    private static func id(_ bytes: ArraySlice<UInt8>) -> UInt32? {
        text(bytes).flatMap { ExecUserName.containerID($0) }
    }

    private static func path(_ bytes: ArraySlice<UInt8>) -> String? {
        guard bytes.first == UInt8(ascii: "/"), bytes.count < Limits.pathBytes else { return nil }
        return text(bytes)
    }

    private static func text(_ bytes: ArraySlice<UInt8>) -> String? {
        bytes.contains(0) ? nil : String(validating: bytes, as: UTF8.self)
    }

    private static func refusal(_ message: String) -> FastableError {
        FastableError(.unprocessable, message, details: ["field": "user"])
    }
}
