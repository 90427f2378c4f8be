import FastableCore
import Foundation
import TestSupport
import Testing

/// What somebody has wished for goes on to hold when the host was lost and is back, with everything real.
@Suite(
    "Wishes that outlive the host", .serialized,
    .enabled(if: Installation.missing == nil, "\(Installation.missing ?? "")"))
struct KillAfterRebootTests {
    private static func state(_ host: Installation, _ project: String) async throws -> String? {
        try await host.tool("devcontainer.status", ["project": .string(project)])["state"]?.string
    }

    /// What each container may use of a core in a tenth of a second, in microseconds.
    private static func quotas(_ host: Installation) -> [Int] {
        host.controlGroupFiles(["cpu.max", "cpu.cfs_quota_us"]).compactMap { file in
            HostFacts.text(file).split { $0 == " " || $0 == "\n" }.first.flatMap { Int($0) }
        }
    }

    @Test(.endsInTime) func aHeldSwitchLimitsAndWhenToSuspendHoldAfterAReboot() async throws {
        try await Installation.with(setsClock: true) { host in
            for name in ["held", "changed"] {
                try await host.tool("projects_create", ["name": .string(name)])
                _ = try await host.exec(name, "echo kept > kept && sync")
            }
            let held = try await host.tool(
                "kill.project", ["project": "held", "reason": "it hurts", "hold": true])
            let limits = try await host.tool("devcontainer.limits", ["project": "changed", "cpus": .number(0.5)])
            #expect(limits["applied"] == true, "\(limits)")
            let policy = try await host.tool("projects_set_lifecycle", ["project": "changed", "idleSeconds": 6])
            #expect(policy["applied"] == true, "\(policy)")
            try await eventually("the other container is gone, and this one has its limit") {
                Self.quotas(host) == [50_000]
            }
            let before = try await host.tool("devcontainer.status", ["project": "changed"])["container"]

            try await host.loseHost(0, power: false)
            #expect(Self.quotas(host) == [])
            try await host.startNode(0)

            let refused = await expectFailure(.unavailable) { _ = try await host.exec("held", "true") }
            #expect(refused?.message.contains("it hurts") == true, "\(String(describing: refused))")
            #expect(try await host.exec("changed", "cat kept")["stdout"] == "kept\n")
            let after = try await host.tool("devcontainer.status", ["project": "changed"])["container"]
            #expect(after?.string != nil && after != before, "another container")
            #expect(Self.quotas(host) == [50_000], "of the one container that there is")
            // Before anybody waits for it: the standard would be half an hour.
            try await eventually("it is suspended by itself") {
                try await Self.state(host, "changed") == "suspended"
            }
            await expectFailure(.unavailable) { _ = try await host.exec("held", "true") }
            try await host.tool("kill.lift", ["id": try #require(held["id"])])
            #expect(try await host.exec("held", "cat kept")["stdout"] == "kept\n")
        }
    }
}
