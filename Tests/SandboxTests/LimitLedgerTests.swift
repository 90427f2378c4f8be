import FastableCore
import Foundation
import NodeLinux
import NodeSandbox
import TestSupport
import Testing

/// Which limits were reached, from what the kernel counts. All time is handed in.
@Suite struct LimitLedgerTests {
    private static let start = ContinuousClock.now
    private static let wall = Date(timeIntervalSince1970: 1_800_000_000)
    private static let limits = ResourceLimits(cpus: 1, memoryBytes: 64 << 20, pids: 32)

    private static func saw(
        _ ledger: inout LimitLedger, memory: UInt64 = 0, pids: UInt64 = 0, victim: String? = nil, ofGroup: Bool = true,
        at seconds: Int = 0
    ) -> [LimitHit] {
        ledger.saw(
            LimitCounts(memory: memory, pids: pids), limits,
            victim: victim.map { KernelLog.Victim(user: 1, name: $0, isOfGroup: ofGroup) },
            now: start + .seconds(seconds), wall: wall + Double(seconds)
        ).map(\.hit)
    }

    @Test func risingCountsAreHits() {
        var ledger = LimitLedger()
        #expect(Self.saw(&ledger).isEmpty && ledger.tallies.isEmpty)
        let hits = Self.saw(&ledger, memory: 2, pids: 7, victim: "node")
        #expect(
            hits == [
                LimitHit(.memory, limitBytes: 64 << 20, process: "node"), LimitHit(.pids, limitCount: 32),
            ])
        #expect(ledger.tallies.map(\.count) == [2, 7])
        #expect(Self.saw(&ledger, memory: 2, pids: 7, at: 1000).isEmpty, "nothing is new")
    }

    @Test func countsNeverFall() {
        var ledger = LimitLedger()
        _ = Self.saw(&ledger, memory: 5, pids: 5)
        // A group that is gone has no counts.
        #expect(Self.saw(&ledger, at: 1000).isEmpty)
        #expect(ledger.tallies.map(\.count) == [5, 5])
        #expect(Self.saw(&ledger, memory: 5, pids: 5, at: 2000).isEmpty)
    }

    @Test func followersAreToldOnceInAWhileAndAllIsCounted() {
        var ledger = LimitLedger()
        #expect(Self.saw(&ledger, pids: 1).count == 1)
        for second in 1..<Limits.limitEventSeconds {
            #expect(Self.saw(&ledger, pids: UInt64(second) * 100, at: second).isEmpty)
        }
        #expect(ledger.tally(.pids)?.count == (Limits.limitEventSeconds - 1) * 100)
        #expect(ledger.tally(.pids)?.at == Self.wall + Double(Limits.limitEventSeconds - 1))
        // Another limit has its own time.
        #expect(Self.saw(&ledger, memory: 1, pids: 100_000, at: Limits.limitEventSeconds - 1).map(\.limit) == [.memory])
        #expect(Self.saw(&ledger, memory: 1, pids: 100_001, at: Limits.limitEventSeconds).map(\.limit) == [.pids])
    }

    @Test func aHostWithoutMemoryIsNoLimitOfTheContainer() {
        var ledger = LimitLedger()
        let hits = Self.saw(&ledger, memory: 1, victim: "node", ofGroup: false)
        #expect(hits == [LimitHit(.memory, process: "node")])
        #expect(hits.first?.text.contains("host") == true)
    }

    @Test func aNewDaemonGoesOnWhereTheLastOneWas() {
        var first = LimitLedger()
        _ = Self.saw(&first, memory: 3, pids: 9, victim: "node")
        _ = first.sawFullDisk(bytes: 1 << 30, now: Self.start, wall: Self.wall)
        var second = LimitLedger(first.tallies)
        #expect(Self.saw(&second, memory: 3, pids: 9).isEmpty)
        #expect(second.tallies == first.tallies)
        // This came while no daemon ran.
        #expect(Self.saw(&second, memory: 4, pids: 9) == [LimitHit(.memory, limitBytes: 64 << 20)])
        #expect(second.tally(.disk)?.count == 1)
    }
}
