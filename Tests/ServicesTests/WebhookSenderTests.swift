import ControllerServices
import FastableCore
import FoundationEssentials
import Synchronization
import TestSupport
import Testing

/// What users name must not make the controller talk to its own host or network.
@Suite(.endsInTime) struct WebhookSenderTests {
    private static let body = Data(#"{"a":1}"#.utf8)

    private static func problem(_ sender: WebhookSender, _ url: String) async -> String? {
        do {
            try await sender.send(body, headers: [("webhook-id", "whk_x.1")], to: url)
            return nil
        } catch let problem as WebhookProblem { return problem.description } catch { return "\(error)" }
    }

    @Test func itPostsAndTakesAnySuccess() async throws {
        try await HTTPEndpoint.with { _, count in
            .init(count == 0 ? 200 : 204)
        } _: { endpoint in
            let sender = WebhookSender(allowsPrivate: true)
            for _ in 0..<2 { #expect(await Self.problem(sender, endpoint.url) == nil) }
            let request = try #require(endpoint.requests.first)
            #expect(request.body == Self.body && request.path == "/hook")
            #expect(request.headers["webhook-id"] == "whk_x.1")
            #expect(request.headers["content-type"] == "application/json")
            #expect(request.headers["user-agent"]?.hasPrefix("fastable/") == true)
        }
    }

    @Test(arguments: [301, 400, 404, 410, 500]) func anythingElseIsAFailure(status: Int) async throws {
        try await HTTPEndpoint.with { _, _ in
            .init(status)
        } _: { endpoint in
            let problem = await Self.problem(WebhookSender(allowsPrivate: true), endpoint.url)
            #expect(problem?.contains("answered \(status)") == true, "\(problem ?? "nil")")
        }
    }

    /// Each of them leads to loopback, as a name or in one of the many ways to write an address.
    @Test(arguments: [
        "localhost", "LOCALHOST", "127.0.0.1", "127.1", "0x7f000001", "0x7f.1", "2130706433", "017700000001", "0.0.0.0",
        "0",
        "[::1]", "[::ffff:127.0.0.1]", "[::]", "169.254.169.254", "10.0.0.1", "[64:ff9b::7f00:1]",
    ])
    func aNameThatLeadsToAPrivateAddressIsRefused(host: String) async throws {
        try await HTTPEndpoint.with { endpoint in
            let problem = await Self.problem(
                WebhookSender(allowsPrivate: false), "https://\(host):\(endpoint.port)/hook")
            let refusals = ["has an address that is not on the public internet", "has a name that cannot be resolved"]
            #expect(problem.map(refusals.contains) == true, "\(problem ?? "it was sent")")
            #expect(endpoint.requests.isEmpty)
        }
    }

    @Test func onePrivateAddressAmongSeveralIsEnough() async {
        let sender = WebhookSender(allowsPrivate: false) { _ in
            [HostAddress(text: "93.184.216.34", isPublic: true), HostAddress(text: "10.0.0.1", isPublic: false)]
        }
        #expect(
            await Self.problem(sender, "https://example.com/") == "has an address that is not on the public internet")
    }

    /// The name has no other address anywhere: whoever looked it up again would not get there.
    @Test func theConnectionGoesToTheAddressThatWasChecked() async throws {
        try await HTTPEndpoint.with { endpoint in
            let asked = Mutex<[String]>([])
            let sender = WebhookSender(allowsPrivate: true) { name in
                asked.withLock { $0.append(name) }
                return [HostAddress(text: "127.0.0.1", isPublic: false)]
            }
            for host in ["rebinding.invalid", "Rebinding.INVALID"] {
                #expect(await Self.problem(sender, "http://\(host):\(endpoint.port)/hook") == nil)
            }
            #expect(asked.withLock { $0 } == ["rebinding.invalid", "Rebinding.INVALID"], "each is resolved once")
            #expect(
                endpoint.requests.map { $0.headers["host"]?.lowercased() }
                    == .init(
                        repeating: "rebinding.invalid:\(endpoint.port)", count: 2))
        }
    }

    @Test func redirectsLeadNowhere() async throws {
        try await HTTPEndpoint.with { inner in
            let target = inner.url
            for status in [301, 302, 303, 307, 308] {
                try await HTTPEndpoint.with { _, _ in
                    .init(status, headers: ["location": target])
                } _: { outer in
                    let problem = await Self.problem(WebhookSender(allowsPrivate: true), outer.url)
                    #expect(problem == "answered \(status); redirects are not followed")
                    #expect(outer.requests.count == 1)
                }
            }
            #expect(inner.requests.isEmpty)
        }
    }

    @Test func nobodyThere() async throws {
        let port = try ReservedPort()
        let problem = await Self.problem(WebhookSender(allowsPrivate: true), "http://127.0.0.1:\(port.number)/")
        withExtendedLifetime(port) {}
        #expect(problem?.hasPrefix("could not be reached") == true, "\(problem ?? "nil")")
        let unknown = await Self.problem(WebhookSender(allowsPrivate: true), "http://nobody.invalid/")
        #expect(unknown == "has a name that cannot be resolved")
    }

    @Test func anEndpointThatDoesNotAnswerIsGivenUp() async throws {
        let (held, release) = AsyncStream.makeStream(of: Void.self)
        try await HTTPEndpoint.with { _, _ in
            for await _ in held {}
            return .ok
        } _: { endpoint in
            // It never answers: without the sender's own deadline the test would not end.
            let problem = await Self.problem(WebhookSender(allowsPrivate: true), endpoint.url)
            #expect(
                problem?.contains("no answer within \(Limits.webhookAnswerSeconds) seconds") == true,
                "\(problem ?? "nil")")
            release.finish()
        }
    }
}
