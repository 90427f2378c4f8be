public import FastableCore
import Glibc

/// The host's control groups, as far as containers need them beside their OCI runtime.
///
/// Limits are set by the runtime, in whatever version the host has. Commands are started, killed and watched in cgroup v2
/// directories, which every supported kernel offers: as the whole tree (`v2`), beside version 1 (`hybrid`), or on a mount of
/// our own (`v1`).
///
/// A group is named by its path below the root: `fastable-demo/ctr_…`. Methods that wait for processes to disappear block.
public struct CgroupTree: Sendable {
    public let mode: CgroupMode
    /// Where the cgroup v2 tree is mounted.
    public let root: String
    /// All trees in which the runtime makes directories.
    let hierarchies: [String]

    /// Finds the host's tree. On a host that has only version 1, a v2 tree is mounted at `ownMount`.
    ///
    /// - Throws: `unavailable` when there is none.
    public init(ownMount: String, systemRoot: String = "/sys/fs/cgroup") throws {
        let unified = systemRoot + "/unified"
        if Mounts.isCgroup2(systemRoot) {
            mode = .v2
            root = systemRoot
            hierarchies = [systemRoot]
        } else if Mounts.isCgroup2(unified) {
            mode = .hybrid
            root = unified
            hierarchies = Self.directories(systemRoot)
        } else {
            mode = .v1
            root = ownMount
            hierarchies = Self.directories(systemRoot) + [ownMount]
            try Self.mount(at: ownMount)
        }
    }

    /// Whether the runtime can forbid a container to be swapped out. Version 1 counts swap only when the kernel was told to.
    public var limitsSwap: Bool {
        mode == .v2 || access("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes", F_OK) == 0
    }

    private static func mount(at path: String) throws {
        mkdir(path, 0o700)
        if Mounts.isCgroup2(path) { return }
        do { try Mounts.cgroup2(at: path) } catch {
            throw FastableError(
                .unavailable,
                "The host has no control groups of version 2, and they cannot be mounted. Boot a kernel with them.",
                context: "mount at \(path): \(error)")
        }
    }

    /// Puts a process into a group and lets a user make groups below it and start processes there.
    ///
    /// - Returns: the group's directory, to be handed to the process.
    public func delegate(_ group: String, to owner: UInt32, process: Int32, descendants: Int) throws(Errno)
        -> FileDescriptor
    {
        let path = root + "/" + group
        try makeDirectory(group)
        if currentGroup(of: process) != "/" + group {
            try Self.write("\(process)", to: path + "/cgroup.procs")
        }
        try Self.write("\(descendants)", to: path + "/cgroup.max.descendants")
        // To start a process in a group below, the kernel asks for the right to write here, where both groups meet.
        for file in [path, path + "/cgroup.procs"] { try Errno.check { chown(file, owner, owner) } }
        return try open(group)
    }

    /// The directory of a group that exists.
    public func open(_ group: String) throws(Errno) -> FileDescriptor {
        try FileDescriptor(opening: root + "/" + group, O_RDONLY | O_DIRECTORY)
    }

    /// Kills every process in a group and in those below it.
    public func kill(_ group: String) throws(Errno) {
        do throws(Errno) { try Self.write("1", to: root + "/" + group + "/cgroup.kill") } catch {
            if error.number != ENOENT { throw error }
        }
    }

    /// Whether no process is in a group nor below it, which also holds for one that does not exist.
    public func isEmpty(_ group: String) -> Bool {
        guard let events = (try? FileDescriptor(opening: "\(root)/\(group)/cgroup.events", O_RDONLY)),
            let bytes = try? events.readAll(limit: 4096)
        else { return access("\(root)/\(group)", F_OK) != 0 }
        return String(decoding: bytes, as: UTF8.self).contains("populated 0")
    }

    /// Removes a group and those below it from all trees, once their processes have ended: it waits up to five seconds for them.
    /// A group that does not exist is fine.
    public func remove(_ group: String) throws(Errno) {
        for hierarchy in hierarchies {
            let deadline = ContinuousClock.now + .seconds(5)
            while true {
                do throws(Errno) {
                    try Self.removeDirectories(hierarchy + "/" + group)
                    break
                } catch {
                    guard error.number == EBUSY, ContinuousClock.now < deadline else { throw error }
                    usleep(2000)
                }
            }
        }
    }

    /// Names of the groups directly below one, in any tree.
    public func children(of group: String) -> Set<String> {
        Set(hierarchies.flatMap { Self.children($0 + "/" + group) })
    }

    private func makeDirectory(_ group: String) throws(Errno) {
        var path = root
        for part in group.split(separator: "/") {
            path += "/" + part
            if mkdir(path, 0o755) < 0, errno != EEXIST { throw Errno.last }
        }
    }

    /// Where a process is in the v2 tree.
    private func currentGroup(of process: Int32) -> String? {
        guard let file = try? FileDescriptor(opening: "/proc/\(process)/cgroup", O_RDONLY),
            let bytes = try? file.readAll(limit: 64 * 1024)
        else { return nil }
        let line = String(decoding: bytes, as: UTF8.self).split(separator: "\n").first { $0.hasPrefix("0::") }
        return line.map { String($0.dropFirst(3)) }
    }

    static func write(_ text: String, to path: String) throws(Errno) {
        let file = try FileDescriptor(opening: path, O_WRONLY)
        try file.writeAll(Array(text.utf8))
    }

    private static func removeDirectories(_ path: String) throws(Errno) {
        for child in children(path) { try removeDirectories(path + "/" + child) }
        if rmdir(path) < 0, errno != ENOENT { throw Errno.last }
    }

    private static func directories(_ path: String) -> [String] { children(path).map { path + "/" + $0 } }

    private static func children(_ path: String) -> [String] {
        guard let stream = opendir(path) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            // Links, like ‘cpu’ to ‘cpu,cpuacct’, lead to trees that are listed anyway.
            guard entry.pointee.d_type == UInt8(DT_DIR) else { continue }
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }
}
