import FastableCore
import Glibc
import NodeLinux
import TestSupport
import Testing

/// Control groups whose processes stand still.
@Suite(.serialized, .needsRoot) struct FreezingTests {
    /// A group with a loop in it that writes to nowhere, which is ended with the group.
    private static func with(_ body: (CgroupTree, String) async throws -> Void) async throws {
        let tree = try CgroupTree(ownMount: "/tmp/fastable-linuxtests-cgroup2")
        let group = "fastable-linuxtests-" + String(UInt32.random(in: .min ... .max), radix: 36)
        let entrance = try tree.make(
            group, limits: ResourceLimits(cpus: 0.5, memoryBytes: 64 * 1024 * 1024, pids: 20))
        let loop = Task { try? await HostCommand("dd", ["if=/dev/zero", "of=/dev/null"], group: entrance).run() }
        do {
            try await eventually { try tree.cpuMicroseconds(of: group) > 1000 }
            try await body(tree, group)
        } catch {
            try tree.kill(group)
            _ = await loop.value
            try tree.remove(group)
            throw error
        }
        try tree.kill(group)
        _ = await loop.value
        try tree.remove(group)
    }

    private static func freeze(_ tree: CgroupTree, _ group: String) throws -> Bool {
        try tree.freeze(group)
        return try tree.awaitFrost(of: group, milliseconds: 60_000) { true }
    }

    @Test func processesStandStillAndGoOn() async throws {
        try await Self.with { tree, group in
            #expect(try tree.frost(of: group) == CgroupTree.Frost(isWanted: false, isComplete: false))
            for _ in 0..<3 {
                #expect(try Self.freeze(tree, group))
                #expect(try tree.frost(of: group) == CgroupTree.Frost(isWanted: true, isComplete: true))
                let before = try tree.cpuMicroseconds(of: group)
                try await Task.sleep(for: .milliseconds(100))
                #expect(try tree.cpuMicroseconds(of: group) == before)
                try tree.thaw(group)
                try await eventually { try tree.cpuMicroseconds(of: group) > before + 1000 }
            }
        }
    }

    @Test func whoStandsStillCanBeEnded() async throws {
        try await Self.with { tree, group in
            #expect(try Self.freeze(tree, group))
            try tree.kill(group)
            try await eventually { (try? tree.frost(of: group)) != nil && tree.isEmpty(group) }
        }
    }

    @Test func nobodyWaitsForWhatIsNotWantedAnyMore() async throws {
        try await Self.with { tree, group in
            let began = ContinuousClock.now
            // It was never told to.
            let unwanted = try tree.awaitFrost(of: group, milliseconds: 60_000) {
                ContinuousClock.now - began < .milliseconds(20)
            }
            let late = try tree.awaitFrost(of: group, milliseconds: 20) { true }
            #expect(!unwanted && !late)
            #expect(ContinuousClock.now - began < .seconds(50))
        }
    }

    @Test func memoryIsTakenBackWithoutHarm() async throws {
        try await Self.with { tree, group in
            #expect(try Self.freeze(tree, group))
            try tree.reclaim(group, stepBytes: 1024 * 1024) { true }
            var isAsked = false
            try tree.reclaim(group, stepBytes: 1024 * 1024) {
                isAsked = true
                return false
            }
            #expect(isAsked)
            try tree.thaw(group)
            let before = try tree.cpuMicroseconds(of: group)
            try await eventually { try tree.cpuMicroseconds(of: group) > before + 1000 }
        }
    }

    @Test func aGroupThatIsNotThereSaysSo() throws {
        let tree = try CgroupTree(ownMount: "/tmp/fastable-linuxtests-cgroup2")
        #expect(throws: Errno(ENOENT)) { try tree.freeze("fastable-linuxtests-none") }
        #expect(throws: Errno(ENOENT)) { try tree.frost(of: "fastable-linuxtests-none") }
        #expect(throws: Errno(ENOENT)) { try tree.thaw("fastable-linuxtests-none") }
    }
}

extension CgroupTree {
    fileprivate func isEmpty(_ group: String) -> Bool {
        (try? SmallFile.read("\(root)/\(group)/cgroup.procs", atMost: 4096)).flatMap { $0 }?.isEmpty ?? false
    }
}
