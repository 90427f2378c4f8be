import FastableCore
import Foundation
import TestSupport
import Testing

/// The host's clock is set while everything runs, with everything real.
@Suite(
    "Clocks that are set", .serialized, .enabled(if: Installation.missing == nil, "\(Installation.missing ?? "")"))
struct ClockTests {
    private static let hour = 3600

    /// Both would be suspended after an hour without work; one of them works.
    private static func begin(_ host: Installation) async throws -> JSONValue {
        for project in ["busy", "idle"] {
            try await host.tool("projects_create", ["name": .string(project)])
            try await host.cli(["container", "policy", project, "--idle", "\(hour)", "--stop-after", "\(hour)"])
        }
        _ = try await host.exec("idle", "true")
        return try await host.tool(
            "shell.exec",
            [
                "project": "busy", "detach": true, "timeoutSec": 900,
                "cmd": "i=0; while true; do i=$((i+1)); echo $i > count; sleep 0.01; done",
            ])
    }

    private static func count(_ host: Installation) async throws -> Int {
        let file = try await host.tool("fs.read", ["project": "busy", "path": "count"])
        return file["content"]?.string.flatMap { Int($0.filter(\.isNumber)) } ?? 0
    }

    /// By how much the controller takes it to be later than it is.
    private static func secondsAhead(_ host: Installation) async throws -> Int {
        let token = try await host.tool("tokens_create", ["name": "moment", "scopes": ["projects:read"]])
        let text = try #require(token["createdAt"]?.string)
        return Int(try Date(text, strategy: .iso8601).timeIntervalSinceNow)
    }

    private static func state(_ host: Installation, _ project: String) async throws -> String? {
        try await host.tool("devcontainer.status", ["project": .string(project)])["state"]?.string
    }

    private static func expectLife(_ host: Installation, _ when: String) async throws {
        let before = try await count(host)
        // Every look that the daemons take by themselves comes by several times.
        try await Task.sleep(for: .seconds(4))
        #expect(await host.nodeState(0) == "ready", "\(when)")
        for project in ["busy", "idle"] { #expect(try await state(host, project) == "running", "\(when)") }
        try await eventually("the command goes on \(when)") { try await count(host) > before }
        let done = try await host.exec("busy", "echo well")
        #expect(done["stdout"] == "well\n" && done["exitCode"] == 0, "\(when): \(done)")
        let milliseconds: Double? =
            switch done["durationMs"] {
            case .integer(let whole): Double(whole)
            case .number(let part): part
            default: nil
            }
        #expect(milliseconds.map { (0..<60_000).contains($0) } == true, "\(when): \(done)")
    }

    @Test(.endsInTime) func nothingEndsOrIsStuck() async throws {
        try await Installation.with(setsClock: true) { host in
            let clock = try #require(host.clock)
            let started = try await Self.begin(host)
            try await eventually("it counts") { (try? await Self.count(host)) ?? 0 > 3 }
            for hours in [2, -2, 48, -24, 0] {
                try clock.set(secondsAhead: hours * Self.hour)
                #expect(abs(try await Self.secondsAhead(host) - hours * Self.hour) < 60)
                try await Self.expectLife(host, "at \(hours) hours")
            }
            try clock.set(secondsAhead: 2 * Self.hour)
            host.killNode(0)
            host.killController()
            try await host.startController()
            try await host.startNode(0)
            try await Self.expectLife(host, "after a restart, two hours ahead")
            try clock.set(secondsAhead: 0)
            try await Self.expectLife(host, "and back")
            let killed = try await host.tool("shell.kill", ["execId": try #require(started["execId"])])
            #expect(killed["everythingEnded"] == true)
            try await host.cli(["audit", "verify"])
        }
    }

    /// By a clock of the day before, the certificates of both are not valid yet. Containers go on, and so does the link once the clock is right.
    @Test(.endsInTime) func aNodeThatStartsInThePastComesBackWithTheTime() async throws {
        try await Installation.with(setsClock: true) { host in
            let clock = try #require(host.clock)
            _ = try await Self.begin(host)
            try await eventually("it counts") { (try? await Self.count(host)) ?? 0 > 3 }
            let before = try await Self.count(host)
            host.killNode(0)
            try await eventually("its end is noticed") { await host.nodeState(0) == "offline" }
            try clock.set(secondsAhead: -24 * Self.hour)
            try await host.startNode(0, expectReady: false)
            try await Task.sleep(for: .seconds(3))
            #expect(await host.nodeState(0) != "ready")
            try clock.set(secondsAhead: 0)
            try await eventually("it is back") { await host.nodeState(0) == "ready" }
            try await eventually("the command goes on") { try await Self.count(host) > before }
            try await Self.expectLife(host, "afterwards")
        }
    }
}
