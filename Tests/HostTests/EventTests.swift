import AsyncHTTPClient
import Crypto
import FastableCore
import Foundation
import NIOCore
import NIOHTTP1
import Synchronization
import TestSupport
import Testing

/// Real daemons and a real container: what happens is told in order, once each, also over the death of the controller.
@Suite("Events", .serialized, .enabled(if: Installation.missing == nil, "\(Installation.missing ?? "")"))
struct EventTests {
    /// What a project's events say, in order.
    static let life = [
        "project.created", "creating", "running", "stopped", "creating", "running", "stopped", "project.deleted",
        "deleting",
        "absent",
    ]

    private static func word(_ event: JSONValue) -> String {
        let kind = event["kind"]?.string ?? "?"
        return kind == "container.changed" ? event["data"]?["to"]?.string ?? "?" : kind
    }

    /// Follows the events of one project as a program does: with the last id that it has seen.
    private final class Follower: Sendable {
        private let seen = Mutex<[JSONValue]>([])
        var events: [JSONValue] { seen.withLock { $0 } }
        var words: [String] { events.map(EventTests.word) }

        func run(_ host: Installation) async throws {
            var last: String? = "0"
            while !Task.isCancelled {
                do {
                    try await follow(host, &last)
                } catch {
                    // The controller is away.
                    try await Task.sleep(for: .milliseconds(50))
                }
            }
        }

        private func follow(_ host: Installation, _ last: inout String?) async throws {
            let headers: HTTPHeaders = last.map { ["last-event-id": $0] } ?? [:]
            let response = try await host.open(
                .GET, "/api/events?kinds=container.changed,project.created,project.deleted", headers: headers)
            guard response.status == .ok else { return }
            var text = ""
            for try await part in response.body {
                text += String(buffer: part)
                while let end = text.range(of: "\n\n") {
                    let lines = text[..<end.lowerBound].split(separator: "\n")
                    text.removeSubrange(..<end.upperBound)
                    if let data = lines.first(where: { $0.hasPrefix("data: ") })?.dropFirst(6) {
                        let event: JSONValue = try JSON.decode(from: Data(data.utf8))
                        seen.withLock { $0.append(event) }
                    }
                    if let id = lines.first(where: { $0.hasPrefix("id: ") })?.dropFirst(4) { last = String(id) }
                }
            }
        }
    }

