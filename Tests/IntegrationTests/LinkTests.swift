import AsyncHTTPClient
import ControllerAPI
import ControllerFleet
import ControllerServices
import FastableCore
import FastableIdentity
import FastableWire
import Foundation
import NIOCore
import NIOHTTP1
import NodeControl
import Synchronization
import TestSupport
import Testing

@Suite("A node and its controller, over real TLS", .serialized, .endsInTime)
struct LinkTests {
    @Test func joinsLinksAndServes() async throws {
        try await TestController.with { controller in
            let node = try await controller.join()
            #expect(try await controller.state(of: node) == "offline")
            let work = FakeWork(node.name)
            try await node.linked(work: work) {
                try await controller.waitUntilReady(node)
                let status = try await controller.run("status")
                let listed = try #require(status["nodes"]?.array?.first)
                #expect(listed["runtime"]?.string == "runc 1.1.5")
                #expect(listed["cgroup"]?.string == "v2")

                try await controller.run("projects_create", ["name": "shop"])
                let answer = try await controller.run("shell.exec", ["project": "shop", "cmd": "name"])
                #expect(answer["stdout"]?.string == "node-1")
                #expect(answer["exitCode"]?.integer == 0)
            }
            #expect(work.methods.contains(.execStart))
            try await eventually("the node is offline") { try await controller.state(of: node) == "offline" }
        }
    }

    @Test func aKeyInTheHeaderMakesARetryGetTheFirstAnswer() async throws {
        try await TestController.with { controller in
            let node = try await controller.join()
            let work = FakeWork(node.name)
            try await node.linked(work: work) {
                try await controller.waitUntilReady(node)
                try await controller.run("projects_create", ["name": "shop"])
                let input: JSONValue = ["project": "shop", "cmd": "name"]
                let first = try await controller.post("shell.exec", input, headers: ["idempotency-key": "a-1"])
                let second = try await controller.post("shell.exec", input, headers: ["idempotency-key": "a-1"])
                #expect(first.status == 200 && second.status == 200)
                #expect(first.body == second.body)
                #expect(work.methods.filter { $0 == .execStart }.count == 1)
                let other = try await controller.post(
                    "shell.exec", ["project": "shop", "cmd": "other"], headers: ["idempotency-key": "a-1"])
                #expect(other.status == 409 && other.body["code"] == "conflict")
                for bad in ["", "two words", "ü", String(repeating: "x", count: 256)] {
                    let refused = try await controller.post("shell.exec", input, headers: ["idempotency-key": bad])
                    #expect(refused.status == 400 && refused.body["code"] == "invalid", "\(bad)")
                }
                #expect(work.methods.filter { $0 == .execStart }.count == 1)
            }
        }
    }

