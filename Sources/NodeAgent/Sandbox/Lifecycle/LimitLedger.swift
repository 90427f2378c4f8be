package import FastableCore
package import FoundationEssentials
package import NodeLinux

/// Which limits a container has come to, and how often. Pure: what was seen comes as calls, time as a parameter. Counts only rise.
package struct LimitLedger: Sendable, Equatable {
    package typealias Instant = ContinuousClock.Instant

    /// By limit, in the order of the cases.
    package private(set) var tallies: [LimitTally]
    private var seen: LimitCounts
    private var told: [LimitHit.Limit: Instant] = [:]

    /// - Parameter tallies: what an earlier run of the daemon has seen of the same container.
    package init(_ tallies: [LimitTally] = []) {
        self.tallies = tallies
        func count(_ limit: LimitHit.Limit) -> UInt64 {
            UInt64(clamping: tallies.first { $0.hit.limit == limit }?.count ?? 0)
        }
        seen = LimitCounts(memory: count(.memory), pids: count(.pids))
    }

    package func tally(_ limit: LimitHit.Limit) -> LimitTally? { tallies.first { $0.hit.limit == limit } }

    /// Whether these counts tell of a process that was ended since the last look.
    package func isNews(memory counts: LimitCounts) -> Bool { counts.memory > seen.memory }

    /// What the kernel's counters say now, and the last process that it ended, if that is known.
    ///
    /// - Returns: what others should be told: each limit at most once in `Limits.limitEventSeconds`.
    package mutating func saw(
        _ counts: LimitCounts, _ limits: ResourceLimits, victim: KernelLog.Victim?, now: Instant, wall: Date
    ) -> [LimitTally] {
        var news: [LimitTally] = []
        if counts.memory > seen.memory {
            seen.memory = counts.memory
            let isOwn = victim?.isOfGroup ?? true
            let hit = LimitHit(.memory, limitBytes: isOwn ? limits.memoryBytes : nil, process: victim?.name)
            news += note(hit, Int(clamping: counts.memory), now, wall)
        }
        if counts.pids > seen.pids {
            seen.pids = counts.pids
            news += note(LimitHit(.pids, limitCount: limits.pids), Int(clamping: counts.pids), now, wall)
        }
        return news
    }

    /// A command failed, and the disk was found full.
    package mutating func sawFullDisk(bytes: Int, now: Instant, wall: Date) -> [LimitTally] {
        note(LimitHit(.disk, limitBytes: bytes), (tally(.disk)?.count ?? 0) + 1, now, wall)
    }

    private mutating func note(_ hit: LimitHit, _ count: Int, _ now: Instant, _ wall: Date) -> [LimitTally] {
        let tally = LimitTally(hit: hit, count: count, at: wall)
        tallies.removeAll { $0.hit.limit == hit.limit }
        tallies.append(tally)
        if let last = told[hit.limit], now - last < .seconds(Limits.limitEventSeconds) { return [] }
        told[hit.limit] = now
        return [tally]
    }
}
