import ControllerFleet
import ControllerServices
import FastableCore
import FastableIdentity
import FastableWire
import Foundation
import NIOCore
import TestSupport
import Testing

/// A node with a good certificate that does not keep to the protocol: it hurts nobody but itself.
@Suite("Nodes that misbehave", .serialized, .endsInTime)
struct HostilePeerTests {
    static let firstMessages: [String] = [
        "not json", "{}", "[]", "null", #"{"method":"node.hello"}"#, #"{"method":"node.dance","requestID":"x"}"#,
        #"{"method":"exec.start","requestID":"req_01h455vb4pex5vsknk084sn02q","arguments":{}}"#,
        #"{"method":"node.hello","requestID":"req_01h455vb4pex5vsknk084sn02q","arguments":{"generation":-1}}"#,
        #"{"method":"node.report","requestID":"req_01h455vb4pex5vsknk084sn02q","arguments":{}}"#,
        String(repeating: "[", count: 100_000), String(repeating: "{\"a\":", count: 40_000),
    ]

    @Test(arguments: firstMessages)
    func aBadFirstMessageEndsOnlyItsOwnLink(text: String) async throws {
        try await TestController.with { controller in
            let node = try await controller.join("bystander")
            let bad = try await controller.join("bad")
            try await node.linked {
                try await controller.waitUntilReady(node)
                try await RawLink.with(controller, context: RawLink.context(bad.identity())) { link in
                    #expect(try await link.ask(ByteBuffer(string: text))["error"] != nil)
                    await expectFailure(.invalid, .unavailable) { try await link.hello(generation: 1) }
                    try await link.waitUntilClosed()
                }
                #expect(controller.services.metrics.value(.linksRefused) == 1)
                #expect(controller.registry.connectedNodes().map(\.id) == [node.id])
                try await controller.run("projects_create", ["name": "shop"])
                let answer = try await controller.run("shell.exec", ["project": "shop", "cmd": "name"])
                #expect(answer["stdout"]?.string == "bystander")
            }
        }
    }

    @Test func badMessagesAfterTheHelloFailAlone() async throws {
        try await TestController.with { controller in
            let node = try await controller.join()
            try await RawLink.with(controller, context: RawLink.context(node.identity())) { link in
                try await link.hello(generation: 1)
                for text in Self.firstMessages {
                    #expect(try await link.ask(ByteBuffer(string: text))["error"] != nil, "\(text.prefix(80))")
                }
                #expect(link.connection.isOpen)
                let again = await expectFailure(.invalid) { try await link.hello(generation: 2) }
                #expect(again?.message.contains("once") == true)
                #expect(try await controller.state(of: node) == "ready")
            }
            try await eventually("offline") { try await controller.state(of: node) == "offline" }
        }
    }

    /// Many hellos at once: one counts, and nothing of the node is left when the link is gone.
    @Test func helloCountsOnce() async throws {
        try await TestController.with { controller in
            let node = try await controller.join()
            for round in 0..<5 {
                try await RawLink.with(controller, context: RawLink.context(node.identity())) { link in
                    await withTaskGroup(of: Void.self) { group in
                        for index in 0..<20 {
                            group.addTask { try? await link.hello(generation: UInt64(round * 100 + index + 1)) }
                        }
                    }
                }
                try await eventually("offline") { controller.registry.connectedNodes().isEmpty }
            }
        }
    }

    @Test func aNodeThatNeverSaysHelloIsCut() async throws {
        try await TestController.with(helloDeadline: .milliseconds(300)) { controller in
            let node = try await controller.join()
            try await RawLink.with(controller, context: RawLink.context(node.identity())) { link in
                try await link.waitUntilClosed()
            }
            #expect(controller.services.metrics.value(.linksRefused) == 1)
            #expect(controller.log.contains("did not say hello"))
        }
        // One that said it stays. A busy machine needs its time for that.
        try await TestController.with(helloDeadline: .seconds(10)) { controller in
            let node = try await controller.join()
            try await RawLink.with(controller, context: RawLink.context(node.identity())) { link in
                try await link.hello(generation: 1)
                try await Task.sleep(for: .milliseconds(10_300))
                #expect(link.connection.isOpen)
            }
        }
    }

    @Test(arguments: [(2, 9), (0, 0), (9, 2), (Int.max, Int.max), (Int.min, 0)])
    func versionsThatDoNotMeetAreRefused(oldest: Int, current: Int) async throws {
        try await TestController.with { controller in
            let node = try await controller.join()
            try await RawLink.with(controller, context: RawLink.context(node.identity())) { link in
                let error = await expectFailure(.unprocessable) {
                    try await link.hello(generation: 1) { hello in
                        hello.oldestVersion = oldest
                        hello.currentVersion = current
                    }
                }
                #expect(error?.message.contains("Upgrade") == true)
                try await link.waitUntilClosed()
            }
            #expect(controller.registry.connectedNodes().isEmpty)
            #expect(controller.log.contains("link versions"))
            // A refused version takes no generation: the upgraded node comes back with any.
            try await RawLink.with(controller, context: RawLink.context(node.identity())) { link in
                try await link.hello(generation: 1) { $0.currentVersion = LinkVersion.current + 1 }
            }
        }
    }

    @Test(arguments: [RawFrame.tooLarge, .unmasked, .text, .garbage])
    func brokenFramesEndOnlyTheirOwnLink(frame: RawFrame) async throws {
        try await TestController.with { controller in
            let node = try await controller.join("bystander")
            let bad = try await controller.join("bad")
            try await node.linked {
                try await controller.waitUntilReady(node)
                try await frame.send(to: controller, context: RawLink.context(bad.identity()))
                #expect(controller.registry.connectedNodes().map(\.id) == [node.id])
                #expect(try await controller.state(of: node) == "ready")
            }
        }
    }
}
