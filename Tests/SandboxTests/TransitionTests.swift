import FastableCore
import Foundation
import NodeLinux
import NodeSandbox
import TestSupport
import Testing

@Suite struct TransitionJournalTests {
    private let project = ProjectID()

    private func record(_ count: Int, in journal: TransitionJournal) {
        for number in 0..<count {
            journal.record(project, nil, from: .stopped, to: .creating, reason: "\(number)")
        }
    }

    @Test func whatIsConfirmedIsForgotten() async throws {
        let journal = TransitionJournal()
        var signals = journal.signals().makeAsyncIterator()
        #expect(journal.batch() == nil)
        record(Limits.transitionsPerBatch + 3, in: journal)
        #expect(await signals.next() != nil)
        let first = try #require(journal.batch())
        #expect(first.transitions.map(\.number) == Array(1...Int64(Limits.transitionsPerBatch)))
        #expect(journal.batch() == first, "until it is confirmed")
        journal.confirm(first)
        journal.confirm(first)
        let rest = try #require(journal.batch())
        #expect(rest.journal == first.journal && rest.transitions.count == 3)
        journal.confirm(rest)
        #expect(journal.batch() == nil)
    }

    @Test func theOldestGoWhenNobodyTakesThem() throws {
        let journal = TransitionJournal()
        record(Limits.transitionsKept + 7, in: journal)
        #expect(try #require(journal.batch()).transitions.first?.number == 8)
    }

    /// A batch must fit into one message of the link, whatever reasons a tool gives.
    @Test func aBatchFitsIntoAMessage() throws {
        for reason in ["\u{1}", "\u{10ffff}", "e" + String(repeating: "\u{301}", count: 500), "\"\\"] {
            let journal = TransitionJournal()
            for _ in 0..<Limits.transitionsPerBatch {
                journal.record(
                    project, ContainerID(), from: .suspended, to: .archived,
                    reason: String(repeating: reason, count: 10_000), isFound: true)
            }
            let batch = try #require(journal.batch())
            let request = NodeRequest(method: .transitions, requestID: RequestID(), arguments: batch)
            #expect(try request.opening().count < Limits.controlMessageBytes)
            #expect(try batch.validated() == batch)
        }
    }
}

extension ContainerTests {
    @Suite(.serialized) struct Transitions {
        private func taken(_ node: TestNode) -> [ContainerTransition] {
            var taken: [ContainerTransition] = []
            while let batch = node.manager.transitions.batch() {
                taken += batch.transitions
                node.manager.transitions.confirm(batch)
            }
            return taken
        }

        @Test func aContainersLifeIsTold() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                let container = try await node.manager.ensure(spec).id
                try await node.manager.suspend(spec.project, force: false)
                try await node.manager.awake(spec.project)
                await node.manager.stop(spec.project, reason: "The test stops it.")
                var wrong = spec
                wrong.image = "missing"
                let error = try await expectError { try await node.manager.ensure(wrong) }
                try await node.manager.delete(spec.project)
                let told = taken(node)
                let states: [ContainerState] = [
                    .absent, .creating, .running, .suspended, .running, .stopped, .creating, .failed, .deleting,
                    .absent,
                ]
                #expect(told.map(\.from) == Array(states.dropLast()))
                #expect(told.map(\.to) == Array(states.dropFirst()))
                try #require(told.count == states.count - 1)
                #expect(told.prefix(5).allSatisfy { $0.container == container } && told.allSatisfy { !$0.isFound })
                #expect(told.allSatisfy { $0.project == spec.project })
                #expect(told[2].reason.contains("somebody asked for that") && told[4].reason == "The test stops it.")
                #expect(told[6].reason == error.message && error.message.contains("‘missing’"))
                // A start that failed was one of another container.
                #expect(told[5].container == told[6].container && told[6].container != container)
            }
        }

        @Test func afterARestartItTellsHowItFoundThem() async throws {
            try await TestNode.with { node in
                let (running, ended) = (node.project(), node.project())
                _ = try await node.manager.ensure(running)
                _ = try await node.manager.ensure(ended)
                let process = try ProcessIdentity(pid: try node.pid(ended))
                await node.manager.close()
                kill(process.pid, SIGKILL)
                try await eventually("it has died") { !process.isAlive }
                try await node.restart()
                let told = Dictionary(uniqueKeysWithValues: taken(node).map { ($0.project, $0) })
                #expect(told.count == 2 && told.values.allSatisfy { $0.isFound && $0.from == .running })
                #expect(told[running.project]?.to == .running && told[ended.project]?.to == .stopped)
            }
        }
    }
}
