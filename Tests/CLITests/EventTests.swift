import FastableCore
import Foundation
import TestSupport
import Testing

@Suite("fastable events and webhook", .serialized, .endsInTime)
struct EventTests {
    @Test func whatIsKeptIsShown() async throws {
        try await CLIWorld.with { world in
            try await world.makeShop()
            // The node can be used before everybody has been told of it.
            try await eventually("the node's coming is told") {
                try await world.cli(["events"]).requireSuccess().text.contains("node.connected")
            }
            let all = try await world.cli(["events"]).requireSuccess().text
            #expect(all.contains("node.connected") && all.contains("project.created") && all.contains("  shop\n"))
            let mine = try await world.cli(["events", "--project", "shop", "--json"]).requireSuccess()
            let event: JSONValue = try JSON.decode(from: mine.output)
            #expect(event["kind"] == "project.created" && event["data"]?["name"] == "shop")
            let id = try #require(event["id"]?.string)
            #expect(
                try await world.cli(["events", "--project", "shop", "--after", id]).requireSuccess().output.isEmpty)
            let kind = try await world.cli(["events", "--kind", "project.deleted"]).requireSuccess()
            #expect(kind.output.isEmpty)
            #expect(try await world.cli(["events", "--kind", "nothing"]).failed(1, saying: "node.connected"))
            #expect(try await world.cli(["events", "--after", "x"]).failed(1, saying: "x"))
            #expect(try await world.cli(["events", "--project", "nobody"]).failed(1, saying: "nobody"))
            #expect(
                try await world.cli(["events", "--after", "999"]).requireSuccess().errorText.contains("no longer kept"))
        }
    }

    @Test func whatHappensIsFollowed() async throws {
        try await CLIWorld.with { world in
            let following = try world.start(["events", "--follow", "--kind", "project.created", "--after", "0"])
            for name in ["one", "two", "three"] {
                try await world.cli(["project", "create", name]).requireSuccess()
                try await following.waitForOutput("  \(name)\n")
            }
            following.send(signal: SIGINT)
            let result = try await following.result()
            #expect(result.text.split(separator: "\n").count == 3 && result.errorText.isEmpty)
        }
    }

    @Test func revokingATokenEndsWhoFollowsWithIt() async throws {
        try await CLIWorld.with { world in
            let made = try await world.cli(["token", "create", "reader", "--scope", "projects:read", "--json"])
                .requireSuccess().json()
            let file = world.folder + "/reader.token"
            try Data(try #require(made["token"]?.string).utf8).write(to: URL(fileURLWithPath: file))
            let following = try world.start(
                ["events", "--follow", "--after", "0"], environment: ["FASTABLE_TOKEN_FILE": file])
            try await world.makeShop()
            try await following.waitForOutput("  shop\n")
            try await world.cli(["token", "revoke", try #require(made["id"]?.string)]).requireSuccess()
            let result = try await following.result()
            #expect(result.status != 0 && result.errorText.contains("was revoked"), "\(result)")
        }
    }

    @Test func aFollowerNeedsAController() async throws {
        try await CLIWorld.with { world in
            let nobody = try await world.cli(["events", "-f"], environment: ["FASTABLE_API_URL": "http://127.0.0.1:1"])
            #expect(nobody.failed(69))
        }
    }

    @Test func webhooksAreManaged() async throws {
        try await CLIWorld.with { world in
            let made = try await world.cli([
                "webhook", "create", "https://example.com/hook", "--kind", "container.changed", "--description",
                "für alle",
                "--json",
            ]).requireSuccess().json()
            let id = try #require(made["id"]?.string)
            #expect(made["secret"]?.string?.hasPrefix("whsec_") == true)
            let shown = try await world.cli(["webhook", "create", "https://example.com/two"]).requireSuccess().text
            #expect(shown.contains("whk_") && shown.contains("\nwhsec_"))
            #expect(try await world.cli(["webhook", "create", "http://example.com/"]).failed(1, saying: "https://"))
            let list = try await world.cli(["webhook", "list"]).requireSuccess().text
            #expect(list.contains(id) && list.contains("container.changed") && list.contains("https://example.com/two"))
            #expect(!list.contains("whsec_"))
            #expect(try await world.cli(["webhook", "resume", id]).requireSuccess().text == "Resumed \(id).\n")
            let local = try await world.cli(["webhook", "create", "https://127.0.0.1:1/", "--json"]).requireSuccess()
                .json()
            let test = try await world.cli(["webhook", "test", try #require(local["id"]?.string)])
            #expect(test.failed(1, saying: "not on the public internet"), "\(test.errorText)")
            try await world.cli(["webhook", "delete", id]).requireSuccess()
            #expect(try await world.cli(["webhook", "delete", id]).failed(1, saying: id))
            #expect(try await world.cli(["webhook", "list", "--json"]).json()["webhooks"]?.array?.count == 2)
        }
    }
}
