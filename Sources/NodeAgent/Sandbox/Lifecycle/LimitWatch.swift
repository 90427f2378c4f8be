package import FastableCore
import FoundationEssentials
import Glibc
package import NodeLinux
import Synchronization

/// Sees which limits a project's container comes to. It looks every few seconds with everything else, and when a command fails; never
/// by itself. Told and asked from any thread.
package final class LimitWatch: Sendable {
    /// What is looked at of one incarnation.
    package struct Subject: Sendable {
        package var container: ContainerID
        package var limits: ResourceLimits
        package var counters: LimitCounters
        /// The host's ids of its users, and the log that names them.
        package var users: Range<UInt32>
        package var log: KernelLog
        /// A place on the disk that it writes to.
        package var disk: String
        /// How much it may use there; all that there is unless given.
        package var diskBytes: Int?

        package init(
            container: ContainerID, limits: ResourceLimits, counters: LimitCounters, users: Range<UInt32>,
            log: KernelLog, disk: String, diskBytes: Int? = nil
        ) {
            self.diskBytes = diskBytes
            self.container = container
            self.limits = limits
            self.counters = counters
            self.users = users
            self.log = log
            self.disk = disk
        }
    }

    /// A question that a failed command leads to.
    package struct Inquiry: Sendable {
        fileprivate var subject: Subject
        fileprivate var before: LimitCounts
    }

    private struct State {
        var subject: Subject?
        var ledger: LimitLedger
        var tell: @Sendable (LimitTally) -> Void = { _ in }
    }

    private let state: Mutex<State>
    /// Held by who looks, so that the counts and the name that goes with them are found by one.
    private let looking = Mutex(())

    /// - Parameter tallies: what is on record of the last container.
    package init(_ tallies: [LimitTally] = []) { state = Mutex(State(ledger: LimitLedger(tallies))) }

    /// Who is told of limits that were reached, each at most once in a while.
    package func onHit(_ tell: @escaping @Sendable (LimitTally) -> Void) { state.withLock { $0.tell = tell } }

    /// - Parameter isNew: nothing is known of it yet; otherwise it is the container of an earlier run of the daemon.
    package func begins(_ subject: Subject, isNew: Bool) {
        if isNew {
            // Those of somebody who had the ids before.
            subject.log.read()
            _ = subject.log.take(subject.users)
        }
        state.withLock { state in
            state.subject = subject
            if isNew { state.ledger = LimitLedger() }
        }
        // What happened while no daemon ran.
        if !isNew { look() }
    }

    package func changed(_ limits: ResourceLimits, diskBytes: Int? = nil) {
        state.withLock { state in
            state.subject?.limits = limits
            if let diskBytes { state.subject?.diskBytes = diskBytes }
        }
    }

    /// What was seen of it can still be told.
    package func ended() {
        look()
        state.withLock { $0.subject = nil }
    }

    package var tallies: [LimitTally] { state.withLock { $0.ledger.tallies } }

    /// For a command that begins; `nil` when the container is not watched.
    package func counts(of container: ContainerID) -> LimitCounts? {
        state.withLock { $0.subject?.container == container ? $0.subject?.counters.counts : nil }
    }

    /// Blocks, see `hit`.
    package func look() {
        guard let subject = state.withLock({ $0.subject }) else { return }
        look(subject)
    }

    /// What is to be looked at for a command that has failed, also when its container ends meanwhile; `nil` when that is not watched.
    package func inquiry(since before: LimitCounts?, of container: ContainerID) -> Inquiry? {
        guard let before, let subject = state.withLock({ $0.subject }), subject.container == container else {
            return nil
        }
        return Inquiry(subject: subject, before: before)
    }

    /// The limit that a container has come to since a command began in it. Blocks: on the disk, and for some milliseconds until the kernel
    /// names what it has ended; call it on `BlockingPool`.
    package func hit(_ inquiry: Inquiry) -> LimitHit? {
        let subject = inquiry.subject
        look(subject)
        // Of a container that is gone meanwhile its last look has counted all.
        let (memory, pids) = state.withLock { state -> (LimitTally?, LimitTally?) in
            guard state.subject.map({ $0.container == subject.container }) ?? true else { return (nil, nil) }
            return (state.ledger.tally(.memory), state.ledger.tally(.pids))
        }
        if let memory, memory.count > Int(clamping: inquiry.before.memory) { return memory.hit }
        if let pids, pids.count > Int(clamping: inquiry.before.pids) { return pids.hit }
        guard let space = DiskSpace(subject.disk), space.isFull else { return nil }
        let bytes = subject.diskBytes ?? space.totalBytes
        note(subject) { $0.sawFullDisk(bytes: bytes, now: .now, wall: Date()) }
        return LimitHit(.disk, limitBytes: bytes)
    }

    private func look(_ subject: Subject) {
        looking.withLock { _ in
            let counts = subject.counters.counts
            let isNews = state.withLock { $0.ledger.isNews(memory: counts) }
            let victim = isNews ? Self.lastVictim(of: subject) : nil
            note(subject) { $0.saw(counts, subject.limits, victim: victim, now: .now, wall: Date()) }
        }
    }

    private func note(_ subject: Subject, _ change: (inout LimitLedger) -> [LimitTally]) {
        let (news, tell) = state.withLock { state in
            // Another one may have its place by now.
            let isSame = state.subject?.container == subject.container
            return (isSame ? change(&state.ledger) : [], state.tell)
        }
        for tally in news { tell(tally) }
    }

    /// The kernel counts and ends a process first, and writes to its log a moment later.
    private static func lastVictim(of subject: Subject) -> KernelLog.Victim? {
        guard subject.log.isReadable else { return nil }
        for attempt in 0..<2 {
            if attempt > 0 { usleep(Limits.kernelLogMicroseconds) }
            subject.log.read()
            if let victim = subject.log.take(subject.users).last { return victim }
        }
        return nil
    }
}
