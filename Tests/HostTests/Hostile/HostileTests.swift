import FastableCore
import Foundation
import TestSupport
import Testing

/// One container takes all that it can get. Its neighbour works on, and nothing of it is left when it is gone.
@Suite(
    "Resource attacks", .serialized, .enabled(if: Installation.missing == nil, "\(Installation.missing ?? "")"))
struct HostileTests {
    private static let samples = 100
    /// Long enough that an attack which comes and goes is in it.
    private static let shortest = Duration.seconds(1.5)
    /// How many times slower a neighbour's commands may become, at the median.
    private static let mostTimesSlower = 3.0

    @Test(.endsInTime, arguments: HostileAttack.all)
    func aNeighbourWorksOn(_ attack: HostileAttack) async throws {
        try await Installation.with(disk: attack.disk) { host in
            try await host.tool("projects_create", ["name": "calm"])
            _ = try await host.exec("calm", "true")
            let (atRest, calm) = (try HostAtRest(host), host.processes(of: 0))
            let free = attack.disk == nil ? nil : try host.freeDisk()
            try await host.tool("projects_create", ["name": "hostile"])
            _ = try await host.exec("hostile", "true")
            let idle = try await Self.median(host)
            let started = try await host.tool(
                "shell.exec",
                ["project": "hostile", "detach": true, "overflow": "drop", "cmd": .string(attack.script)])
            let exec = try #require(started["execId"])
            let scene = HostileScene(host, exec: exec, calm: calm)
            let best = try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<attack.clients { group.addTask { try await Self.runCommands(scene) } }
                defer { group.cancelAll() }
                try await eventually("it is in full swing", seconds: 300) {
                    try await attack.strikes(scene) >= attack.fullSwing
                }
                try await eventually("the host sees it", seconds: 300) { try attack.isSeen(scene) }
                // The best of some windows: what else the machine does at a moment is nobody's attack.
                var best = Double.infinity
                for _ in 0..<4 where best > Self.mostTimesSlower * idle {
                    // No window is over before the attack has struck in it.
                    let before = try await attack.strikes(scene)
                    best = min(best, try await Self.median(host) { try await attack.strikes(scene) > before })
                }
                try await eventually("the host still sees it") { try attack.isSeen(scene) }
                return best
            }
            let strikes = try await attack.strikes(scene)
            try await Self.end(scene)
            print(
                "\(attack.testDescription): neighbour's exec p50 \(Self.shown(best)), idle \(Self.shown(idle)), \(strikes) strikes"
            )
            if best > Self.mostTimesSlower * idle {
                // Or the machine has become slower for everybody, and still is when the attack is over.
                #expect(best <= Self.mostTimesSlower * max(idle, try await Self.median(host)))
            }
            try await Self.delete(host, atRest, free: free)
        }
    }

    private static func shown(_ milliseconds: Double) -> String { String(format: "%.1f ms", milliseconds) }

    /// Until it is cancelled. That its own neighbours keep a command from starting is no fault.
    private static func runCommands(_ scene: HostileScene) async throws {
        while !Task.isCancelled {
            if (try? await scene.host.exec("hostile", "true")) != nil { scene.commands.add() }
        }
    }

    /// Milliseconds of the neighbour's commands, as many as are run until it is enough.
    private static func median(
        _ host: Installation, until isEnough: () async throws -> Bool = { true }
    ) async throws -> Double {
        var times: [Duration] = []
        let start = ContinuousClock.now
        while true {
            for _ in 0..<20 {
                let began = ContinuousClock.now
                let answer = try await host.exec("calm", "true")
                times.append(ContinuousClock.now - began)
                try #require(answer["exitCode"] == 0)
            }
            guard times.count >= samples, ContinuousClock.now - start >= shortest, try await isEnough() else {
                continue
            }
            return times.sorted()[times.count / 2] / .milliseconds(1)
        }
    }

    /// All of it ends, and its container can be used again: also when its disk is full.
    private static func end(_ scene: HostileScene) async throws {
        let host = scene.host
        let receipt = try await host.tool("shell.kill", ["execId": scene.exec, "graceSec": 0])
        #expect(receipt["everythingEnded"] == true)
        try await eventually("its container takes commands") {
            try await host.exec("hostile", "rm -rf /workspace/* /tmp/*")["exitCode"] == 0
        }
        #expect(
            try await host.exec("hostile", "echo again > /workspace/file; cat /workspace/file")["stdout"] == "again\n")
        try await eventually("init is alone in it, and has collected everybody") {
            let left = scene.processes
            return left.allSatisfy { HostFacts.text("/proc/\($0)/comm") == "fastable-init\n" }
                && HostFacts.ended(childrenOf: left).isEmpty
        }
    }

    /// - Parameter free: of the node's disk before the project was there, when nobody else writes to that.
    private static func delete(_ host: Installation, _ atRest: HostAtRest, free: (bytes: Int, files: Int)?) async throws
    {
        try await host.tool("projects_delete", ["project": "hostile"])
        var left: [String] = []
        do {
            try await eventually("nothing of it is left") {
                left = try atRest.leftovers()
                return left.isEmpty
            }
        } catch {
            #expect(left == [])
            throw error
        }
        guard let free else { return }
        try await eventually("its place on the disk is free again") {
            let now = try host.freeDisk()
            return now.bytes > free.bytes - 64 << 20 && now.files > free.files - 1000
        }
    }
}
