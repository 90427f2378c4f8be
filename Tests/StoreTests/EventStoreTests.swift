import ControllerDomain
import ControllerStore
import FastableCore
import FoundationEssentials
import TestSupport
import Testing

@Suite struct EventStoreTests {
    private func all(_ fixture: Fixture, in workspace: WorkspaceID? = nil) async throws -> [PlatformEvent] {
        let filter = EventFilter(workspaces: [workspace ?? fixture.workspace])
        return try await fixture.store.events(filter, after: 0, limit: Limits.pageRows).events.map(\.event)
    }

    /// The states of a project's container as its events tell them.
    private func states(_ fixture: Fixture, _ project: Project) async throws -> [ContainerState] {
        try await all(fixture, in: project.workspace).filter { $0.project == project.id }.compactMap(\.containerState)
    }

    private func placed(_ name: String, _ fixture: Fixture, on node: NodeID? = nil) async throws -> Project {
        let project = try await fixture.add(name)
        return try await fixture.store.placeProject(project.id, on: node ?? fixture.node)
    }

    private func change(
        _ number: Int64, _ project: Project, _ from: ContainerState, _ to: ContainerState, isFound: Bool = false
    ) -> ContainerTransition {
        ContainerTransition(
            number: number, project: project.id, container: ContainerID(), from: from, to: to, reason: "because",
            at: moment, isFound: isFound)
    }

    private func tell(
        _ fixture: Fixture, _ changes: [ContainerTransition], journal: String = "first", node: NodeID? = nil
    ) async throws {
        try await fixture.store.recordTransitions(
            TransitionBatch(journal: journal, transitions: changes), of: node ?? fixture.node, at: moment)
    }

    private func addNode(_ name: String, _ fixture: Fixture) async throws -> NodeID {
        let node = NodeRecord(id: NodeID(), name: name, createdAt: moment)
        try await fixture.store.createNode(node)
        return node.id
    }

    // MARK: limits