    /// A body without its middle would look whole.
    @Test func plainOutputEndsWhereBytesAreMissing() async throws {
        let work = FakeWork("node-1") { method, _, stream in
            guard method == .execAttach else { return false }
            func tell(_ event: ExecEvent) async throws {
                try await stream.send(message: ByteBuffer(bytes: try JSON.encode(event)))
            }
            try await tell(.started(container: ContainerID(), stdoutOffset: 4, stderrOffset: 0, inputOffset: 0))
            try await stream.send(data: ByteBuffer(string: "45"), channel: 1)
            try await tell(.gap(channel: 1, from: 6, to: 100))
            try await stream.send(data: ByteBuffer(string: "x"), channel: 1)
            try await stream.finish()
            return true
        }
        try await TestController.with { controller in
            let node = try await controller.join()
            try await node.linked(work: work) {
                try await controller.waitUntilReady(node)
                try await controller.run("projects_create", ["name": "shop"])
                let answer = try await controller.run("shell.exec", ["project": "shop", "cmd": "name"])
                let exec = try #require(answer["execId"]?.string.flatMap(ExecID.init))
                let output = try await controller.services.execOutput(
                    exec, stream: .stdout, from: .at(ExecOffsets(stdout: 4)), follow: false, follower: nil,
                    context: controller.context())
                var text = ""
                let error = await expectFailure(.gone) {
                    for try await part in output.bytes { text += String(buffer: part) }
                }
                #expect(output.firstOffset == 4 && text == "45")
                #expect(error?.details == ["from": 6, "to": 100])
                #expect(error?.message.contains("offset=100") == true)
                // Behind a status of 200 nothing can be told but that this is not all.
                let token = try String(contentsOfFile: controller.folder + "/admin.token", encoding: .utf8)
                var request = HTTPClientRequest(url: "\(controller.apiURL)/api/execs/\(exec)/output?offset=4")
                request.headers.add(
                    name: "authorization", value: "Bearer \(token.trimmingCharacters(in: .whitespacesAndNewlines))")
                let plain = request
                await #expect(throws: (any Error).self) {
                    let response = try await HTTPClient.shared.execute(plain, timeout: .minutes(5))
                    _ = try await response.body.collect(upTo: 1024)
                }
            }
        }
    }

    @Test func whatANodeSendsWronglyIsNoMistakeOfTheCaller() async throws {
        try await TestController.with { controller in
            let node = try await controller.join()
            try await node.linked {
                try await controller.waitUntilReady(node)
                try await controller.run("projects_create", ["name": "shop"])
                await expectFailure(.internal) {
                    try await controller.run("fs.list", ["project": "shop"])
                }
            }
        }
    }

    @Test func eachNodeGetsItsOwnCalls() async throws {
        try await TestController.with { controller in
            let first = try await controller.join("first")
            let second = try await controller.join("second")
            try await first.linked {
                try await controller.waitUntilReady(first)
                try await controller.run("nodes_cordon", ["node": "first"])
                try await second.linked {
                    try await controller.waitUntilReady(second)
                    // The first one takes no new projects, so the placement is known.
                    try await controller.run("projects_create", ["name": "two"])
                    let two = try await controller.run("shell.exec", ["project": "two", "cmd": "name"])
                    #expect(two["stdout"]?.string == "second")
                    try await controller.run("nodes_uncordon", ["node": "first"])
                    try await controller.run("nodes_cordon", ["node": "second"])
                    try await controller.run("projects_create", ["name": "one"])
                    let one = try await controller.run("shell.exec", ["project": "one", "cmd": "name"])
                    #expect(one["stdout"]?.string == "first")
                }
            }
        }
    }

    @Test func aProjectOfAnOfflineNodeIsRefusedAtOnce() async throws {
        try await TestController.with { controller in
            let node = try await controller.join()
            try await node.linked {
                try await controller.waitUntilReady(node)
                try await controller.run("projects_create", ["name": "shop"])
                _ = try await controller.run("shell.exec", ["project": "shop", "cmd": "name"])
            }
            try await eventually("the node is offline") { try await controller.state(of: node) == "offline" }
            let began = ContinuousClock.now
            let answer = try await controller.post("shell.exec", ["project": "shop", "cmd": "name"])
            #expect(ContinuousClock.now - began < .seconds(Limits.nodeAnswerSeconds))
            #expect(answer.status == 503)
            #expect(answer.headers.first(name: "retry-after").flatMap { Int($0) } ?? 0 > 0)
            #expect(answer.body["code"]?.string == "unavailable")
            #expect(answer.body["detail"]?.string?.contains("offline") == true)
        }
    }

    @Test(arguments: ["shell.exec", "fs.read"])
    func aLostLinkEndsWaitingCallsAtOnce(operation: String) async throws {
        try await TestController.with { controller in
            let node = try await controller.join()
            let work = FakeWork(node.name)
            try await RawLink.with(controller, context: RawLink.context(node.identity()), work: work) { link in
                try await link.hello(generation: 1)
                try await controller.run("projects_create", ["name": "shop"])
                let input: JSONValue =
                    operation == "fs.read"
                    ? ["project": "shop", "path": "a"] : ["project": "shop", "cmd": ["wait"]]
                let call = Task { try await controller.post(operation, input) }
                try await eventually("the node has the call") {
                    work.methods.contains(operation == "fs.read" ? .fsRead : .execStart)
                }
                let cut = ContinuousClock.now
                link.connection.sever()
                let answer = try await call.value
                #expect(ContinuousClock.now - cut < .seconds(Limits.nodeAnswerSeconds))
                #expect(answer.status == 503, "\(answer.body)")
                if operation == "shell.exec" {
                    #expect(answer.body["details"]?["execId"]?.string?.hasPrefix("exe_") == true)
                }
            }
        }
    }

    @Test func aNodeComesBackByItselfAfterARestartOfTheController() async throws {
        try await withTemporaryDirectory { folder in
            let port = try ReservedPort()
            let node = try await TestController.run(in: folder, nodePort: port.number) { try await $0.join() }
            try await node.linked {
                try await TestController.run(in: folder, nodePort: port.number) { controller in
                    try await controller.waitUntilReady(node)
                    try await controller.run("projects_create", ["name": "shop"])
                    _ = try await controller.run("shell.exec", ["project": "shop", "cmd": "name"])
                }
                try await TestController.run(in: folder, nodePort: port.number) { controller in
                    try await controller.waitUntilReady(node)
                    let answer = try await controller.run("shell.exec", ["project": "shop", "cmd": "name"])
                    #expect(answer["stdout"]?.string == "node-1")
                }
            }
            withExtendedLifetime(port) {}
        }
    }

    @Test func removingANodeCutsItsLinkAndKeepsItOut() async throws {
        try await TestController.with { controller in
            let node = try await controller.join()
            try await node.linked {
                try await controller.waitUntilReady(node)
                try await controller.run("nodes_remove", ["node": .string(node.name)])
                try await eventually("the link is cut") { controller.registry.connectedNodes().isEmpty }

                let refused = controller.services.metrics.value(.linksRefused)
                try await eventually("it was refused twice more") {
                    controller.services.metrics.value(.linksRefused) >= refused + 2
                }
                #expect(controller.registry.connectedNodes().isEmpty)
                #expect(controller.log.contains("was revoked"))
            }
            #expect(try await controller.run("nodes_list")["nodes"]?.array?.isEmpty == true)
        }
    }

    /// The upgrade was let in, then the node is removed, then it says hello.
    @Test func aNodeThatIsRemovedBeforeItsHelloIsRefused() async throws {
        try await TestController.with { controller in
            let node = try await controller.join()
            try await RawLink.with(controller, context: RawLink.context(node.identity())) { link in
                try await eventually("the upgrade is done") { controller.fleet.serials.count == 1 }
                try await controller.run("nodes_remove", ["node": .string(node.name)])
                await expectFailure(.unauthenticated, .unavailable) { try await link.hello(generation: 1) }
                try await link.waitUntilClosed()
            }
            try await eventually("it is forgotten") { controller.registry.connectedNodes().isEmpty }
        }
    }
}

