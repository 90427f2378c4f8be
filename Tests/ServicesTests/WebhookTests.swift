import ControllerDomain
import ControllerServices
import ControllerStore
import Crypto
import FastableCore
import FoundationEssentials
import Synchronization
import TestSupport
import Testing

/// An endpoint that answers as the test says.
private final class ScriptedSender: WebhookSending {
    struct Message: Sendable {
        var body: JSONValue
        var bytes: Data
        var headers: [String: String]
        var url: String
    }

    typealias Script = @Sendable (_ message: Message, _ earlier: Int) async throws -> Void

    private let script: Mutex<Script>
    private let log = Mutex<[Message]>([])

    init(_ script: @escaping Script = { _, _ in }) { self.script = Mutex(script) }

    var messages: [Message] { log.withLock { $0 } }
    /// The ids of the events that arrived, in order.
    func ids(at url: String) -> [String] { messages.filter { $0.url == url }.compactMap { $0.body["id"]?.string } }
    func answer(_ script: @escaping Script) { self.script.withLock { $0 = script } }

    func send(_ body: Data, headers: [(name: String, value: String)], to url: String) async throws {
        let message = Message(
            body: try JSON.decode(from: body), bytes: body,
            headers: Dictionary(headers.map { ($0.name, $0.value) }) { $1 },
            url: url)
        let earlier = log.withLock { log in
            defer { log.append(message) }
            return log.count { $0.url == url }
        }
        try await script.withLock { $0 }(message, earlier)
    }
}

@Suite(.endsInTime) struct WebhookTests {
    private static let url = "https://example.com/hook"

    /// A world whose webhooks are served.
    private static func with(
        _ sender: ScriptedSender = ScriptedSender(), _ body: @Sendable (World, ScriptedSender) async throws -> Void
    ) async throws {
        try await World.with(nodes: 0) {
            $0.webhookSender = sender
        } _: { world, _ in
            let running = Task { try await world.services.run() }
            let result: Result<Void, any Error>
            do { result = .success(try await body(world, sender)) } catch { result = .failure(error) }
            running.cancel()
            try await running.value
            try result.get()
        }
    }

    private static func create(_ world: World, _ more: [String: JSONValue] = [:]) async throws -> (
        id: WebhookID, secret: String
    ) {
        let input: [String: JSONValue] = ["url": .string(url)]
        let made = try await world.run("webhooks_create", .object(input.merging(more) { $1 }))
        return (try #require(made["id"]?.string.flatMap(WebhookID.init)), try #require(made["secret"]?.string))
    }

    private static func publish(_ world: World, _ count: Int = 1, in workspace: WorkspaceID? = nil) async throws {
        for _ in 0..<count {
            try await world.store.appendEvent(
                PlatformEvent(
                    workspace: workspace ?? world.workspace, kind: .projectCreated, at: .nowMilliseconds))
        }
    }

    private static func progress(_ id: WebhookID, _ world: World) async throws -> Webhook.Progress {
        try await world.store.webhook(id, in: world.workspace).progress
    }

    @Test func everyEventOfTheWorkspaceComesInOrder() async throws {
        try await Self.with { world, sender in
            try await Self.publish(world, 3)
            let (id, _) = try await Self.create(world)
            try await Self.publish(world, 2, in: world.other)
            try await Self.publish(world, 120)
            try await eventually("all arrive") { sender.ids(at: Self.url).count >= 120 }
            #expect(sender.ids(at: Self.url) == (6...125).map(String.init), "from its creation on, in order, once each")
            try await eventually("it is noted") { try await Self.progress(id, world).delivered == 125 }
            #expect(world.services.metrics.value(.webhookDeliveries, ["ok"]) == 120)
        }
    }

    @Test func kindsAndTheFleetAreAsItWasAsked() async throws {
        try await Self.with { world, sender in
            _ = try await Self.create(world, ["kinds": ["project.deleted", "node.connected"]])
            let fleet = "https://example.com/fleet"
            _ = try await Self.create(world, ["url": .string(fleet), "fleet": true])
            let node = try await world.join("node-1")
            try await world.project()
            try await world.run("projects_delete", ["project": "shop"])
            try await eventually("all arrive") { sender.messages.count >= 5 }
            let kinds = { (url: String) in sender.messages.filter { $0.url == url }.map { $0.body["kind"]?.string } }
            #expect(kinds(Self.url) == ["project.deleted"])
            #expect(
                kinds(fleet) == ["node.connected", "node.state_changed", "project.created", "project.deleted"])
            withExtendedLifetime(node) {}
        }
    }

