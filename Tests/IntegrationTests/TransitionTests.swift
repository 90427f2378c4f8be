import ControllerDomain
import ControllerFleet
import ControllerServices
import ControllerStore
import FastableCore
import Foundation
import NodeSandbox
import Synchronization
import TestSupport
import Testing

/// From a node's journal over the link into the store: each change once and in order, whatever fails on the way.
@Suite("Changes of containers", .endsInTime)
struct TransitionTests {
    private static let states: [ContainerState] = [.creating, .running, .stopped]

    /// A project that the node has.
    private func project(_ controller: TestController, on node: TestNode) async throws -> ProjectID {
        let made = try await controller.run("projects_create", ["name": "shop"])
        let id = try #require(made["id"]?.string.flatMap(ProjectID.init))
        _ = try await controller.store.placeProject(id, on: node.id)
        return id
    }

    /// The numbers that stand in the reasons of the stored events.
    private func stored(_ controller: TestController) async throws -> [String?] {
        let listed = try await controller.run(
            "events_list", ["kinds": ["container.changed"], "limit": .integer(Int64(Limits.pageRows))])
        return (listed["events"]?.array ?? []).map { $0["data"]?["reason"]?.string }
    }

    private func record(_ numbers: Range<Int>, of project: ProjectID, in journal: TransitionJournal) {
        for number in numbers {
            journal.record(
                project, nil, from: Self.states[number % 3], to: Self.states[(number + 1) % 3], reason: "\(number)")
        }
    }

    @Test func theyAreToldAtOnceAndOnce() async throws {
        try await TestController.with { controller in
            let node = try await controller.join()
            let project = try await project(controller, on: node)
            let journal = TransitionJournal()
            record(0..<3, of: project, in: journal)
            try await node.linked(transitions: journal) {
                try await eventually("what waited is told") { try await stored(controller).count == 3 }
                record(3..<4, of: project, in: journal)
                try await eventually("what happens is told") { try await stored(controller).count == 4 }
                try await eventually("nothing waits any more") { journal.batch() == nil }
            }
            #expect(try await stored(controller) == (0..<4).map(String.init))
        }
    }

    /// Answers get lost, the store fails, the link is cut: the node tells again, and each is kept once.
    @Test(arguments: seeds(2)) func whateverFailsTheyAreKeptOnce(seed: UInt64) async throws {
        try await TestController.with { controller in
            let node = try await controller.join()
            let project = try await project(controller, on: node)
            let journal = TransitionJournal()
            let generator = Mutex(SeededGenerator(seed: seed))
            let fleet = controller.services.fleet
            let registry = controller.registry
            controller.fleet.onTold.withLock { handle in
                handle = { node, batch in
                    switch generator.withLock({ $0.int(0...3) }) {
                    case 0: throw FastableError(.unavailable, "The disk is full.")
                    case 1:
                        try await fleet.nodeTold(node, batch)
                        throw FastableError(.internal, "The answer is lost.")
                    case 2:
                        try await fleet.nodeTold(node, batch)
                        registry.disconnect(node, reason: "The test cuts it.")
                    default: try await fleet.nodeTold(node, batch)
                    }
                }
            }
            let count = 130
            try await node.linked(transitions: journal) {
                var next = 0
                while next < count {
                    let more = generator.withLock { $0.int(1...30) }
                    let batches = controller.fleet.batches.count
                    record(next..<min(count, next + more), of: project, in: journal)
                    next += more
                    try await eventually("it is told") { controller.fleet.batches.count > batches }
                }
                try await eventually("all are confirmed") { journal.batch() == nil }
            }
            #expect(try await stored(controller) == (0..<count).map(String.init), "seed \(seed)")
            #expect(controller.fleet.batches.count > 3)
        }
    }

    @Test func aControllerThatWasAwayForTooLongIsToldWhatIsMissing() async throws {
        try await TestController.with { controller in
            let node = try await controller.join()
            let project = try await project(controller, on: node)
            let journal = TransitionJournal()
            record(0..<Limits.transitionsKept + 5, of: project, in: journal)
            try await node.linked(transitions: journal) {
                try await eventually("all are told") { journal.batch() == nil }
            }
            let lost = try await controller.run("events_list", ["kinds": ["node.changes_lost"], "limit": 500])
            #expect(lost["events"]?.array?.map { $0["data"]?["count"] } == [5])
        }
    }

    /// Numbers that no node counts are refused without an end to the link.
    @Test func aLinkThatTellsNonsenseLosesNothing() async throws {
        try await TestController.with { controller in
            let node = try await controller.join()
            let project = try await project(controller, on: node)
            try await RawLink.with(controller, context: RawLink.context(node.identity())) { link in
                func tell(_ number: Int64) async throws -> String? {
                    let change = ContainerTransition(
                        number: number, project: project, container: nil, from: .absent, to: .running, reason: "x",
                        at: Date())
                    let answer = try await link.call(
                        .transitions, TransitionBatch(journal: "j", transitions: [change]))
                    return answer["error"]?["code"]?.string
                }
                try await link.hello(generation: 1)
                #expect(try await tell(-1) == "invalid")
                #expect(try await tell(.max) == "invalid")
                #expect(try await tell(1) == nil)
            }
            #expect(try await stored(controller) == ["x"])
        }
    }
}