    @Test(.endsInTime) func aLifeIsToldInOrderOverTheDeathOfTheController() async throws {
        try await HTTPEndpoint.with { endpoint in
            try await Installation.with(options: ["--webhooks-allow-private"]) { host in
                let hook = try await host.tool("webhooks_create", ["url": .string(endpoint.url)])
                let follower = Follower()
                let following = Task { try await follower.run(host) }
                let printed = host.directory.appending(path: "events")
                let program = try Self.startProgram(host, output: printed)
                // What a thread of tasks starts has its signals blocked.
                defer { if program.isRunning { kill(program.processIdentifier, SIGKILL) } }
                try await host.tool("projects_create", ["name": "p"])
                let began = ContinuousClock.now
                try await host.tool("devcontainer.ensure", ["project": "p"])
                try await eventually("it runs") { follower.words.last == "running" }
                print("running was seen \(ContinuousClock.now - began) after it was asked for")

                // The container ends while nobody is there to hear it.
                let pid = try await Self.initProcess(host)
                host.killController()
                kill(pid, SIGKILL)
                try await Self.waitForEnd(pid)
                try await host.startController()
                try await eventually("its end is told") { follower.words.last == "stopped" }
                try await host.tool("devcontainer.ensure", ["project": "p"])
                try await host.tool("projects_delete", ["project": "p"])
                try await eventually("all is told") { follower.words.count == Self.life.count }
                #expect(follower.words == Self.life)
                try await eventually("the webhook has all") {
                    Set(endpoint.requests.compactMap { $0.headers["webhook-id"] }).count >= Self.life.count
                }
                try await eventually("the program has printed all") {
                    let lines = try String(contentsOf: printed, encoding: .utf8).split(separator: "\n")
                    return try lines.map { Self.word(try JSON.decode(from: Data($0.utf8))) } == Self.life
                }
                following.cancel()
                _ = await following.result
                try Self.check(endpoint.requests, follower.events, secret: try #require(hook["secret"]?.string))
            }
        }
    }

    /// `fastable events`, which comes back by itself.
    private static func startProgram(_ host: Installation, output: URL) throws -> Process {
        try Data().write(to: output)
        let process = Process()
        process.executableURL = host.programs.appending(path: "fastable")
        process.arguments = ["events", "--follow", "--after", "0", "--json"]
        for kind in ["container.changed", "project.created", "project.deleted"] {
            process.arguments? += ["--kind", kind]
        }
        process.environment = [
            "FASTABLE_API_URL": try host.apiURL(), "FASTABLE_TOKEN_FILE": host.controllerState + "/admin.token",
        ]
        process.standardOutput = try FileHandle(forWritingTo: output)
        try process.run()
        return process
    }

    /// At least once, in order, the same as in the stream, and signed.
    private static func check(_ requests: [HTTPEndpoint.Request], _ events: [JSONValue], secret: String) throws {
        let key = SymmetricKey(data: try #require(Data(base64Encoded: String(secret.dropFirst(6)))))
        var bodies: [JSONValue] = []
        for request in requests {
            let (id, time) = (request.headers["webhook-id"] ?? "", request.headers["webhook-timestamp"] ?? "")
            let code = HMAC<SHA256>.authenticationCode(for: Data("\(id).\(time).".utf8) + request.body, using: key)
            #expect(request.headers["webhook-signature"] == "v1," + Data(code).base64EncodedString())
            let body = try request.json()
            if bodies.last != body { bodies.append(body) }
        }
        #expect(bodies == events)
    }

    /// A daemon that dies right after its container changed: what it could not tell any more is found by the next.
    @Test(.endsInTime) func theDeathOfTheNodeDoublesAndLosesNothing() async throws {
        try await Installation.with { host in
            let follower = Follower()
            let following = Task { try await follower.run(host) }
            try await host.tool("projects_create", ["name": "p"])
            try await host.tool("devcontainer.ensure", ["project": "p"])
            try await eventually("it runs") { follower.words.last == "running" }
            host.killNode(0)
            try await host.startNode(0)
            // The container was still there.
            let pid = try await Self.initProcess(host)
            host.killNode(0)
            kill(pid, SIGKILL)
            try await Self.waitForEnd(pid)
            try await host.startNode(0)
            try await eventually("its end is told") { follower.words.last == "stopped" }
            #expect(follower.words == Array(Self.life.prefix(4)))
            following.cancel()
            _ = await following.result
        }
    }

    /// The first process of the only container, by its number on the host.
    private static func initProcess(_ host: Installation) async throws -> Int32 {
        let projects = host.directory.appending(path: "node-0/projects")
        let names = try FileManager.default.contentsOfDirectory(atPath: projects.path)
        let file = projects.appending(path: "\(try #require(names.first))/record.json")
        let record: JSONValue = try JSON.decode(from: try Data(contentsOf: file))
        return Int32(try #require(record["process"]?["pid"]?.integer))
    }

    private static func waitForEnd(_ pid: Int32) async throws {
        try await eventually("the container's first process is gone") {
            let stat = (try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8)) ?? ") Z"
            return stat.contains(") Z")
        }
    }

    /// Whoever follows is told goodbye: a controller that stops does not wait for them.
    @Test(.endsInTime) func aStopDoesNotWaitForFollowers() async throws {
        try await Installation.with { host in
            let follower = Follower()
            let following = Task { try await follower.run(host) }
            try await host.tool("projects_create", ["name": "p"])
            try await eventually("it follows") { follower.words == ["project.created"] }
            let began = ContinuousClock.now
            await host.stopController()
            #expect(ContinuousClock.now - began < .seconds(Limits.gracefulShutdownSeconds))
            try await host.startController()
            try await host.tool("projects_delete", ["project": "p"])
            try await eventually("it follows again") { follower.words == ["project.created", "project.deleted"] }
            following.cancel()
            _ = await following.result
        }
    }

    @Test(.endsInTime) func aWebhookDoesNotReachTheControllersHost() async throws {
        try await HTTPEndpoint.with { endpoint in
            try await Installation.with { host in
                await #expect(throws: FastableError.self) {
                    try await host.tool("webhooks_create", ["url": .string(endpoint.url)])
                }
                for name in ["localhost", "127.0.0.1", "2130706433", "[::1]"] {
                    let made = try await host.tool(
                        "webhooks_create", ["url": .string("https://\(name):\(endpoint.port)/")])
                    let test = try await host.tool("webhooks_test", ["webhook": made["id"] ?? .null])
                    #expect(test["delivered"] == false, "\(name)")
                }
                try await host.tool("projects_create", ["name": "p"])
                try await eventually("all have failed") {
                    let list = try await host.tool("webhooks_list", [:])["webhooks"]?.array ?? []
                    return list.count == 4 && list.allSatisfy { $0["state"] == "failing" }
                }
                #expect(endpoint.requests.isEmpty)
            }
        }
    }
}
