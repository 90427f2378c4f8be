import Foundation
import Glibc
import TestSupport
import Testing

/// What dies on a node's host, or fails it for a while, from one moment to the next.
extension Installation {
    /// `kill -9` of the first processes of a node's containers. Whether there was one.
    func killInits(of node: Int = 0) -> Bool {
        Self.kill(processes(of: node).filter { HostFacts.text("/proc/\($0)/comm") == "fastable-init\n" })
    }

    /// The same for the programs that a node runs to make or end a container. They live for a moment only.
    func killRuntimes(of node: Int = 0) -> Bool { Self.kill(runtimes(of: node)) }

    func runtimes(of node: Int) -> [Int32] {
        HostFacts.pids().filter { pid in
            // Run from a copy in memory, it has no name of its own.
            let words = HostFacts.text("/proc/\(pid)/cmdline").split(separator: "\0")
            return words.first?.hasSuffix("runc") == true && words.contains { $0.contains(runDirectory(node) + "/") }
        }
    }

    /// All that runs in a node's containers, in whatever groups below theirs.
    func processes(of node: Int) -> Set<Int32> {
        let lists = groups(of: node).map { HostFacts.text($0 + "/cgroup.procs") }
        return Set(lists.flatMap { $0.split(separator: "\n") }.compactMap { Int32($0) })
    }

    private static func kill(_ processes: some Sequence<Int32>) -> Bool {
        processes.reduce(false) { Glibc.kill($1, SIGKILL) == 0 || $0 }
    }

    /// The first node's disk takes nothing more while `body` runs.
    func fillDisk(_ body: () async throws -> Void) async throws {
        let (most, rest) = (place(of: 0).path + "/filler", place(of: 0).path + "/rest")
        defer { for file in [most, rest] { unlink(file) } }
        var space = statvfs()
        try #require(statvfs(place(of: 0).path, &space) == 0)
        // The file system keeps some for itself.
        let bytes = Int(space.f_bfree) * Int(space.f_frsize) - (64 << 20)
        try HostFacts.run("fallocate", ["-l", "\(max(1, bytes))", most])
        let file = Glibc.open(rest, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        try #require(file >= 0)
        for count in [1 << 20, 4096] {
            let block = [UInt8](repeating: 1, count: count)
            while write(file, block, count) > 0 {}
        }
        close(file)
        try await body()
    }

    /// What is free on the first node's disk for those who are not root.
    func freeDisk() throws -> (bytes: Int, files: Int) {
        var space = statvfs()
        try #require(statvfs(place(of: 0).path, &space) == 0)
        return (Int(space.f_bavail) * Int(space.f_frsize), Int(space.f_favail))
    }

    /// Two days ahead, one back, and right again.
    func jumpClock() async throws {
        let clock = try #require(clock)
        for secondsAhead in [2 * 86_400, -86_400, 0] {
            try clock.set(secondsAhead: secondsAhead)
            try await Task.sleep(for: .milliseconds(300))
        }
    }
}