    /// As an endpoint would check it, with nothing of ours: the algorithm of Standard Webhooks, written down once more.
    @Test func signaturesCanBeChecked() async throws {
        try await Self.with { world, sender in
            let (id, secret) = try await Self.create(world)
            try await Self.publish(world)
            try await eventually("it arrives") { sender.messages.count == 1 }
            let message = try #require(sender.messages.first)
            #expect(message.headers["webhook-id"] == "\(id).1")
            let seconds = try #require(message.headers["webhook-timestamp"].flatMap { Int($0) })
            #expect(abs(Double(seconds) - Date().timeIntervalSince1970) < 600)
            #expect(secret.hasPrefix("whsec_"))
            let key = try #require(Data(base64Encoded: String(secret.dropFirst(6))))
            #expect(key.count == 32)
            let signed = Data("\(id).1.\(seconds).".utf8) + message.bytes
            let signature = Data(HMAC<SHA256>.authenticationCode(for: signed, using: SymmetricKey(data: key)))
            #expect(message.headers["webhook-signature"] == "v1," + signature.base64EncodedString())
        }
    }

    @Test func whatFailsIsSentAgainAndNothingOvertakesIt() async throws {
        // The second attempt waits until the test has seen what became of the first.
        let (held, release) = AsyncStream.makeStream(of: Void.self)
        let sender = ScriptedSender { _, earlier in
            if earlier == 0 { throw WebhookProblem("answered 500") }
            for await _ in held {}
        }
        try await Self.with(sender) { world, sender in
            let (id, _) = try await Self.create(world)
            try await Self.publish(world, 3)
            try await eventually("it fails") { try await Self.progress(id, world).attempts == 1 }
            let failing = try await world.run("webhooks_list")["webhooks"]?.array?.first
            #expect(failing?["state"] == "failing" && failing?["lastProblem"] == "answered 500")
            #expect(failing?["delivered"] == "0" && failing?["nextAttemptAt"] != nil)
            try await eventually("it is told") { world.services.metrics.value(.webhooks, ["failing"]) == 1 }
            release.finish()
            // After the first pause, by itself.
            try await eventually("it is sent again") { sender.messages.count == 4 }
            #expect(sender.ids(at: Self.url) == ["1", "1", "2", "3"])
            let ids = sender.messages.compactMap { $0.headers["webhook-id"] }
            #expect(ids[0] == ids[1] && Set(ids).count == 3, "an endpoint can tell a repetition")
            try await eventually("it is well") { world.services.metrics.value(.webhooks, ["ok"]) == 1 }
        }
    }

    @Test func afterThreeDaysItIsSwitchedOffAndCanBeResumed() async throws {
        let sender = ScriptedSender { _, _ in throw WebhookProblem("answered 410") }
        try await Self.with(sender) { world, sender in
            let (id, _) = try await Self.create(world)
            var progress = try await Self.progress(id, world)
            progress.failed("answered 410", at: .nowMilliseconds.addingTimeInterval(-73 * 3600), random: 0)
            #expect(try await world.store.updateWebhook(id, progress))
            try await Self.publish(world, 2)
            try await eventually("it is switched off") { try await Self.progress(id, world).disabledAt != nil }
            #expect(sender.messages.count == 1)
            try await Self.publish(world)
            sender.answer { _, _ in }
            let resumed = try await world.run("webhooks_resume", ["webhook": .string(id.description)])
            #expect(resumed["state"] == "ok")
            try await eventually("it goes on") { try await Self.progress(id, world).delivered == 3 }
            #expect(sender.ids(at: Self.url) == ["1", "1", "2", "3"], "from the event that failed")
        }
    }

    @Test func aSlowEndpointHoldsUpNobodyElse() async throws {
        let (held, release) = AsyncStream.makeStream(of: Void.self)
        let sender = ScriptedSender { message, _ in
            if message.url != Self.url { for await _ in held {} }
        }
        try await Self.with(sender) { world, sender in
            for number in 0..<5 {
                _ = try await Self.create(world, ["url": .string("https://slow-\(number).example.com")])
            }
            _ = try await Self.create(world)
            try await Self.publish(world, 100)
            try await eventually("the quick one has all") { sender.ids(at: Self.url).count == 100 }
            try await eventually("one at a time for each of the others") { sender.messages.count == 105 }
            release.finish()
            try await eventually("the slow ones go on") { sender.messages.count >= 600 }
            for number in 0..<5 {
                #expect(sender.ids(at: "https://slow-\(number).example.com") == (1...100).map(String.init))
            }
        }
    }

