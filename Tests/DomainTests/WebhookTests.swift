import ControllerDomain
import FastableCore
import Foundation
import TestSupport
import Testing

@Suite struct WebhookProgressTests {
    private static let start = Date(timeIntervalSince1970: 1_800_000_000)
    private static let longest = Double(Limits.webhookRetryLongestSeconds)

    @Test func pausesGrowToAnHour() throws {
        var progress = Webhook.Progress(delivered: 7)
        var pauses: [Double] = []
        for _ in 0..<14 {
            progress.failed("it answered 500", at: Self.start, random: 0)
            pauses.append(try #require(progress.nextAttemptAt).timeIntervalSince(Self.start))
        }
        #expect(pauses.prefix(5) == [5, 10, 20, 40, 80])
        #expect(pauses.suffix(4).allSatisfy { $0 == Self.longest })
        #expect(progress.delivered == 7 && progress.attempts == 14 && progress.health == .failing)
        progress.succeeded(8, at: Self.start)
        #expect(progress.delivered == 8 && progress.health == .ok && progress.lastProblem == nil)
        #expect(progress.nextAttemptAt == nil && progress.failingSince == nil && progress.isDue(at: Self.start))
    }

    @Test func failuresAreSpread() throws {
        var (early, late) = (Webhook.Progress(delivered: 0), Webhook.Progress(delivered: 0))
        early.failed("x", at: Self.start, random: 0)
        late.failed("x", at: Self.start, random: 0.999)
        let between = try #require(late.nextAttemptAt).timeIntervalSince(try #require(early.nextAttemptAt))
        #expect(between > 1 && between < 1.25)
    }

    @Test func afterThreeDaysItIsSwitchedOffUntilItIsResumed() {
        var progress = Webhook.Progress(delivered: 1)
        progress.failed("x", at: Self.start, random: 0)
        progress.failed("x", at: Self.start.addingTimeInterval(72 * 3600 - 1), random: 0)
        #expect(progress.health == .failing)
        let end = Self.start.addingTimeInterval(72 * 3600)
        progress.failed("x", at: end, random: 0)
        #expect(progress.disabledAt == end && progress.health == .disabled)
        #expect(!progress.isDue(at: end.addingTimeInterval(1e9)))
        progress.resumed()
        #expect(progress.isDue(at: end) && progress.delivered == 1 && progress.lastProblem == "x")
        // The three days count from the first failure behind the resumption.
        progress.failed("x", at: end, random: 0)
        #expect(progress.health == .failing)
    }

    @Test func aClockThatIsSetHoldsNothingUp() throws {
        var progress = Webhook.Progress(delivered: 1)
        let ahead = Self.start.addingTimeInterval(10 * 365 * 86_400)
        progress.failed("x", at: ahead, random: 0)
        // Back to the right time: the noted attempt is years away.
        #expect(progress.isDue(at: Self.start))
        progress.failed("x", at: Self.start, random: 0)
        #expect(progress.failingSince == Self.start)
        #expect(!progress.isDue(at: Self.start))
        #expect(progress.isDue(at: Self.start.addingTimeInterval(10)))
    }

    /// Whatever happens in whatever order: places only rise, pauses stay within their bounds, and who is switched off is never due.
    @Test(arguments: seeds()) func anythingMayHappen(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var progress = Webhook.Progress(delivered: 0)
        var now = Self.start
        for step in 0..<3000 {
            let before = progress
            now += Double(generator.int(-600...7200))
            switch generator.int(0...9) {
            case 0...5: progress.failed("\(step)", at: now, random: Double(generator.int(0...999)) / 1000)
            case 6...7: progress.succeeded(Int64(generator.int(0...step)), at: now)
            case 8: progress.passed(Int64(generator.int(0...step)))
            default: progress.resumed()
            }
            #expect(progress.delivered >= before.delivered, "step \(step)")
            #expect(!(progress.health == .disabled && progress.isDue(at: now + 1e6)), "step \(step)")
            if let next = progress.nextAttemptAt, progress != before {
                #expect(next.timeIntervalSince(now) <= Self.longest * 1.25 + 7200 + 600, "step \(step)")
            }
            if let since = progress.failingSince { #expect(progress.attempts > 0 && since <= now + 600 * 3000) }
            if progress.attempts == 0 { #expect(progress.disabledAt == nil && progress.nextAttemptAt == nil) }
            #expect((progress.health == .ok) == (progress.attempts == 0 && progress.disabledAt == nil))
        }
    }
}

@Suite struct WebhookURLTests {
    @Test(arguments: [
        "https://example.com", "https://example.com/hook?a=b&c=%20d", "HTTPS://Example.COM:8443/x",
        "https://sub_domain.example.com/", "https://93.184.216.34/", "https://[2606:4700::1111]:443/x",
        // By their form; what they resolve to is refused at each delivery.
        "https://localhost/", "https://127.0.0.1/", "https://2130706433/",
    ])
    func isAllowed(url: String) throws { try WebhookURLRule.check(url, allowsPrivate: false) }

    @Test(arguments: [
        "", "example.com", "/hook", "https://", "https:///x", "http://example.com/", "ftp://example.com/",
        "file:///etc/passwd", "unix:///run/docker.sock", "http+unix://%2Frun%2Fdocker.sock/x",
        "https+unix://%2Frun%2Fdocker.sock/x", "https://user@example.com/", "https://user:pass@example.com/",
        "https://example.com/#fragment", "https://exa mple.com/", "https://example.com/\r\nX: y",
        "https://exämple.com/",
        "https://example.com%2f@127.0.0.1/", "https://%31%32%37.0.0.1/", "https://[fe80::1%25eth0]/",
        "https://example.com:0/", "https://example.com:65536/", "javascript:alert(1)",
        "https://example.com/" + String(repeating: "a", count: Limits.webhookURLBytes),
    ])
    func isRefused(url: String) {
        expectFailure(.unprocessable, "url") { try WebhookURLRule.check(url, allowsPrivate: false) }
    }

    @Test func plainHTTPNeedsTheSetting() throws {
        try WebhookURLRule.check("http://127.0.0.1:8080/x", allowsPrivate: true)
        expectFailure(.unprocessable, "https://") {
            try WebhookURLRule.check("ftp://127.0.0.1/x", allowsPrivate: true)
        }
    }
}

@Suite struct WebhookTurnTests {
    private static func webhook(_ workspace: WorkspaceID) -> Webhook {
        Webhook(
            id: WebhookID(), workspace: workspace, url: "https://example.com", description: "", kinds: [],
            includesFleet: false, sealedSecret: [], createdAt: Date(), progress: Webhook.Progress(delivered: 0))
    }

    @Test func eachHasOneDeliveryAtATimeAndAWorkspaceAFew() {
        let workspace = WorkspaceID()
        let ofOne = (0..<40).map { _ in Self.webhook(workspace) }
        let other = Self.webhook(WorkspaceID())
        var turns = WebhookTurns()
        let first = turns.begin(ofOne)
        #expect(first.count == Limits.webhooksAtOncePerWorkspace)
        #expect(turns.begin(ofOne).isEmpty, "all places of the workspace are taken")
        #expect(turns.begin(ofOne + [other]).map(\.id) == [other.id], "nobody else is held up")
        #expect(turns.begin([first[0]]).isEmpty, "one at a time")
        turns.ended(first[0].id)
        let next = turns.begin(ofOne).map(\.id)
        #expect(next.count == 1 && !first.map(\.id).contains(next[0]), "who waited longest is first")
    }

    @Test(arguments: seeds()) func everybodyHasTheirTurn(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let workspaces = (0..<20).map { _ in WorkspaceID() }
        let all = (0..<200).map { Self.webhook(workspaces[$0 % workspaces.count]) }
        var turns = WebhookTurns()
        var running: [Webhook] = []
        var served: [WebhookID: Int] = [:]
        for _ in 0..<4000 {
            if let index = running.indices.randomElement(using: &generator), generator.chance(60) {
                turns.ended(running.remove(at: index).id)
            }
            for webhook in turns.begin(all) {
                running.append(webhook)
                served[webhook.id, default: 0] += 1
            }
            let ids = Set(running.map(\.id))
            #expect(ids.count == running.count && running.count <= Limits.webhooksAtOnce)
            let most = Dictionary(grouping: running, by: \.workspace).values.map(\.count).max() ?? 0
            #expect(most <= Limits.webhooksAtOncePerWorkspace)
        }
        let counts = all.map { served[$0.id] ?? 0 }
        #expect((counts.min() ?? 0) > 0)
    }
}
