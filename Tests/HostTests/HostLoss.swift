import Foundation
import Glibc
import TestSupport
import Testing

/// The end of a node's host, as far as it can be had without one. What a reboot ends or empties is gone, all at once: the daemon, what it
/// runs, containers, mounts, links, rules, control groups and the run directory. The disk has all that was written or, as by a power
/// cut, only what the kernel had brought there. What a daemon finds that is started then is what it finds when the host is back.
extension Installation {
    /// - Parameter power: of the first node alone, whose disk must be one of its own.
    func loseHost(_ node: Int, power: Bool) async throws {
        let process = try #require(daemon(node))
        // It neither does anything more nor hears that its disk has gone.
        Glibc.kill(process, SIGSTOP)
        if power { try #require(disk).cutPower() }
        let children = HostFacts.descendants(of: [process])
        killNode(node)
        try await endProcesses(of: node, with: children)
        try await unmountAll(of: node)
        try await clearKernel(of: node)
        try FileManager.default.removeItem(atPath: runDirectory(node))
        if power { try #require(disk).open() }
        try clock?.beginLife()
    }

    private func endProcesses(of node: Int, with children: Set<Int32>) async throws {
        var victims = children
        try await eventually("all processes of the host have ended") {
            victims.formUnion(self.allProcesses(of: node))
            for pid in HostFacts.descendants(of: victims) { Glibc.kill(pid, SIGKILL) }
            victims = []
            return self.allProcesses(of: node).isEmpty
        }
    }

    private func allProcesses(of node: Int) -> Set<Int32> {
        let named = HostFacts.pids().filter { HostFacts.text("/proc/\($0)/cmdline").contains(runDirectory(node)) }
        return processes(of: node).union(named).filter { !HostFacts.hasEnded($0) }
    }

    /// The one of containers and all below, deepest first, in each hierarchy.
    func groups(of node: Int) -> [String] {
        let (top, group) = ("/sys/fs/cgroup", "fastable-\(nodeName(node))")
        let trees = [top, runDirectory(node) + "/cgroup2"] + HostFacts.names(top).map { "\(top)/\($0)" }
        let roots = trees.flatMap { ["\($0)/\(group)", "\($0)/fastable.slice/\(group)-containers.service"] }
        return roots.filter { access($0, F_OK) == 0 }.flatMap { root -> [String] in
            let below = FileManager.default.enumerator(atPath: root)?.compactMap { $0 as? String } ?? []
            return below.map { "\(root)/\($0)" }.filter { access($0 + "/cgroup.procs", F_OK) == 0 }
                .sorted { $0.utf8.count > $1.utf8.count } + [root]
        }
    }

    private func unmountAll(of node: Int) async throws {
        let places = [runDirectory(node) + "/", place(of: node).appending(path: "node-\(node)/").path]
        func mounts() throws -> [String] {
            try HostFacts.mountPoints().filter { point in places.contains { point.hasPrefix($0) } }
        }
        // The groups first: one of the mounts is the way to them.
        try await eventually("the control groups are gone") {
            for group in self.groups(of: node) { rmdir(group) }
            return self.groups(of: node).isEmpty
        }
        try await eventually("the mounts are gone") {
            for point in try mounts().reversed() { umount2(point, CInt(MNT_DETACH)) }
            return try mounts().isEmpty
        }
    }

    private func clearKernel(of node: Int) async throws {
        for table in try HostFacts.run("nft", ["list", "tables"]).split(separator: "\n")
        where table.hasSuffix("_" + nodeName(node)) {
            try HostFacts.run("nft", ["delete"] + table.split(separator: " ").map(String.init))
        }
        try await eventually("the links are gone") {
            for link in HostFacts.links(ofInstance: self.nodeName(node)) {
                // Those of a namespace that has gone go by themselves.
                _ = try? HostFacts.run("ip", ["link", "delete", String(link.prefix { $0 != " " })])
            }
            return HostFacts.links(ofInstance: self.nodeName(node)).isEmpty
        }
    }
}