    @Test(arguments: Driver.allCases)
    func aLimitThatWasReachedIsAnEventOfItsOwn(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let project = try await placed("a", fixture)
            let hit = LimitHit(.memory, limitBytes: 64 << 20, process: "node")
            var reached = change(2, project, .running, .running)
            reached.limit = LimitTally(hit: hit, count: 3, at: moment)
            try await tell(fixture, [change(1, project, .creating, .running), reached])
            // It is told again after a lost link.
            try await tell(fixture, [reached])
            let event = try #require(try await all(fixture).last)
            #expect(event.kind == .containerLimitReached && event.project == project.id)
            #expect(event.data["limit"] == "memory" && event.data["limitBytes"] == .integer(64 << 20))
            #expect(event.data["process"] == "node" && event.data["count"] == 3)
            #expect(try await all(fixture).filter { $0.kind == .containerLimitReached }.count == 1)
            #expect(try await states(fixture, project) == [.running])
            // A node speaks for its own projects only.
            let stranger = try await addNode("stranger", fixture)
            reached.number = 1
            try await tell(fixture, [reached], node: stranger)
            #expect(try await all(fixture).filter { $0.kind == .containerLimitReached }.count == 1)
        }
    }

    // MARK: projects

    @Test(arguments: Driver.allCases)
    func projectsAreToldWithTheChangeItself(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            var signals = fixture.store.eventSignals().makeAsyncIterator()
            let project = try await placed("shop", fixture)
            #expect(await signals.next() != nil)
            await expectFailure(.conflict) { _ = try await fixture.add("shop") }
            _ = try await fixture.store.markProjectDeleting(project.id, in: fixture.workspace, at: moment)
            #expect(await signals.next() != nil)
            _ = try await fixture.store.markProjectDeleting(project.id, in: fixture.workspace, at: moment)
            let events = try await all(fixture)
            #expect(events.map(\.kind) == [.projectCreated, .projectDeleted], "once each, and none of what failed")
            #expect(events.allSatisfy { $0.project == project.id && $0.data["name"] == "shop" && $0.at == moment })
            #expect(try await all(fixture, in: fixture.other).isEmpty)
        }
    }

    // MARK: what nodes tell

    @Test(arguments: Driver.allCases)
    func aTransitionToldTwiceIsStoredOnce(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let project = try await placed("shop", fixture)
            let changes = [change(1, project, .absent, .creating), change(2, project, .creating, .running)]
            try await tell(fixture, changes)
            try await tell(fixture, changes)
            try await tell(fixture, changes + [change(3, project, .running, .stopped)])
            try await tell(fixture, [changes[1]])
            #expect(try await states(fixture, project) == [.creating, .running, .stopped])
            let last = try #require(try await all(fixture).last)
            #expect(last.node == fixture.node && last.data["from"] == "running" && last.data["reason"] == "because")
        }
    }

    /// A daemon that was replaced may be heard once more behind the new one.
    @Test(arguments: Driver.allCases)
    func journalsAreToldApart(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let project = try await placed("shop", fixture)
            try await tell(fixture, [change(1, project, .absent, .creating)])
            try await tell(fixture, [change(1, project, .creating, .running)], journal: "second")
            try await tell(fixture, [change(1, project, .absent, .creating)])
            #expect(try await states(fixture, project) == [.creating, .running])
        }
    }

    @Test(arguments: Driver.allCases)
    func aNodeCannotSpeakForAnotherNodesProject(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let stranger = try await addNode("build-2", fixture)
            let project = try await placed("shop", fixture)
            let unplaced = try await fixture.add("new")
            try await tell(
                fixture,
                [
                    change(1, project, .running, .failed), change(2, unplaced, .absent, .running),
                    change(3, fixture.project("unknown"), .absent, .running),
                ], node: stranger)
            #expect(try await all(fixture).allSatisfy { $0.kind == .projectCreated })
            // Neither when it is deleted and gone.
            _ = try await fixture.store.markProjectDeleting(project.id, in: fixture.workspace, at: moment)
            try await fixture.store.removeProject(project.id)
            try await tell(fixture, [change(4, project, .deleting, .running)], node: stranger)
            #expect(try await states(fixture, project).isEmpty)
        }
    }

    /// The end of a container may be told after its project's record is gone.
    @Test(arguments: Driver.allCases)
    func theEndOfADeletedProjectIsTold(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let project = try await placed("shop", fixture)
            _ = try await fixture.store.markProjectDeleting(project.id, in: fixture.workspace, at: moment)
            try await fixture.store.removeProject(project.id)
            try await tell(fixture, [change(1, project, .running, .deleting), change(2, project, .deleting, .absent)])
            #expect(try await states(fixture, project) == [.deleting, .absent])
        }
    }

    @Test(arguments: Driver.allCases)
    func whatANodeFoundIsNewsOnlyIfItIs(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let told = try await placed("told", fixture)
            try await tell(fixture, [change(1, told, .absent, .creating), change(2, told, .creating, .running)])
            // The daemon died after the container ended and before it could tell so; its own record knows.
            try await tell(fixture, [change(1, told, .stopped, .stopped, isFound: true)], journal: "second")
            #expect(try await states(fixture, told) == [.creating, .running, .stopped])
            #expect(try await all(fixture).last?.data["from"] == "running")
            try await tell(fixture, [change(1, told, .stopped, .stopped, isFound: true)], journal: "third")
            #expect(try await states(fixture, told).count == 3)

            let untold = try await placed("untold", fixture)
            try await tell(
                fixture,
                [
                    change(2, untold, .running, .running, isFound: true),
                    change(3, untold, .running, .failed, isFound: true),
                ], journal: "third")
            #expect(try await states(fixture, untold) == [.failed])
        }
    }

    @Test(arguments: Driver.allCases)
    func whatANodeLostIsToldTheFleet(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let project = try await placed("shop", fixture)
            try await tell(fixture, [change(5, project, .absent, .creating), change(8, project, .creating, .running)])
            let events = try await all(fixture, in: .system)
            #expect(events.map(\.kind) == [.nodeChangesLost, .nodeChangesLost])
            #expect(events.map { $0.data["count"] } == [4, 2] && events.allSatisfy { $0.node == fixture.node })
        }
    }

    @Test(arguments: Driver.allCases)
    func whatNoNodeSendsIsRefused(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let project = try await placed("shop", fixture)
            let numbers: [[Int64]] = [
                [0], [-1], [2, 1], [1, 1], [.max], Array(1...Int64(Limits.transitionsPerBatch) + 1),
            ]
            for numbers in numbers {
                await expectFailure(.invalid) {
                    try await tell(fixture, numbers.map { change($0, project, .absent, .running) })
                }
            }
            await expectFailure(.invalid) { try await tell(fixture, [], journal: "") }
            await expectFailure(.invalid) { try await tell(fixture, [], journal: String(repeating: "j", count: 1000)) }
            var long = change(1, project, .absent, .running)
            long.reason = String(repeating: "e\u{301}\u{301}\u{301}", count: 100_000)
            long.at = Date(timeIntervalSince1970: 1e300)
            try await tell(fixture, [long])
            let stored = try #require(try await all(fixture).last?.data["reason"]?.string)
            #expect(stored.unicodeScalars.count == Limits.reportReasonCharacters)
        }
    }

    // MARK: reading

    @Test(arguments: Driver.allCases)
    func pagesAreFilteredAndComplete(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let shop = try await placed("shop", fixture)
            let other = try await fixture.add("other", in: fixture.other)
            for number in 1...20 { try await tell(fixture, [change(Int64(number), shop, .absent, .running)]) }
            try await fixture.store.appendEvent(
                PlatformEvent(workspace: .system, kind: .nodeConnected, at: moment, node: fixture.node))

            var filter = EventFilter(workspaces: [fixture.workspace], kinds: [.containerChanged])
            var (place, found, pages) = (Int64(0), [Int64](), 0)
            while true {
                let page = try await fixture.store.events(filter, after: place, limit: 6)
                found += page.events.map(\.sequence)
                pages += 1
                place = page.last
                if page.isLast { break }
            }
            #expect(found == Array(3...22) && pages == 4)
            let range = try await fixture.store.eventRange()
            #expect(range == EventRange(oldest: 1, newest: 23))
            #expect(place == 23, "behind the events of others, too")

            filter = EventFilter(workspaces: [fixture.workspace, .system], project: shop.id)
            #expect(try await fixture.store.events(filter, after: 0, limit: 500).events.count == 21)
            filter = EventFilter(workspaces: [fixture.workspace], project: other.id)
            #expect(try await fixture.store.events(filter, after: 0, limit: 500).events.isEmpty)
            filter = EventFilter(workspaces: [fixture.other])
            #expect(
                try await fixture.store.events(filter, after: 0, limit: 500).events.map(\.event.project) == [other.id])
            filter = EventFilter(workspaces: [fixture.other, .system])
            #expect(try await fixture.store.events(filter, after: 0, limit: 500).events.map(\.sequence) == [2, 23])
        }
    }

    // MARK: forgetting

    private func append(_ fixture: Fixture, at seconds: [Double], in workspace: WorkspaceID? = nil) async throws {
        for seconds in seconds {
            try await fixture.store.appendEvent(
                PlatformEvent(
                    workspace: workspace ?? fixture.workspace, kind: .projectCreated,
                    at: moment.addingTimeInterval(seconds)))
        }
    }

    @Test(arguments: Driver.allCases)
    func theOldestAreForgottenWithoutAHole(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            #expect(try await store.eventRange() == EventRange(oldest: 0, newest: 0))
            #expect(try await store.pruneEvents(before: moment, keeping: 0) == 0)
            // The clock was set back in between: what is behind a young one stays.
            try await append(fixture, at: [0, 1, 10, 2, 11])
            #expect(try await store.pruneEvents(before: moment.addingTimeInterval(5), keeping: 100) == 2)
            #expect(try await store.eventRange() == EventRange(oldest: 3, newest: 5))
            #expect(try await store.pruneEvents(before: moment, keeping: 2) == 1)
            #expect(try await store.eventRange() == EventRange(oldest: 4, newest: 5))
            // The newest one stays, or nobody could tell that they missed some.
            #expect(try await store.pruneEvents(before: moment.addingTimeInterval(1e6), keeping: 0) == 1)
            #expect(try await store.eventRange() == EventRange(oldest: 5, newest: 5))
            try await append(fixture, at: [20])
            #expect(try await store.eventRange() == EventRange(oldest: 5, newest: 6))
        }
    }

    @Test func gapsAreSeen() {
        let range = EventRange(oldest: 10, newest: 20)
        #expect(range.gap(behind: 8) == 10)
        #expect(range.gap(behind: 9) == nil)
        #expect(range.gap(behind: 20) == nil)
        #expect(range.gap(behind: 21) == 21)
        #expect(range.gap(behind: .max) == 21)
        #expect(EventRange(oldest: 0, newest: 0).gap(behind: 0) == nil)
        #expect(EventRange(oldest: 1, newest: 3).gap(behind: 0) == nil)
    }

    @Test(arguments: Driver.allCases)
    func webhooksThatMissNothingGoAlong(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            let (mine, others, fleet) = (
                webhook(fixture.workspace), webhook(fixture.other), webhook(fixture.other, fleet: true)
            )
            for webhook in [mine, others, fleet] { try await store.createWebhook(webhook) }
            try await append(fixture, at: [0, 1])
            try await append(fixture, at: [2], in: .system)
            try await append(fixture, at: [100])
            let news = try await store.webhooksWithNews().map(\.id)
            #expect(Set(news) == [mine.id, fleet.id], "only those who have something to get")
            _ = try await store.pruneEvents(before: moment.addingTimeInterval(50), keeping: 100)
            #expect(try await store.webhook(mine.id, in: fixture.workspace).progress.delivered == 0)
            #expect(try await store.webhook(others.id, in: fixture.other).progress.delivered == 3)
            #expect(try await store.webhook(fleet.id, in: fixture.other).progress.delivered == 0)
        }
    }
}

