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

    /// What the node's disk says of the only project.
    private static func record(_ host: Installation) throws -> JSONValue {
        let projects = host.directory.appending(path: "node-0/projects")
        let names = try FileManager.default.contentsOfDirectory(atPath: projects.path)
        let file = projects.appending(path: "\(try #require(names.first))/record.json")
        return try JSON.decode(from: try Data(contentsOf: file))
    }

    private func expectMoving(_ host: Installation) async throws {
        let before = try await count(host)
        try await eventually("the counter moves") { try await count(host) > before }
    }

    @Test(.endsInTime)
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

    /// What belongs to a person stays, what belonged to the image goes.
    @Test(.endsInTime) func anotherImageKeepsTheWork() async throws {
        try await Installation.with { host in
            let other = host.directory.appending(path: "other")
            try Rootfs.make(at: other)
            try Data("other\n".utf8).write(to: other.appending(path: "etc/image"))
            try await host.cli(["image", "add", "other", "inplace:\(other.path)"])
            try await host.tool("projects_create", ["name": "p"])
            _ = try await host.exec(
                "p", "echo work > /workspace/file; echo kept > /cache/file; echo x > /etc/installed")
            let said = try await host.cli(["project", "set-image", "p", "other"])
            #expect(said.contains("snapshot snp_"), "\(said)")
            let look = "cat /workspace/file /cache/file /etc/image; ls /etc/installed 2>/dev/null"
            #expect(try await host.exec("p", look)["stdout"] == "work\nkept\nother\n")
            let snapshots = try await host.tool("projects_snapshots", ["project": "p"])["snapshots"]?.array ?? []
            #expect(snapshots.map { $0["reason"] } == ["image"])
            try await host.cli(["project", "set-image", "p", "vibn-dev"])
            try await host.tool("projects_restore", ["project": "p", "at": try #require(snapshots.first?["id"])])
            #expect(try await host.exec("p", "cat /workspace/file; test -e /etc/image")["stdout"] == "work\n")
        }
    }

    /// With the controller dead the node goes on by what it knows.
    @Test(.endsInTime)
    func theNodeSuspendsAndStopsWithoutItsController() async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "p"])
            try await host.tool(
                "projects_set_lifecycle", ["project": "p", "idleSeconds": 1, "stopAfterSeconds": 1])
            _ = try await host.exec("p", "echo kept > file")
            #expect(try await host.tool("devcontainer.explain", ["project": "p"])["policy"]?["idleSeconds"] == 1)
            host.killController()
            try await eventually("it is stopped") { try Self.record(host)["state"] == "stopped" }
            try await host.startController()
            try await eventually("the node is back") { await host.nodeState(0) == "ready" }
            let explained = try await host.tool("devcontainer.explain", ["project": "p"])
            #expect(explained["state"] == "stopped")
            #expect(explained["text"]?.string?.contains("It was suspended for") == true)
            // What came was announced, also while nobody listened.
            let events = try await host.tool("events_list", ["project": "p"])["events"]?.array ?? []
            let told = events.compactMap { event -> String? in
                let kind = event["kind"]?.string ?? ""
                let to = kind == "container.changed" ? event["data"]?["to"]?.string : kind
                return to.map { $0.replacingOccurrences(of: "container.", with: "") }
            }
            let steps = told.filter { $0.hasPrefix("s") }
            #expect(steps.suffix(4) == ["suspending_soon", "suspended", "stopping_soon", "stopped"], "\(told)")
            let again = try await host.exec("p", "cat file")
            #expect(again["stdout"] == "kept\n")
        }
    }
}
