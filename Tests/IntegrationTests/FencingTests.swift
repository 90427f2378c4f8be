import ControllerFleet
import FastableCore
import FastableIdentity
import Foundation
import TestSupport
import Testing

@Suite("Two links of one node", .serialized, .endsInTime)
struct FencingTests {
    @Test func theNewestGenerationHasTheCalls() async throws {
        try await TestController.with { controller in
            let node = try await controller.join()
            let context = try RawLink.context(node.identity())
            try await RawLink.with(controller, context: context, work: FakeWork("old")) { old in
                try await old.hello(generation: 10)
                try await controller.run("projects_create", ["name": "shop"])
                #expect(try await Self.whoAnswers(controller) == "old")

                try await RawLink.with(controller, context: context, work: FakeWork("stale")) { stale in
                    let error = await expectFailure(.conflict) { try await stale.hello(generation: 10) }
                    #expect(error?.details["newestGeneration"]?.integer == 10)
                    try await stale.waitUntilClosed()
                }
                #expect(try await Self.whoAnswers(controller) == "old")
                #expect(controller.log.contains("fenced off"))

                try await RawLink.with(controller, context: context, work: FakeWork("new")) { new in
                    try await new.hello(generation: 11)
                    try await old.waitUntilClosed()
                    #expect(try await Self.whoAnswers(controller) == "new")
                    #expect(controller.registry.connectedNodes().count == 1)
                    #expect(try await controller.state(of: node) == "ready", "the old link's end changes nothing")
                }
            }
            // Also after all links are gone an old one stays old.
            try await eventually("offline") { controller.registry.connectedNodes().isEmpty }
            try await RawLink.with(controller, context: context) { late in
                _ = await expectFailure(.conflict) { try await late.hello(generation: 9) }
            }
        }
    }

    @Test func callsThatWaitOnTheOldLinkFail() async throws {
        try await TestController.with { controller in
            let node = try await controller.join()
            let context = try RawLink.context(node.identity())
            let work = FakeWork("old")
            try await RawLink.with(controller, context: context, work: work) { old in
                try await old.hello(generation: 1)
                try await controller.run("projects_create", ["name": "shop"])
                let call = Task { try await controller.run("shell.exec", ["project": "shop", "cmd": ["wait"]]) }
                try await eventually("it runs") { work.methods.contains(.execStart) }
                try await RawLink.with(controller, context: context) { new in
                    try await new.hello(generation: 2)
                    await expectFailure(.unavailable) { _ = try await call.value }
                }
            }
        }
    }

    /// Two daemons take the link from each other; whichever is left alone serves.
    @Test func aClonedHostLeavesTheNodeUsable() async throws {
        try await TestController.with { controller in
            let node = try await controller.join("original")
            try await node.linked {
                try await controller.waitUntilReady(node)
                try await controller.run("projects_create", ["name": "shop"])
                let clone = try node.copied(to: controller.folder + "/clone")
                try await clone.linked(work: FakeWork("clone")) {
                    try await eventually("the clone has the link") {
                        (try? await Self.whoAnswers(controller)) == "clone"
                    }
                    #expect(controller.registry.connectedNodes().count <= 1)
                }
                try await eventually("the original has it again") {
                    (try? await Self.whoAnswers(controller)) == "original"
                }
            }
        }
    }

    private static func whoAnswers(_ controller: TestController) async throws -> String? {
        try await controller.run("shell.exec", ["project": "shop", "cmd": "name"])["stdout"]?.string
    }
}
