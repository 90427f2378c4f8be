import FastableCore
import Foundation
import TestSupport
import Testing

/// A laptop that was closed, or a network that changed: nothing comes from the controller any more, and no connection ends.
@Suite(
    "Controllers that vanish", .serialized, .enabled(if: Installation.missing == nil, "\(Installation.missing ?? "")"))
struct VanishedControllerTests {
    @Test(.endsInTime) func whoFollowsComesBackAndMissesNothing() async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "p"])
            try await host.tool("fs.mkdir", ["project": "p", "path": "src"])
            let lines = "i=0; until [ -e end ]; do echo $i; i=$((i+1)); sleep 0.1; done; echo over; exit 7"
            let started = try await host.tool(
                "shell.exec", ["project": "p", "cmd": .string(lines), "detach": true, "timeoutSec": 900])
            let exec = try #require(started["execId"]?.string)
            let followers = [
                "attach": try FollowingProgram(host, ["attach", exec]),
                "events": try FollowingProgram(host, ["events", "--follow", "--kind", "project.created"]),
                "watch": try FollowingProgram(host, ["fs", "watch", "p", "src"]),
            ]
            defer { for follower in followers.values { follower.end() } }
            try await eventually("the attachment has begun") { followers["attach"]?.text.contains("\n3\n") == true }
            try await eventually("the watch has begun") { followers["watch"]?.text.contains("watching src") == true }
            // Longer than a minute, within which everybody notices.
            try await host.withCutAPI { try await Task.sleep(for: .seconds(70)) }
            // The test's own connections are lost, too.
            try await eventually("the API answers again") { (try? await host.tool("status", [:])) != nil }
            try await host.tool("projects_create", ["name": "later"])
            try await host.tool("fs.write", ["project": "p", "path": "src/later", "content": ""])
            try await eventually("events are told again", seconds: 120) {
                followers["events"]?.text.contains("later") == true
            }
            try await eventually("the watch is back", seconds: 120) {
                followers["watch"]?.text.contains("rescan") == true
            }
            try await host.tool("fs.write", ["project": "p", "path": "end", "content": ""])
            let attached = try #require(followers["attach"])
            try await eventually("the command ends", seconds: 120) { !attached.process.isRunning }
            #expect(attached.process.terminationStatus == 7, "\(attached.text.suffix(300))")
            let numbers = attached.text.split(separator: "\n").compactMap { Int($0) }
            #expect(numbers == Array(0..<numbers.count) && numbers.count > 100, "something was lost or doubled")
        }
    }
}
