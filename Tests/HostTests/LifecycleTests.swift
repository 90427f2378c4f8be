import FastableCore
import Foundation
import NIOHTTP1
import TestSupport
import Testing

@Suite("Idle, wake and stop", .serialized, .enabled(if: Installation.missing == nil, "\(Installation.missing ?? "")"))
struct LifecycleTests {
    private static let counting = "i=0; while true; do i=$((i+1)); echo $i > count; sleep 0.01; done"

    private func count(_ host: Installation) async throws -> Int {
        let file = try await host.tool("fs.read", ["project": "p", "path": "count"])
        return file["content"]?.string.flatMap { Int($0.filter(\.isNumber)) } ?? 0
    }

    private func state(_ host: Installation) async throws -> String? {
        try await host.tool("devcontainer.status", ["project": "p"])["state"]?.string
    }

    private func expectMoving(_ host: Installation) async throws {
        let before = try await count(host)
        try await eventually("the counter moves") { try await count(host) > before }
    }

    @Test(.timeLimit(.minutes(3)))
    func aSuspendedContainerOutlivesBothDaemons() async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "p"])
            let started = try await host.tool(
                "shell.exec", ["project": "p", "cmd": .string(Self.counting), "detach": true])
            try await eventually("it counts") { (try? await count(host)) ?? 0 > 3 }
            let refused = try await #require(throws: FastableError.self) {
                try await host.tool("devcontainer.suspend", ["project": "p"])
            }
            #expect(refused.code == .conflict)
            let suspended = try await host.tool("devcontainer.suspend", ["project": "p", "force": true])
            #expect(suspended["state"] == "suspended")
            let still = try await count(host)
            host.killNode(0)
            host.killController()
            try await host.startController()
            try await host.startNode(0)
            let after = try await host.tool("devcontainer.status", ["project": "p"])
            #expect(after["state"] == "suspended" && after["container"] == suspended["container"])
            #expect(try await count(host) == still, "reading its files wakes nobody")
            #expect(try await state(host) == "suspended")
            try await host.tool("devcontainer.resume", ["project": "p"])
            try await expectMoving(host)
            let exec = try #require(started["execId"])
            let killed = try await host.tool("shell.kill", ["execId": exec])
            #expect(killed["everythingEnded"] == true)
        }
    }

    /// With the controller dead the node goes on by what it knows.
    @Test(.timeLimit(.minutes(3)))
    func theNodeSuspendsAndStopsWithoutItsController() async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "p"])
            try await host.tool(
                "projects_set_lifecycle", ["project": "p", "idleSeconds": 1, "stopAfterSeconds": 1])
            _ = try await host.exec("p", "echo kept > file")
            #expect(try await host.tool("devcontainer.explain", ["project": "p"])["policy"]?["idleSeconds"] == 1)
            host.killController()
            try await Task.sleep(for: .seconds(2 * Limits.lifecycleSweepSeconds + 4))
            try await host.startController()
            try await eventually("the node is back") { await host.nodeState(0) == "ready" }
            let explained = try await host.tool("devcontainer.explain", ["project": "p"])
            #expect(explained["state"] == "stopped")
            #expect(explained["text"]?.string?.contains("It was suspended for") == true)
            let again = try await host.exec("p", "cat file")
            #expect(again["stdout"] == "kept\n")
        }
    }
}
