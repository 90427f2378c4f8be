import FastableCore
import Glibc
import NodeLinux
import Testing

/// Tools that run in a control group with limits.
@Suite(.enabled(if: geteuid() == 0, "needs root")) struct CommandGroupTests {
    private static func with(_ body: (CgroupTree, String) async throws -> Void) async throws {
        let tree = try CgroupTree(ownMount: "/tmp/fastable-linuxtests-cgroup2")
        let group = "fastable-linuxtests-" + String(UInt32.random(in: .min ... .max), radix: 36)
        do { try await body(tree, group) } catch {
            try tree.remove(group)
            throw error
        }
        try tree.remove(group)
    }

    @Test func theProgramNeverRunsOutsideOfIt() async throws {
        try await Self.with { tree, group in
            let limits = ResourceLimits(cpus: 0.5, memoryBytes: 64 * 1024 * 1024, pids: 20)
            let entrance = try tree.make(group, limits: limits)
            let listing = try await HostCommand("cat", ["/proc/self/cgroup"], group: entrance).runChecked("look").text
            let lines = listing.split(separator: "\n").filter { $0.hasSuffix("/" + group) }
            // “7:memory:/…” in version 1, “0::/…” in version 2.
            let controllers = Set(
                lines.flatMap { $0.split(separator: ":", omittingEmptySubsequences: false)[1].split(separator: ",") })
            #expect(lines.contains { $0.hasPrefix("0::") })
            if tree.mode != .v2 { #expect(controllers.isSuperset(of: ["cpu", "memory", "pids"])) }
            // The same again: it is there already.
            _ = try tree.make(group, limits: limits)
            let outside = try await HostCommand("cat", ["/proc/self/cgroup"]).runChecked("look").text
            #expect(!outside.contains(group))
        }
    }

    @Test func whoTakesMoreMemoryIsEnded() async throws {
        try await Self.with { tree, group in
            let entrance = try tree.make(
                group, limits: ResourceLimits(cpus: 1, memoryBytes: 32 * 1024 * 1024, pids: 20))
            // Looks for the last lines of a file without lines.
            let result = try await HostCommand("tail", ["/dev/zero"], group: entrance).run()
            #expect(result.status == .signaled(SIGKILL))
        }
    }

    @Test func aGroupThatIsGoneIsAnError() async throws {
        try await Self.with { tree, group in
            let entrance = try tree.make(group, limits: ResourceLimits())
            try tree.remove(group)
            await #expect(throws: FastableError.self) { try await HostCommand("true", [], group: entrance).run() }
        }
    }
}
