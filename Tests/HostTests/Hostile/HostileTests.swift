import FastableCore
import Foundation
import TestSupport
import Testing

/// One container takes all that it can get. Its neighbour works on, and nothing of it is left when it is gone.
@Suite(
    "Resource attacks", .serialized, .enabled(if: Installation.missing == nil, "\(Installation.missing ?? "")"))
struct HostileTests {
    private static let samples = 60
    /// How many times slower a neighbour's commands may become, at the median.
    private static let mostTimesSlower = 3.0

    @Test(.endsInTime, arguments: HostileAttack.all)
    func aNeighbourWorksOn(_ attack: HostileAttack) async throws {
        try await Installation.with(disk: attack.disk) { host in
            for project in ["calm", "hostile"] {
                try await host.tool("projects_create", ["name": .string(project)])
                _ = try await host.exec(project, "true")
            }
            let idle = try await Self.median(host)
            let started = try await host.tool(
                "shell.exec", ["project": "hostile", "detach": true, "cmd": .string(attack.script)])
            let exec = try #require(started["execId"])
            let scene = HostileAttack.Scene(host: host, exec: exec)
            try await eventually("it is under way", seconds: 300) { try await attack.isUnderWay(scene) }
            let best = try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<attack.clients {
                    group.addTask { while !Task.isCancelled { _ = try? await host.exec("hostile", "true") } }
                }
                defer { group.cancelAll() }
                // The best of some windows: what else the machine does at a moment is nobody's attack.
                var best = Double.infinity
                for _ in 0..<4 where best > Self.mostTimesSlower * idle {
                    best = min(best, try await Self.median(host))
                }
                return best
            }
            try await Self.end(exec, host)
            print("\(attack.testDescription): neighbour's exec p50 \(Self.shown(best)), idle \(Self.shown(idle))")
            if best > Self.mostTimesSlower * idle {
                // Or the machine has become slower for everybody, and still is when the attack is over.
                #expect(best <= Self.mostTimesSlower * max(idle, try await Self.median(host)))
            }
            try await Self.delete(host)
        }
    }

    private static func shown(_ milliseconds: Double) -> String { String(format: "%.1f ms", milliseconds) }

    /// Milliseconds of the neighbour's commands.
    private static func median(_ host: Installation) async throws -> Double {
        var times: [Duration] = []
        for _ in 0..<samples {
            let began = ContinuousClock.now
            let answer = try await host.exec("calm", "true")
            times.append(ContinuousClock.now - began)
            try #require(answer["exitCode"] == 0)
        }
        return times.sorted()[samples / 2] / .milliseconds(1)
    }

    /// All of it ends, and its container can be used again: also when its disk is full.
    private static func end(_ exec: JSONValue, _ host: Installation) async throws {
        let receipt = try await host.tool("shell.kill", ["execId": exec, "graceSec": 0])
        #expect(receipt["everythingEnded"] == true)
        try await eventually("its container takes commands") {
            try await host.exec("hostile", "rm -rf /workspace/* /tmp/*")["exitCode"] == 0
        }
        #expect(
            try await host.exec("hostile", "echo again > /workspace/file; cat /workspace/file")["stdout"] == "again\n")
    }

    private static func delete(_ host: Installation) async throws {
        try await host.tool("projects_delete", ["project": "hostile"])
        let groups = Set(
            host.controlGroupFiles(["cgroup.procs"]).map {
                URL(fileURLWithPath: $0).deletingLastPathComponent().lastPathComponent
            })
        #expect(groups.filter { $0.hasPrefix("ctr_") }.count == 1, "the neighbour's alone: \(groups)")
    }
}
