import ControllerDomain
import FastableCore
import TestSupport
import Testing

/// Every event in every state.
@Suite struct NodeStateTests {
    private typealias Machine = NodeStateMachine
    private static let start = ContinuousClock.now
    private static let times = Machine.Times(patience: .seconds(30), lostAfter: .seconds(600))

    private static func at(_ seconds: Int) -> ContinuousClock.Instant { start + .seconds(seconds) }

    /// Each wish with each link, reached as it is in life.
    private static func everyState() -> [Machine] {
        var machines: [Machine] = []
        for wish in Machine.Wish.allCases {
            let awaited = Machine(wish, told: .ready, now: start)
            machines.append(awaited)
            machines.append(Machine(wish, told: .lost, now: start))
            var up = awaited
            _ = up.handle(.looked(isLinked: true), times, now: start)
            machines.append(up)
            var down = up
            _ = down.handle(.looked(isLinked: false), times, now: start)
            machines.append(down)
            var lost = down
            _ = lost.handle(.looked(isLinked: false), times, now: at(600))
            machines.append(lost)
        }
        return machines
    }

    private static var everyEvent: [Machine.Event] {
        [.looked(isLinked: true), .looked(isLinked: false)] + Machine.Wish.allCases.map { .wished($0) }
    }

    @Test func everyEventInEveryState() {
        for machine in Self.everyState() {
            for event in Self.everyEvent {
                for seconds in [0, 29, 30, 599, 600, 100_000] {
                    var after = machine
                    let change = after.handle(event, Self.times, now: Self.at(seconds))
                    let what = "\(machine) \(event) after \(seconds) s: \(after)"
                    // What was told follows the state, and each change of it is told once.
                    #expect(
                        change?.from == (change == nil ? nil : machine.told)
                            && after.told == (change?.to ?? machine.told), "\(what)")
                    #expect(change == nil || change?.to == after.state, "\(what)")
                    if case .awaited = after.link {} else { #expect(after.told == after.state, "\(what)") }
                    expectLink(machine, event, after, seconds, what)
                    expectWish(machine, event, after, what)
                    // The same again is no news.
                    var again = after
                    #expect(again.handle(event, Self.times, now: Self.at(seconds)) == nil && again == after, "\(what)")
                }
            }
        }
    }

    private func expectLink(
        _ machine: NodeStateMachine, _ event: NodeStateMachine.Event, _ after: NodeStateMachine, _ seconds: Int,
        _ what: String
    ) {
        switch (machine.link, event) {
        case (_, .wished): #expect(after.link == machine.link, "\(what)")
        case (_, .looked(isLinked: true)): #expect(after.link == .up, "\(what)")
        case (.up, .looked): #expect(after.link == .down(since: Self.at(seconds)), "never lost at once: \(what)")
        case (.lost, .looked): #expect(after.link == .lost, "\(what)")
        case (.down(let since), .looked):
            #expect(after.link == (seconds >= 600 ? .lost : .down(since: since)), "\(what)")
        case (.awaited(let since), .looked):
            let expected: NodeStateMachine.Link =
                seconds >= 600 ? .lost : seconds >= 30 ? .down(since: since) : .awaited(since: since)
            #expect(after.link == expected, "\(what)")
        }
    }

    private func expectWish(
        _ machine: NodeStateMachine, _ event: NodeStateMachine.Event, _ after: NodeStateMachine, _ what: String
    ) {
        if machine.wish == .removed {
            #expect(after.wish == .removed && after.state == .removed, "what is removed stays so: \(what)")
        } else if case .wished(let wish) = event {
            #expect(after.wish == wish, "\(what)")
        } else {
            #expect(after.wish == machine.wish, "\(what)")
        }
        switch (after.wish, after.link) {
        case (.removed, _): #expect(after.state == .removed)
        case (_, .lost): #expect(after.state == .lost)
        case (_, .down), (_, .awaited): #expect(after.state == .offline)
        case (.ready, .up): #expect(after.state == .ready)
        case (.cordoned, .up): #expect(after.state == .cordoned)
        case (.draining, .up): #expect(after.state == .draining)
        }
    }

    /// A restart of the controller, which knows no links at first, is not told of nodes that come back soon.
    @Test func aRestartTellsNothing() {
        var machine = Machine(.ready, told: .ready, now: Self.start)
        #expect(machine.handle(.looked(isLinked: false), Self.times, now: Self.at(10)) == nil)
        #expect(machine.state == .offline, "though people who look are shown what is")
        #expect(machine.handle(.looked(isLinked: true), Self.times, now: Self.at(12)) == nil)
        #expect(machine.state == .ready)
    }

    /// The time without a link counts from what this run has seen, so a node is never lost before it had all of it.
    @Test func itIsNeverLostTooEarly() {
        var generator = SeededGenerator()
        for _ in 0..<200 {
            var machine = Machine(.ready, told: .ready, now: Self.start)
            var lastLinked = 0
            var now = 0
            for _ in 0..<200 {
                now += Int.random(in: 0...300, using: &generator)
                let isLinked = Bool.random(using: &generator)
                _ = machine.handle(.looked(isLinked: isLinked), Self.times, now: Self.at(now))
                if isLinked { lastLinked = now }
                if machine.state == .lost { #expect(now - lastLinked >= 600, "seed \(generator.seed)") }
            }
        }
    }

    @Test func lostIsLostOverARestart() {
        var machine = Machine(.cordoned, told: .lost, now: Self.start)
        #expect(machine.handle(.looked(isLinked: false), Self.times, now: Self.start) == nil)
        let back = machine.handle(.looked(isLinked: true), Self.times, now: Self.at(1))
        #expect(back == Machine.Change(from: .lost, to: .cordoned))
    }

    @Test func whatCouldNotBeStoredIsToldAgain() {
        var machine = Machine(.ready, told: .ready, now: Self.start)
        _ = machine.handle(.looked(isLinked: true), Self.times, now: Self.start)
        let change = Machine.Change(from: .ready, to: .offline)
        #expect(machine.handle(.looked(isLinked: false), Self.times, now: Self.at(1)) == change)
        machine.wasNotTold(change)
        #expect(machine.handle(.looked(isLinked: false), Self.times, now: Self.at(2)) == change)
    }

    // MARK: which projects are moved next

    @Test func aDrainGoesOnWithWhatHasWaitedLongest() {
        let projects = (0..<6).map { _ in ProjectID() }.sorted()
        let items = [
            DrainSchedule.Item(projects[0], retryAt: Self.at(20)), DrainSchedule.Item(projects[1], isUnderWay: true),
            DrainSchedule.Item(projects[2], retryAt: Self.at(5)), DrainSchedule.Item(projects[3]),
            DrainSchedule.Item(projects[4], retryAt: Self.at(8)), DrainSchedule.Item(projects[5]),
        ]
        let order = [projects[3], projects[5], projects[2], projects[4]]
        for places in 0...8 {
            let due = DrainSchedule.due(items, places: places, now: Self.at(10))
            #expect(due == Array(order.prefix(max(0, places - 1))), "\(places) places")
        }
        #expect(DrainSchedule.due(items, places: 8, now: Self.at(20)).last == projects[0])
        #expect(DrainSchedule.due([], places: 8, now: Self.at(20)).isEmpty)
    }
}
