import FastableCore
import Foundation
import TestSupport
import Testing

@Suite("The program: projects and operators", .serialized, .endsInTime)
struct OperatorTests {
    @Test func projectsAreMadeShownAndDeleted() async throws {
        try await CLIWorld.with { world in
            let made = try await world.cli([
                "project", "create", "shop", "--cpus", "0.5", "--memory-mib", "64", "--pids", "32",
            ]).requireSuccess()
            #expect(made.text.contains("shop") && made.text.contains("prj_"))
            let json = try await world.cli(["project", "create", "second", "--json"]).requireSuccess().json()
            #expect(json["name"]?.string == "second")
            #expect(try await world.cli(["project", "create", "shop"]).failed(1, saying: "shop"))
            #expect(try await world.cli(["project", "create", "Bad Name"]).failed(1))

            let list = try await world.cli(["project", "list"]).requireSuccess().text
            #expect(list.contains("shop") && list.contains("second"))
            let listed = try await world.cli(["project", "list", "--json"]).requireSuccess().json()
            #expect(listed["projects"]?.array?.count == 2)

            let shown = try await world.cli(["project", "get", "shop", "--json"]).requireSuccess().json()
            #expect(shown["limits"]?["memoryBytes"]?.integer == 67_108_864)
            #expect(shown["limits"]?["pids"]?.integer == 32)
            #expect(try await world.cli(["project", "get", "shop"]).requireSuccess().text.contains("memoryBytes"))

            let deleted = try await world.cli(["project", "delete", "shop", "--yes"]).requireSuccess()
            #expect(deleted.text == "Deleted ‘shop’.\n")
            try await world.cli(["project", "delete", "second", "--yes", "--force", "--json"]).requireSuccess()
            #expect(try await world.cli(["project", "get", "shop"]).failed(1, saying: "shop"))
        }
    }

    @Test func nodesAreManaged() async throws {
        try await CLIWorld.with { world in
            let list = try await world.cli(["node", "list"]).requireSuccess().text
            #expect(list.contains("node-1") && list.contains("ready"))
            let show = try await world.cli(["node", "show", "node-1"]).requireSuccess().text
            #expect(show.contains("6.1") && show.contains("linkVersion"))
            for (command, state) in [("cordon", "cordoned"), ("uncordon", "ready")] {
                try await world.cli(["node", command, "node-1"]).requireSuccess()
                let node = try await world.cli(["node", "show", "node-1", "--json"]).requireSuccess().json()
                #expect(node["state"]?.string == state)
            }
            let token = try await world.cli(["node", "token", "--json"]).requireSuccess().json()
            #expect(token["token"]?.string?.hasPrefix("fjt_") == true)

            try await world.makeShop()
            _ = try await world.cli(["exec", "shop", "--", "exit 0"]).requireSuccess()
            #expect(try await world.cli(["node", "remove", "node-1"]).failed(1, saying: "1 projects"))
            try await world.cli(["node", "remove", "node-1", "--force"]).requireSuccess()
            #expect(try await world.cli(["node", "list", "--json"]).json()["nodes"]?.array?.isEmpty == true)
            let orphan = try await world.cli(["exec", "shop", "--", "exit 0"])
            #expect(orphan.failed(125, saying: "was removed"), "\(orphan)")
        }
    }

    @Test func imagesAreManaged() async throws {
        try await CLIWorld.with { world in
            try await world.cli(["image", "add", "mine", "dir:/srv/rootfs", "--node", "node-1"]).requireSuccess()
            let list = try await world.cli(["image", "list"]).requireSuccess().text
            #expect(list.contains("mine") && list.contains("4.8 MiB") && list.contains("dir:/srv/rootfs"), "\(list)")
            #expect(try await world.cli(["image", "list", "--json"]).json()["images"]?.array?.count == 1)
            try await world.cli(["image", "remove", "mine"]).requireSuccess()
            #expect(try await world.cli(["image", "list", "--json"]).json()["images"]?.array?.isEmpty == true)
        }
    }

    @Test func tokensAreManaged() async throws {
        try await CLIWorld.with { world in
            let made = try await world.cli([
                "token", "create", "agent", "--scope", "projects:read", "--scope", "exec", "--expires-in-days", "30",
                "--json",
            ]).requireSuccess().json()
            let id = try #require(made["id"]?.string)
            let file = world.folder + "/agent"
            try Data((made["token"]?.string ?? "").utf8).write(to: URL(fileURLWithPath: file))
            let asAgent: [String: String?] = ["FASTABLE_TOKEN_FILE": file]
            try await world.cli(["project", "list"], environment: asAgent).requireSuccess()
            #expect(try await world.cli(["token", "list"], environment: asAgent).failed(77, saying: "admin"))

            let list = try await world.cli(["token", "list"]).requireSuccess().text
            #expect(list.contains("agent") && list.contains(id) && !list.contains("fst_"))
            try await world.cli(["token", "revoke", id]).requireSuccess()
            #expect(try await world.cli(["project", "list"], environment: asAgent).failed(77))
            #expect(try await world.cli(["token", "revoke", "tok_nonsense"]).failed(1))
        }
    }

    @Test func theAuditIsShownAndVerified() async throws {
        try await CLIWorld.with { world in
            try await world.makeShop()
            _ = try await world.cli(["exec", "shop", "--", "exit 0"]).requireSuccess()
            let list = try await world.cli(["audit", "list", "--limit", "10"]).requireSuccess().text
            #expect(list.contains("projects_create") && list.contains("first admin"), "\(list)")
            let ofProject = try await world.cli(["audit", "list", "--project", "shop", "--json"]).requireSuccess()
            #expect(try ofProject.json()["events"]?.array?.isEmpty == false)
            #expect(try await world.cli(["audit", "verify"]).requireSuccess().text.contains("is whole"))
            #expect(try await world.cli(["audit", "verify", "--json"]).requireSuccess().json()["valid"]?.bool == true)
        }
    }
}
