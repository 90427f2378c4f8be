import ControllerDomain
import ControllerServices
import ControllerStore
import FastableCore
import FoundationEssentials
import TestSupport
import Testing

@Suite("Events", .endsInTime) struct PlatformEventTests {
    /// What a feed gives until it has given so many events.
    private func read(_ feed: EventFeed, _ count: Int) async throws -> [StoredEvent] {
        var events: [StoredEvent] = []
        for try await element in feed {
            if case .events(let more) = element { events += more }
            if events.count >= count { break }
        }
        return events
    }

    private func append(_ world: World, _ count: Int, in workspace: WorkspaceID? = nil) async throws {
        for number in 0..<count {
            try await world.store.appendEvent(
                PlatformEvent(
                    workspace: workspace ?? world.workspace, kind: .projectCreated, at: .nowMilliseconds,
                    data: ["n": .integer(Int64(number))]))
        }
    }

    @Test func everybodySeesTheirWorkspaceAndAdministratorsTheFleet() async throws {
        try await World.with { world, nodes in
            try await world.project()
            await world.services.fleet.nodeDisconnected(nodes[0].id)
            let kinds = ["node.connected", "node.state_changed", "project.created", "node.disconnected"]
            func seen(_ principal: Principal) async throws -> [String?] {
                let listed = try await world.run("events_list", [:], world.context(principal))
                let feed = try await world.services.events.follow(
                    EventQuery(follows: false), context: world.context(principal))
                let streamed = try await read(feed, .max).map(\.event.kind.rawValue)
                let answered = listed["events"]?.array?.map { $0["kind"]?.string } ?? []
                #expect(answered == streamed)
                return answered
            }
            #expect(try await seen(world.principal()) == kinds)
            #expect(try await seen(world.principal([.projectsRead])) == ["project.created"])
            #expect(try await seen(world.principal([.projectsRead], in: world.other)) == [])
            #expect(
                try await seen(world.principal(in: world.other)) == [
                    "node.connected", "node.state_changed", "node.disconnected",
                ])
        }
    }

    @Test func aNodesWordReachesItsReaders() async throws {
        try await World.with { world, nodes in
            let project = try await world.project()
            let feed = try await world.services.events.follow(
                EventQuery(project: "shop", kinds: ["container.changed"], follows: true), context: world.context())
            try await world.run("devcontainer.ensure", ["project": "shop"])
            let change = ContainerTransition(
                number: 1, project: project, container: ContainerID(), from: .absent, to: .running,
                reason: "It answers.",
                at: .nowMilliseconds)
            let batch = TransitionBatch(journal: "j", transitions: [change])
            for _ in 0..<3 { try await world.services.fleet.nodeTold(nodes[0].id, batch) }
            let event = try #require(try await read(feed, 1).first?.event)
            #expect(event.containerState == .running && event.node == nodes[0].id && event.workspace == world.workspace)
            let listed = try await world.run(
                "events_list", ["project": .string(project.description), "kinds": ["container.changed"]])
            #expect(listed["events"]?.array?.count == 1)
        }
    }

    @Test func pagesGoOnWhereTheyEnded() async throws {
        try await World.with(nodes: 0) { world, _ in
            try await append(world, 25)
            try await append(world, 5, in: world.other)
            var (after, found) = ("0", 0)
            while true {
                let page = try await world.run("events_list", ["after": .string(after), "limit": 10])
                found += page["events"]?.array?.count ?? 0
                after = try #require(page["next"]?.string)
                if page["isLast"] == true { break }
            }
            #expect(found == 25 && after == "30")
            await expectFailure(.invalid) { try await world.run("events_list", ["after": "x"]) }
            await expectFailure(.unprocessable) { try await world.run("events_list", ["kinds": ["x"]]) }
            await expectFailure(.notFound) { try await world.run("events_list", ["project": "nobody"]) }
        }
    }

    @Test func whatIsGoneIsToldAndNotLeftOut() async throws {
        try await World.with(nodes: 0) { world, _ in
            try await append(world, 10)
            _ = try await world.store.pruneEvents(before: Date(milliseconds: 0), keeping: 4)
            func first(after place: Int64) async throws -> EventFeed.Element? {
                let feed = try await world.services.events.follow(
                    EventQuery(after: place, follows: true), context: world.context())
                for try await element in feed { return element }
                return nil
            }
            #expect(try await first(after: 3) == .lost(before: 7))
            #expect(try await first(after: 10) == .passed(10), "it tells where it begins")
            #expect(try await first(after: 4711) == .lost(before: 11), "a place that was never given out")
            guard case .events(let events)? = try await first(after: 6) else {
                throw FastableError(.internal, "no events")
            }
            #expect(events.map(\.sequence) == [7, 8, 9, 10])
        }
    }

    @Test func whoseEventsAreRareIsToldToGoOn() async throws {
        try await World.with(nodes: 0) { world, _ in
            let feed = try await world.services.events.follow(
                EventQuery(follows: true), context: world.context(world.principal([.projectsRead])))
            try await append(world, Int(Limits.eventsBetweenPlaces) + 10, in: world.other)
            try await append(world, 1)
            var elements: [EventFeed.Element] = []
            for try await element in feed {
                elements.append(element)
                if case .events = element { break }
            }
            let places = elements.compactMap { if case .passed(let place) = $0 { place } else { nil } }
            #expect(places == places.sorted() && elements.count == places.count + 1)
        }
    }

    /// Followers that come and go while events are published and forgotten: each gets every event once and in order, or is told that
    /// some are gone.
    @Test(arguments: seeds(2)) func aFeedMissesNothing(seed: UInt64) async throws {
        try await World.with(nodes: 0) { world, _ in
            let last: Int64 = 600
            try await withThrowingTaskGroup(of: Void.self) { group in
                for follower in 0..<6 {
                    group.addTask {
                        var generator = SeededGenerator(seed: seed &+ UInt64(follower))
                        var place: Int64 = 0
                        while place < last { place = try await self.followABit(world, from: place, &generator) }
                    }
                }
                for _ in 0..<4 { group.addTask { try await self.append(world, Int(last) / 4) } }
                group.addTask {
                    while try await world.store.eventRange().newest < last {
                        _ = try await world.store.pruneEvents(before: Date(milliseconds: 0), keeping: 80)
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    private func followABit(
        _ world: World, from start: Int64, _ generator: inout SeededGenerator
    ) async throws -> Int64 {
        let feed = try await world.services.events.follow(
            EventQuery(after: start, follows: true), context: world.context())
        var place = start
        for try await element in feed {
            switch element {
            case .lost(let before):
                #expect(before > place + 1, "told of a loss without one")
                place = before - 1
            case .passed(let passed): #expect(passed == place)
            case .events(let events):
                #expect(events.map(\.sequence) == Array(place + 1...place + Int64(events.count)), "in order, once each")
                place = events.last?.sequence ?? place
            }
            if place >= 600 || generator.chance(10) { break }
        }
        return place
    }

    @Test func aTokenFollowsSoManyStreamsAndNoMore() async throws {
        try await World.with(nodes: 0) { world, _ in
            let context = world.context()
            var feeds: [EventFeed] = []
            for _ in 0..<Limits.eventStreamsPerToken {
                feeds.append(try await world.services.events.follow(EventQuery(follows: true), context: context))
            }
            await expectFailure(.limit) {
                _ = try await world.services.events.follow(EventQuery(follows: true), context: context)
            }
            // Another token is not held up, and places are given back.
            _ = try await world.services.events.follow(EventQuery(follows: true), context: world.context())
            feeds.removeAll()
            _ = try await world.services.events.follow(EventQuery(follows: true), context: context)
        }
    }

    @Test func aFeedEndsWithItsReader() async throws {
        try await World.with(nodes: 0) { world, _ in
            let feed = try await world.services.events.follow(EventQuery(follows: true), context: world.context())
            let reader = Task { for try await _ in feed {} }
            try await append(world, 1)
            reader.cancel()
            _ = await reader.result
        }
    }

    @Test func oldEventsAreForgotten() async throws {
        try await World.with(nodes: 0) { world, _ in
            let old = Date.nowMilliseconds.addingTimeInterval(-Double(Limits.eventDays + 1) * 86_400)
            for _ in 0..<3 {
                try await world.store.appendEvent(
                    PlatformEvent(workspace: world.workspace, kind: .projectCreated, at: old))
            }
            try await append(world, 1)
            let running = Task { try await world.services.run() }
            try await eventually("old events are gone") { try await world.store.eventRange().oldest == 4 }
            running.cancel()
            try await running.value
        }
    }
}
