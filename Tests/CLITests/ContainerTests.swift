import FastableCore
import Foundation
import TestSupport
import Testing

@Suite("The program: containers", .serialized, .endsInTime)
struct ContainerTests {
    @Test func containersGoDownAndUp() async throws {
        try await CLIWorld.with { world in
            try await world.makeShop()
            let unused = try await world.cli(["container", "explain", "shop"]).requireSuccess().text
            #expect(unused.contains("not used yet"))
            func container(_ words: String...) async throws -> String {
                try await world.cli(["container"] + words).requireSuccess().text
            }
            #expect(try await container("ensure", "shop") == "running: It is so.\n")
            #expect(try await container("suspend", "shop") == "suspended: It is so.\n")
            #expect(try await container("suspend", "shop", "--force") == "suspended: By force.\n")
            #expect(try await container("resume", "shop") == "running: It is so.\n")
            #expect(try await container("stop", "shop") == "stopped: It is so.\n")
            #expect(try await container("restart", "shop") == "running: It is so.\n")
            #expect(try await world.cli(["container", "archive", "shop"]).failed(1, saying: "Stop it first"))
            #expect(try await container("status", "shop").contains("state"))
            #expect(try await container("explain", "shop") == "Kept awake by nothing ‘’.\n")
            let lease = try await container("keep-awake", "shop", "--seconds", "60", "--reason", "demo")
            #expect(lease == "Kept awake by 60 seconds ‘demo’.\n")
            #expect(try await world.cli(["container", "keep-awake", "shop"]).status == 64)
            #expect(try await world.cli(["container", "keep-awake", "shop", "--seconds", "100000000"]).failed(1))
            #expect(try await world.cli(["container", "explain", "none"]).failed(1, saying: "none"))
        }
    }

    @Test func limitsAreShownAndChanged() async throws {
        try await CLIWorld.with { world in
            try await world.makeShop()
            _ = try await world.cli(["container", "ensure", "shop"]).requireSuccess()
            let shown = try await world.cli(["container", "limits", "shop"]).requireSuccess().text
            #expect(shown.contains("memory  1.0 GiB   4.0 GiB\n") && shown.contains("cpus    1.0"))
            let changed = try await world.cli([
                "container", "limits", "shop", "--cpus", "2", "--memory", "1536M", "--pids", "1024", "--json",
            ]).requireSuccess().json()
            #expect(changed["limits"] == ["cpus": 2, "memoryBytes": .integer(1536 << 20), "pids": 1024])
            #expect(changed["applied"] == true)
            let refused = try await world.cli(["container", "limits", "shop", "--memory", "64m"])
            #expect(refused.failed(1, saying: "uses 70000000 bytes"))
            let after = try await world.cli(["project", "get", "shop", "--json"]).requireSuccess().json()
            #expect(after["limits"]?["memoryBytes"] == .integer(1536 << 20))
            for wrong in ["2T", "-1", "x", "99999999999G"] {
                #expect(try await world.cli(["container", "limits", "shop", "--memory", wrong]).status == 64)
            }
            #expect(try await world.cli(["container", "limits", "shop", "--cpus", "64"]).failed(1))
        }
    }

    @Test func policiesAreSetForProjectsAndWorkspaces() async throws {
        try await CLIWorld.with { world in
            try await world.makeShop()
            let own = try await world.cli(["container", "policy", "shop", "--idle", "0"]).requireSuccess().text
            #expect(own.contains("idleSeconds          0\n") && own.contains("stopAfterSeconds     86400"))
            let all = try await world.cli([
                "container", "policy", "--workspace", "--idle", "600", "--stop-after", "7200", "--json",
            ]).requireSuccess().json()
            #expect(all["lifecycle"]?["idleSeconds"] == 600)
            let shown = try await world.cli(["project", "get", "shop", "--json"]).requireSuccess().json()
            #expect(shown["lifecycle"]?["idleSeconds"] == 0 && shown["lifecycle"]?["stopAfterSeconds"] == 7200)
            #expect(try await world.cli(["container", "policy"]).status == 64)
            #expect(try await world.cli(["container", "policy", "shop", "--workspace"]).status == 64)
            #expect(try await world.cli(["container", "policy", "shop", "--idle", "-5"]).status != 0)
        }
    }
}
