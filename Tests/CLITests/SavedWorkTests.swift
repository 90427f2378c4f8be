import FastableCore
import Foundation
import TestSupport
import Testing

@Suite("The program: saved work", .serialized, .endsInTime)
struct SavedWorkTests {
    @Test func checkpointsAndForks() async throws {
        try await CLIWorld.with { world in
            try await world.cli(["project", "create", "shop"]).requireSuccess()
            let made = try await world.cli(["project", "checkpoint", "shop", "--note", "before it"]).requireSuccess()
            #expect(made.text.hasPrefix("Copied 3 files, 2.0 KiB: ckp_"))
            let json = try await world.cli(["project", "checkpoint", "shop", "--json"]).requireSuccess().json()
            #expect(json["id"]?.string?.hasPrefix("ckp_") == true && json["entries"] == 3)
            let list = try await world.cli(["project", "checkpoints", "shop"]).requireSuccess().text
            #expect(list.contains("\(FakeNode.checkpoint)") && list.contains("before it"))
            let back = try await world.cli(["project", "rollback", "shop"]).requireSuccess().text
            #expect(back.contains("Back at \(FakeNode.checkpoint)"))
            #expect(back.contains("What was there before: fastable project rollback shop --at ckp_"))
            let id = FakeNode.checkpoint.description
            try await world.cli(["project", "checkpoints", "shop", "--delete", id]).requireSuccess()
            let forked = try await world.cli(["project", "fork", "shop", "second"]).requireSuccess().text
            #expect(forked.hasPrefix("Created ‘second’"))
            #expect(
                try await world.cli(["project", "rollback", "shop", "--at", "nothing"]).failed(1, saying: "nothing"))
        }
    }

    @Test func snapshotsAreListedAndMissingOnesNamed() async throws {
        try await CLIWorld.with { world in
            try await world.cli(["project", "create", "shop"]).requireSuccess()
            let list = try await world.cli(["project", "snapshots"]).requireSuccess().text
            #expect(list.hasPrefix("ID  PROJECT  CREATED"))
            #expect(try await world.cli(["project", "restore", "shop"]).failed(1, saying: "has no snapshot yet"))
            let id = SnapshotID().description
            #expect(try await world.cli(["project", "restore", "shop", "--at", id]).failed(1, saying: id))
            #expect(try await world.cli(["project", "create", "new", "--from-snapshot", id]).failed(1, saying: id))
        }
    }
}
