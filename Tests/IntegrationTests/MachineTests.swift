import ControllerFleet
import FastableCore
import Foundation
import NodeControl
import TestSupport
import Testing

@Suite("Which link of a node counts")
struct LinkFenceTests {
    @Test func theNewestIsTaken() {
        var fence = LinkFence()
        let decisions = [5, 5, 4, 6, .max, .max].map { fence.connected(generation: $0) }
        #expect(
            decisions == [
                .accept, .refuse(newest: 5), .refuse(newest: 5), .replace(generation: 5), .replace(generation: 6),
                .refuse(newest: .max),
            ])
    }

    @Test func onlyTheEndOfTheActiveOneMakesTheNodeOffline() {
        var fence = LinkFence()
        let decisions = [1, 2].map { fence.connected(generation: $0) }
        #expect(decisions == [.accept, .replace(generation: 1)])
        let offline = [1, 2, 2].map { fence.disconnected(generation: $0) }
        #expect(offline == [false, true, false])
        let later = [2, 3].map { fence.connected(generation: $0) }
        #expect(later == [.refuse(newest: 2), .accept])
    }

    /// Against a model: the active link is always the highest generation that was taken and has not ended.
    @Test(arguments: [1, 2, 3, UInt64.random(in: 10 ... .max)])
    func anyOrderOfEventsKeepsTheRule(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var fence = LinkFence()
        var newest: UInt64?
        var active: UInt64?
        for _ in 0..<2000 {
            let generation = UInt64.random(in: 0...40, using: &random) + (newest ?? 0) / 2
            if Bool.random(using: &random) {
                switch fence.connected(generation: generation) {
                case .accept:
                    #expect(active == nil && newest.map { generation > $0 } ?? true)
                case .replace(let old):
                    #expect(active == old && generation > old)
                case .refuse(let known):
                    #expect(known == newest && generation <= known)
                    continue
                }
                newest = generation
                active = generation
            } else {
                let isOffline = fence.disconnected(generation: generation)
                #expect(isOffline == (active == generation))
                if active == generation { active = nil }
            }
        }
    }
}

@Suite("How long a node waits before it dials again")
struct ReconnectBackoffTests {
    @Test func theCeilingDoublesUpToTheLongest() {
        var backoff = ReconnectBackoff()
        let almostOne = 1.0.nextDown
        let pauses = (0..<40).map { _ in backoff.nextPause(random: almostOne) }
        #expect(pauses[0] == .milliseconds(Limits.reconnectFirstMilliseconds))
        for (pause, next) in zip(pauses, pauses.dropFirst()) {
            #expect(next == min(pause * 2, .milliseconds(Limits.reconnectLongestMilliseconds)))
        }
        #expect(pauses.last == .milliseconds(Limits.reconnectLongestMilliseconds))
    }

    @Test func theWholeRangeIsUsed() {
        var random = SeededGenerator(seed: 7)
        var backoff = ReconnectBackoff()
        for _ in 0..<20 { _ = backoff.nextPause(random: 0.5) }
        let longest = Duration.milliseconds(Limits.reconnectLongestMilliseconds)
        let pauses = (0..<1000).map { _ in backoff.nextPause(random: Double.random(in: 0..<1, using: &random)) }
        #expect(pauses.allSatisfy { $0 >= .zero && $0 <= longest })
        for tenth in 0..<10 {
            let range = (longest / 10 * tenth)..<(longest / 10 * (tenth + 1))
            #expect(pauses.contains { range.contains($0) }, "no pause in \(range)")
        }
    }

    @Test func aLinkThatHeldStartsAnew() {
        var backoff = ReconnectBackoff()
        for _ in 0..<10 { _ = backoff.nextPause(random: 0.9) }
        backoff.connected()
        #expect(backoff == ReconnectBackoff())
        let pause = backoff.nextPause(random: 0.999)
        #expect(pause <= .milliseconds(Limits.reconnectFirstMilliseconds))
    }

    @Test(arguments: [-1.0, 2, .infinity])
    func aWrongRandomNumberStaysInBounds(random: Double) {
        var backoff = ReconnectBackoff()
        let pause = backoff.nextPause(random: random)
        #expect((Duration.zero ... .milliseconds(Limits.reconnectFirstMilliseconds)).contains(pause))
    }
}

@Suite("The number of a dial")
struct GenerationTests {
    @Test func risesOverRestartsAndWithAClockThatWasSetBack() throws {
        try withTemporaryDirectory { folder in
            var last: UInt64 = 0
            for clock in [1000, 1000, 1001, 5000, 10, 0, 5001, 4999] as [UInt64] {
                let next = try Generation(path: folder + "/generation", clock: { clock }).next()
                #expect(next > last)
                #expect(next > clock)
                last = next
            }
        }
    }

    @Test func aLostFileDoesNotBringOldNumbersBack() async throws {
        try await withTemporaryDirectory { folder in
            let path = folder + "/generation"
            let before = try Generation(path: path).next()
            try FileManager.default.removeItem(atPath: path)
            try await Task.sleep(for: .milliseconds(5))
            #expect(try Generation(path: path).next() > before)
        }
    }

    @Test(arguments: [
        "", "\n", "abc", "-5", "18446744073709551615", "99999999999999999999999", "٣",
        String(repeating: "9", count: 500),
    ])
    func aDamagedFileCountsAsLost(content: String) throws {
        try withTemporaryDirectory { folder in
            let path = folder + "/generation"
            try Data(content.utf8).write(to: URL(fileURLWithPath: path))
            #expect(try Generation(path: path, clock: { 1000 }).next() == 1001)
            #expect(try Generation(path: path, clock: { 1000 }).next() == 1002)
        }
    }

    @Test(.needsRoot)
    func aFullDiskDoesNotKeepTheNodeFromDialling() throws {
        try withTemporaryDirectory { folder in
            let path = folder + "/generation"
            try Self.run("mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", folder)
            defer { try? Self.run("umount", "-l", folder) }
            #expect(try Generation(path: path, clock: { 1000 }).next() == 1001)
            try? Data(count: 8192).write(to: URL(fileURLWithPath: folder + "/filler"))
            #expect(throws: FastableError.self) { try AtomicFile.write(folder + "/other", [1]) }
            #expect(try Generation(path: path, clock: { 1000 }).next() == 1002)
            #expect(try Generation(path: path, clock: { 1000 }).next() == 1003)
        }
    }

    private static func run(_ program: String, _ arguments: String...) throws {
        let process = try Process.run(URL(fileURLWithPath: "/usr/bin/" + program), arguments: arguments)
        process.waitUntilExit()
        #expect(process.terminationStatus == 0, "\(program)")
    }

    @Test func whatCannotBeStoredIsAnError() {
        expectFailure(.notFound) {
            _ = try Generation(path: "/nonexistent/generation").next()
        }
    }
}
