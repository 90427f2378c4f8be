import FastableCore
import Foundation
import TestSupport
import Testing

@Suite("The program: workspaces", .serialized, .endsInTime)
struct WorkspaceTests {
    @Test func quotasAreSetAndShown() async throws {
        try await CLIWorld.with { world in
            try await world.makeShop()
            let unbound = try await world.cli(["workspace", "usage"]).requireSuccess().text
            #expect(unbound.contains("containers awake") && unbound.contains("without a disk of their own: 1"))
            let set = try await world.cli([
                "workspace", "quota", "--containers", "20", "--cpus", "2.5", "--memory", "16G", "--disk", "200G",
                "--json",
            ]).requireSuccess().json()
            #expect(set["containers"]?["allowed"] == 20 && set["cpus"]?["allowed"] == .number(2.5))
            #expect(set["memoryBytes"]?["allowed"] == .integer(16 << 30))
            let shown = try await world.cli(["workspace", "usage"]).requireSuccess().text
            #expect(shown.contains("16.0 GiB") && shown.contains("200.0 GiB"))
            #expect(try await world.cli(["workspace", "usage", "none"]).failed(1, saying: "none"))
            #expect(try await world.cli(["workspace", "quota", "--memory", "2T"]).status == 64)
            let cleared = try await world.cli(["workspace", "quota", "--json"]).requireSuccess().json()
            #expect(cleared["containers"]?["allowed"] == nil)
        }
    }
}