    @Test func whatIsDeletedGetsNothingMore() async throws {
        let (held, release) = AsyncStream.makeStream(of: Void.self)
        let sender = ScriptedSender { _, _ in for await _ in held {} }
        try await Self.with(sender) { world, sender in
            let (id, _) = try await Self.create(world)
            let (kept, _) = try await Self.create(world, ["url": "https://kept.example.com"])
            try await Self.publish(world, 10)
            try await eventually("the first is under way") { sender.messages.count == 2 }
            try await world.run("webhooks_delete", ["webhook": .string(id.description)])
            release.finish()
            try await eventually("the other goes on") { try await Self.progress(kept, world).delivered == 10 }
            #expect(sender.ids(at: Self.url) == ["1"])
        }
    }

    /// The state of deliveries is in the database alone.
    @Test func aRestartGoesOnWhereItWas() async throws {
        let sender = ScriptedSender()
        try await World.with(nodes: 0) {
            $0.webhookSender = sender
        } _: { world, _ in
            let (id, _) = try await Self.create(world)
            for round in 1...3 {
                try await Self.publish(world, 10)
                let running = Task { try await world.services.run() }
                try await eventually("round \(round)") {
                    try await Self.progress(id, world).delivered == Int64(round * 10)
                }
                running.cancel()
                try await running.value
            }
            #expect(sender.ids(at: Self.url) == (1...30).map(String.init))
        }
    }

    @Test func whatWasForgottenBeforeItWasToldIsSaid() async throws {
        let sender = ScriptedSender()
        try await World.with(nodes: 0) {
            $0.webhookSender = sender
        } _: { world, _ in
            _ = try await Self.create(world)
            try await Self.publish(world, 10)
            _ = try await world.store.pruneEvents(before: Date(milliseconds: 0), keeping: 3)
            let running = Task { try await world.services.run() }
            try await eventually("the rest arrives") { sender.messages.count == 4 }
            #expect(sender.messages[0].body == ["kind": "lost", "before": "8"])
            #expect(sender.ids(at: Self.url) == ["8", "9", "10"])
            running.cancel()
            try await running.value
        }
    }

    @Test func oneCanBeTried() async throws {
        try await Self.with { world, sender in
            let (id, _) = try await Self.create(world)
            #expect(try await world.run("webhooks_test", ["webhook": .string(id.description)]) == ["delivered": true])
            #expect(sender.messages.first?.body["kind"] == "webhook.test")
            sender.answer { _, _ in throw WebhookProblem("answered 404") }
            let failed = try await world.run("webhooks_test", ["webhook": .string(id.description)])
            #expect(failed == ["delivered": false, "problem": "answered 404"])
            #expect(try await Self.progress(id, world).attempts == 0, "deliveries do not change")
        }
    }

    @Test func thoseOfOtherWorkspacesDoNotExist() async throws {
        try await Self.with { world, sender in
            let (id, _) = try await Self.create(world)
            let stranger = world.context(world.principal(in: world.other))
            for operation in ["webhooks_test", "webhooks_resume", "webhooks_delete"] {
                await expectFailure(.notFound) {
                    try await world.run(operation, ["webhook": .string(id.description)], stranger)
                }
            }
            #expect(try await world.run("webhooks_list", [:], stranger) == ["webhooks": []])
            #expect(sender.messages.isEmpty)
        }
    }

    @Test func theSecretIsShownOnceAndKeptNowhereInPlain() async throws {
        try await Self.with { world, _ in
            let (id, secret) = try await Self.create(world)
            let listed = "\(try await world.run("webhooks_list"))"
            #expect(!listed.contains("whsec_"))
            let audit = "\(try await world.audit("webhooks_create"))"
            #expect(audit.contains("example.com") && !audit.contains("/hook") && !audit.contains("whsec_"))
            let key = try #require(Data(base64Encoded: String(secret.dropFirst(6))))
            let stored = try await world.store.webhook(id, in: world.workspace).sealedSecret
            #expect(!stored.contains(Array(key)) && stored.count > 32)
        }
    }

    @Test func addressesAreCheckedByTheirForm() async throws {
        try await Self.with { world, _ in
            for url in ["http://example.com/", "https://user:pass@example.com/", "file:///etc/passwd"] {
                await expectFailure(.unprocessable) { try await world.run("webhooks_create", ["url": .string(url)]) }
            }
        }
    }
}
