import FastableCore
import Foundation
import NodeSandbox
import TestSupport
import Testing

/// Until when a node may go on without a controller.
@Suite struct LeaseTests {
    private static let start = ContinuousClock.now
    private static let restore = LifecyclePolicy(onNodeLost: .restore)

    private static func at(_ seconds: Int) -> ContinuousClock.Instant { start + .seconds(seconds) }

    @Test func itCountsFromTheQuestion() {
        var book = LeaseBook()
        #expect(book.isOver(at: Self.start), "who never had one has none")
        book.granted(NodeLease(seconds: 10), asked: Self.at(0))
        #expect(!book.isOver(at: Self.at(9)) && book.isOver(at: Self.at(10)))
        // Answers that come late, or in another order, shorten nothing.
        book.granted(NodeLease(seconds: 10), asked: Self.at(5))
        book.granted(NodeLease(seconds: 10), asked: Self.at(3))
        #expect(!book.isOver(at: Self.at(14)) && book.isOver(at: Self.at(15)))
        // One that was over begins anew.
        book.granted(NodeLease(seconds: 10), asked: Self.at(100))
        #expect(!book.isOver(at: Self.at(109)))
        book.granted(NodeLease(seconds: -5), asked: Self.at(200))
        #expect(book.isOver(at: Self.at(200)))
    }

    @Test func onlyWhatMayBeStartedElsewhereNeedsIt() {
        let never = LeaseBook()
        for policy in [nil, LifecyclePolicy(), LifecyclePolicy(onNodeLost: .wait), .standard] {
            #expect(never.permits(policy, at: Self.start))
        }
        #expect(!never.permits(Self.restore, at: Self.start))
        let held = LeaseBook(until: Self.at(10))
        #expect(held.permits(Self.restore, at: Self.at(9)) && !held.permits(Self.restore, at: Self.at(10)))
    }

    @Test func aDaemonThatStartsAnewKnowsIt() throws {
        try withTemporaryDirectory { directory in
            let path = directory + "/lease.json"
            #expect(!LeaseKeeper(path: path).permits(Self.restore))
            let now = ContinuousClock.now
            LeaseKeeper(path: path).granted(NodeLease(seconds: 100), asked: now)
            let next = LeaseKeeper(path: path)
            #expect(next.permits(Self.restore) && next.permits(Self.restore, at: now + .seconds(98)))
            #expect(!next.permits(Self.restore, at: now + .seconds(101)))
            // Of another life of the host it tells nothing.
            let text = try String(contentsOfFile: path, encoding: .utf8)
            let moved = text.replacing(/"boot"\s*:\s*"[^"]*"/, with: #""boot":"another""#)
            #expect(moved != text)
            try moved.write(toFile: path, atomically: true, encoding: .utf8)
            #expect(!LeaseKeeper(path: path).permits(Self.restore))
            try "{".write(toFile: path, atomically: true, encoding: .utf8)
            #expect(!LeaseKeeper(path: path).permits(Self.restore))
        }
    }
}

extension ContainerTests {
    @Suite(.serialized) struct Lost {
        private static func project(_ node: TestNode, _ policy: OnNodeLost) -> ContainerSpec {
            var spec = node.project()
            spec.lifecycle = LifecyclePolicy(onNodeLost: policy).merged(over: .standard)
            return spec
        }

        private static func isRunning(_ node: TestNode, _ spec: ContainerSpec) async -> Bool {
            await node.manager.status(spec.project)?.container != nil
        }

        @Test func containersEndWithTheLease() async throws {
            try await TestNode.with { node in
                let (moving, waiting) = (Self.project(node, .restore), Self.project(node, .wait))
                await expectFailure(.unavailable) { _ = try await node.manager.ensure(moving) }
                let asked = ContinuousClock.now
                node.manager.granted(NodeLease(seconds: 1000), asked: asked)
                let command = try await node.start(moving, "sleep 1000")
                try await node.sh(waiting, "true")
                await node.manager.keepLease(now: asked + .seconds(999))
                #expect(await Self.isRunning(node, moving))
                await node.manager.keepLease(now: asked + .seconds(1000))
                try await eventually("it has ended") { await !Self.isRunning(node, moving) }
                await expectFailure(.gone) { _ = try await TestNode.collect(command) }
                #expect(await node.manager.status(moving.project)?.reason.contains("no controller") == true)
                #expect(await Self.isRunning(node, waiting), "what waits for its node goes on")
                #expect(try await node.sh(moving, "echo on").out == "on\n", "the lease still counts for the clock")
            }
        }

        @Test func aDaemonWithoutALeaseEndsWhatAnEarlierOneLeft() async throws {
            try await TestNode.with { node in
                let (moving, waiting) = (Self.project(node, .restore), Self.project(node, .wait))
                node.manager.granted(NodeLease(seconds: 1000), asked: .now)
                try await node.sh(moving, "true")
                try await node.sh(waiting, "true")
                try await node.restart()
                #expect(await Self.isRunning(node, moving), "the lease is not over")
                try FileManager.default.removeItem(atPath: node.configuration.paths.run + "/lease.json")
                try await node.restart()
                try await eventually("it has ended") { await !Self.isRunning(node, moving) }
                #expect(await Self.isRunning(node, waiting))
            }
        }

        /// Another node has the project by now: what is here ends, is kept, and is in nobody's way.
        @Test func whatIsAnotherNodesIsSetAside() async throws {
            try await TestNode.with { node in
                let spec = Self.project(node, .wait)
                let command = try await node.start(spec, "echo kept > file; sleep 1000")
                let file = node.configuration.paths.project(spec.project).workspace + "/file"
                try await eventually("it runs") { FileManager.default.fileExists(atPath: file) }
                let use = try node.manager.usesFiles(of: spec.project)
                let departure = ProjectDeparture(project: spec.project, stay: 0)
                let path = try #require(try await node.manager.setAside(departure).path)
                use?.end()
                #expect(try String(contentsOfFile: path + "/workspace/file", encoding: .utf8) == "kept\n")
                await expectFailure(.gone) { _ = try await TestNode.collect(command) }
                #expect(await node.manager.status(spec.project) == nil)
                let project = node.configuration.paths.project(spec.project).directory
                #expect(!FileManager.default.fileExists(atPath: project))
                // Told again, also by a daemon that starts anew, it says the same; a late call makes nothing.
                #expect(try await node.manager.setAside(departure).path == path)
                await expectFailure(.unavailable) { _ = try await node.manager.ensure(spec) }
                try await node.restart()
                #expect(try await node.manager.setAside(departure).path == path)
                // A later stay is another matter.
                var next = spec
                next.stay = 2
                #expect(try await node.sh(next, "ls -A").out == "")
                #expect(try await node.manager.setAside(departure).path == path)
                #expect(await Self.isRunning(node, next))
                let unknown = ProjectDeparture(project: ProjectID(), stay: 0)
                #expect(try await node.manager.setAside(unknown).path == nil)
            }
        }
    }
}
