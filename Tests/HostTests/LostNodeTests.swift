import FastableCore
import Foundation
import TestSupport
import Testing

/// A node that is cut off, with everything real: two never run.
@Suite("Lost node", .serialized, .enabled(if: Installation.missing == nil, "\(Installation.missing ?? "")"))
struct LostNodeTests {
    /// A project on this node with a command that goes on for ever and writes the time.
    private static func begin(_ host: Installation, _ project: String, policy: String) async throws {
        try await host.tool("projects_create", ["name": .string(project)])
        try await host.cli(["container", "policy", project, "--on-node-lost", policy, "--idle", "0"])
        let made = try await host.exec(project, "echo saved > file")
        #expect(made["exitCode"] == 0, "\(made)")
        try await host.cli(["project", "snapshot", project])
        try await host.tool(
            "shell.exec",
            [
                "project": .string(project), "detach": true,
                "cmd": "echo later > later; while :; do date +%s > tick.new; mv tick.new tick; sleep 0.2; done",
            ])
    }

    private static func volume(_ host: Installation, _ node: Int, _ project: String) async throws -> URL {
        let id = try #require(try await host.tool("projects_get", ["project": .string(project)])["id"]?.string)
        return host.directory.appending(path: "node-\(node)/projects/\(id)")
    }

    /// When the command last wrote, in seconds since 1970.
    private static func tick(_ volume: URL) -> Int {
        let text = try? String(contentsOf: volume.appending(path: "workspace/tick"), encoding: .utf8)
        return text.flatMap { Int($0.trimmingCharacters(in: .whitespacesAndNewlines)) } ?? 0
    }

    private static func goesOn(_ volume: URL) async throws {
        let before = tick(volume)
        try await eventually("what waits for its node goes on") { tick(volume) > before }
    }

    private static func now() -> Int { Int(Date().timeIntervalSince1970) }

    @Test(.endsInTime) func theOldNodeStopsAndTheOtherGoesOn() async throws {
        let lostAfter = 30
        try await Installation.with(nodes: 2, options: ["--node-lost-after-seconds", "\(lostAfter)"]) { host in
            try await host.tool("nodes_cordon", ["node": .string(host.nodeName(1))])
            try await Self.begin(host, "moving", policy: "restore")
            try await Self.begin(host, "waiting", policy: "wait")
            try await host.tool("nodes_uncordon", ["node": .string(host.nodeName(1))])
            let moving = try await Self.volume(host, 0, "moving")
            let waiting = try await Self.volume(host, 0, "waiting")
            try await eventually("both run") { Self.tick(moving) > 0 && Self.tick(waiting) > 0 }
            var cutAt = 0
            try await host.withCutLink {
                cutAt = Self.now()
                // The daemon is alive, and nobody tells it anything: it ends the one, and the other goes on.
                try await eventually("it stops by itself") { Self.now() - Self.tick(moving) > 3 }
                #expect(Self.tick(moving) - cutAt < lostAfter, "it must end before another one may begin")
                try await eventually("the node is lost") { await host.nodeState(0) == "lost" }
                #expect(Self.now() - cutAt >= lostAfter, "and not before")
                try await Self.goesOn(waiting)
                host.killNode(0)
            }
            let last = Self.tick(moving)
            try await eventually("the other node is back") { await host.nodeState(1) == "ready" }
            let elsewhere = try await host.exec("moving", "cat file; test -e later || echo anew")
            #expect(elsewhere["stdout"] == "saved\nanew\n", "\(elsewhere)")
            #expect(Self.tick(moving) == last, "nothing runs there any more")
            #expect(try await host.tool("projects_get", ["project": "moving"])["node"]?.string == host.nodeName(1))
            await expectFailure(.unavailable) { _ = try await host.exec("waiting", "true") }

            try await host.startNode(0)
            try await eventually("it is set aside") {
                try await host.cli(["project", "snapshots", "moving"]).contains("/set-aside/")
            }
            #expect(!FileManager.default.fileExists(atPath: moving.path))
            let aside = try await host.tool("projects_snapshots", ["project": "moving"])["setAside"]?.array?.first
            let path = try #require(aside?["path"]?.string)
            let kept = try String(contentsOfFile: path + "/workspace/later", encoding: .utf8)
            #expect(kept == "later\n", "what it had beyond the snapshot is kept for people")
            #expect(try await host.exec("moving", "cat file")["stdout"] == "saved\n")
            // The other one never stopped.
            #expect(try await host.exec("waiting", "cat later")["stdout"] == "later\n")
            try await Self.goesOn(waiting)
        }
    }

    /// The daemon dies as well. Whoever starts it anew, without a controller to be had, ends what it may not run any more.
    @Test(.endsInTime) func aDaemonThatStartsInTheColdStopsIt() async throws {
        // Long enough for all of this on a busy machine; its lease is half of it.
        let lostAfter = 60
        try await Installation.with(nodes: 2, options: ["--node-lost-after-seconds", "\(lostAfter)"]) { host in
            try await host.tool("nodes_cordon", ["node": .string(host.nodeName(1))])
            try await Self.begin(host, "moving", policy: "restore")
            let moving = try await Self.volume(host, 0, "moving")
            try await eventually("it runs") { Self.tick(moving) > 0 }
            // Within its lease a new daemon takes it up.
            host.killNode(0)
            try await host.startNode(0)
            let before = Self.tick(moving)
            try await eventually("it goes on") { Self.tick(moving) > before }
            try await host.withCutLink {
                host.killNode(0)
                try await Task.sleep(for: .seconds(lostAfter / 2 + 2))
                try await host.startNode(0, expectReady: false)
                try await eventually("it stops") { Self.now() - Self.tick(moving) > 3 }
            }
            try await eventually("the node is back") { await host.nodeState(0) == "ready" }
            #expect(
                try await host.exec("moving", "cat later")["stdout"] == "later\n", "it was away for too short a time")
        }
    }
}