@Suite("Requests that do not end", .endsInTime)
struct StuckRequestTests {
    /// A request hangs in a system call, say, when its link is lost: the node dials again and serves.
    @Test func theNodeDialsAgain() async throws {
        try await TestController.with { controller in
            let node = try await controller.join()
            let work = FakeWork(node.name)
            let log = LogRecorder()
            let released = AsyncStream.makeStream(of: Void.self)
            let isStuck = Mutex(false)
            let service = NodeLinkService(
                identityDirectory: node.directory,
                reporter: NodeReporter { NodeReport(facts: TestNode.facts, containers: []) }, logger: log.logger
            ) { stream in
                let isFirst = isStuck.withLock { isStuck in
                    defer { isStuck = true }
                    return !isStuck
                }
                guard isFirst else { return await work.serve(stream) }
                // Not cancelled with the task that waits for it.
                await Task { for await _ in released.stream {} }.value
            }
            let running = Task { try await service.run() }
            try await controller.waitUntilReady(node)
            try await controller.run("projects_create", ["name": "shop"])
            let lost = Task { try await controller.post("shell.exec", ["project": "shop", "cmd": "name"]) }
            try await eventually("the request hangs") { isStuck.withLock { $0 } }
            controller.registry.disconnect(node.id, reason: "The test cuts it.")
            #expect(try await lost.value.status == 503)
            try await eventually("it is offline") { log.contains("The controller is not linked") }
            // The request hangs for as long as the test lasts; the dialling does not wait for that.
            try await controller.waitUntilReady(node)
            #expect(try await controller.run("shell.exec", ["project": "shop", "cmd": "name"])["exitCode"] == 0)
            #expect(log.contains("Requests of the last link do not end"))
            released.continuation.finish()
            running.cancel()
            try await running.value
        }
    }
}