func webhook(_ workspace: WorkspaceID, fleet: Bool = false) -> Webhook {
    Webhook(
        id: WebhookID(), workspace: workspace, url: "https://example.com/hook", description: "für alle",
        kinds: [.projectCreated, .containerChanged], includesFleet: fleet, sealedSecret: [1, 2, 3], createdAt: moment,
        progress: Webhook.Progress(delivered: 0))
}

@Suite struct WebhookStoreTests {
    @Test(arguments: Driver.allCases)
    func theyAreKeptAsTheyWere(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            var kept = webhook(fixture.workspace, fleet: true)
            try await store.createWebhook(kept)
            #expect(try await store.webhook(kept.id, in: fixture.workspace) == kept)
            kept.progress.failed("it answered 500", at: moment, random: 0.5)
            kept.progress.passed(7)
            #expect(try await store.updateWebhook(kept.id, kept.progress))
            #expect(try await store.webhooks(in: fixture.workspace) == [kept])
            #expect(try await store.webhookCounts() == [.ok: 0, .failing: 1, .disabled: 0])
            // A delivery that ends late does not take back what another has told.
            var late = kept.progress
            late.delivered = 3
            #expect(try await store.updateWebhook(kept.id, late))
            #expect(try await store.webhook(kept.id, in: fixture.workspace).progress.delivered == 7)
            kept.progress.disabledAt = moment
            #expect(try await store.updateWebhook(kept.id, kept.progress))
            #expect(try await store.webhookCounts() == [.ok: 0, .failing: 0, .disabled: 1])
            #expect(try await store.webhooksWithNews().isEmpty)
            kept.progress.resumed()
            #expect(try await store.resumeWebhook(kept.id, in: fixture.workspace) == kept)
        }
    }

    @Test(arguments: Driver.allCases)
    func thoseOfOthersDoNotExist(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            let mine = webhook(fixture.workspace)
            try await store.createWebhook(mine)
            #expect(try await store.webhooks(in: fixture.other).isEmpty)
            await expectFailure(.notFound) { _ = try await store.webhook(mine.id, in: fixture.other) }
            await expectFailure(.notFound) { _ = try await store.resumeWebhook(mine.id, in: fixture.other) }
            await expectFailure(.notFound) { try await store.deleteWebhook(mine.id, in: fixture.other) }
            try await store.deleteWebhook(mine.id, in: fixture.workspace)
            #expect(try await !store.updateWebhook(mine.id, mine.progress))
            #expect(try await store.webhooks(in: fixture.workspace).isEmpty)
        }
    }

    @Test(arguments: Driver.allCases)
    func aWorkspaceHasSoManyAndNoMore(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            for _ in 0..<Limits.webhooksPerWorkspace {
                try await fixture.store.createWebhook(webhook(fixture.workspace))
            }
            await expectFailure(.limit) { try await fixture.store.createWebhook(webhook(fixture.workspace)) }
            try await fixture.store.createWebhook(webhook(fixture.other))
        }
    }
}
