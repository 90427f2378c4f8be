public import FastableCore
import Glibc

/// The open doors of a group, through which a new process goes in. They stay open as long as this value.
public final class GroupEntrance: Sendable {
    /// `cgroup.procs` of the group in each tree.
    private let files: [CInt]

    fileprivate init(_ paths: [String]) throws(Errno) {
        var files: [CInt] = []
        do throws(Errno) {
            for path in paths { files.append(try FileDescriptor(opening: path, O_WRONLY).release()) }
        } catch {
            for file in files { close(file) }
            throw error
        }
        self.files = files
    }

    var descriptors: [CInt] { files }

    deinit { for file in files { close(file) } }
}

/// Groups for the node's own tools that work for a project.
extension CgroupTree {
    private static let controllers: Set<Substring> = ["cpu", "memory", "pids"]

    /// The trees that limit something, and the one in which groups are killed.
    var limitingTrees: [String] {
        hierarchies.filter { tree in
            let name = tree.split(separator: "/").last ?? ""
            return tree == root || !Self.controllers.isDisjoint(with: name.split(separator: ","))
        }
    }

    /// Makes a group with limits, or sets those of one that exists. Blocks.
    ///
    /// - Throws: `ENOTSUP` when the host cannot limit CPU, memory or processes.
    public func make(_ group: String, limits: ResourceLimits) throws(Errno) -> GroupEntrance {
        for tree in limitingTrees { try makeDirectory(group, in: tree, delegating: mode == .v2) }
        try setCPU(of: group, limits.cpus)
        // What bounds the same in version 1 and in version 2.
        try set(group, "memory.limit_in_bytes", "\(limits.memoryBytes)", required: mode != .v2)
        try set(group, "memory.max", "\(limits.memoryBytes)", required: mode == .v2)
        try set(group, "memory.swap.max", "0", required: false)
        try set(group, "pids.max", "\(limits.pids)", required: true)
        return try GroupEntrance(limitingTrees.map { tree in "\(tree)/\(group)/cgroup.procs" })
    }

    private static let periodMicroseconds = 100_000

    func setCPU(of group: String, _ cpus: Double) throws(Errno) {
        let quota = Int(cpus * Double(Self.periodMicroseconds))
        try set(group, "cpu.cfs_period_us", "\(Self.periodMicroseconds)", required: mode != .v2)
        try set(group, "cpu.cfs_quota_us", "\(quota)", required: mode != .v2)
        try set(group, "cpu.max", "\(quota) \(Self.periodMicroseconds)", required: mode == .v2)
    }

    func set(_ group: String, _ file: String, _ value: String, required: Bool) throws(Errno) {
        let places: [String] = limitingTrees.map { tree in "\(tree)/\(group)/\(file)" }
        let paths = places.filter { access($0, F_OK) == 0 }
        if paths.isEmpty, required { throw Errno(ENOTSUP) }
        for path in paths { try Self.write(value, to: path) }
    }

    /// In version 2 a group can limit only what all groups above it pass on.
    private func makeDirectory(_ group: String, in tree: String, delegating: Bool) throws(Errno) {
        var path = tree
        for part in group.split(separator: "/") {
            if delegating {
                for controller in Self.controllers {
                    try Self.write("+\(controller)", to: path + "/cgroup.subtree_control")
                }
            }
            path += "/" + part
            if mkdir(path, 0o755) < 0, errno != EEXIST { throw Errno.last }
        }
    }
}
