package import FastableCore
import FoundationEssentials
import Glibc
import NodeLinux
import Synchronization

/// Until when this node may run what the controller would start elsewhere. Pure.
package struct LeaseBook: Sendable, Equatable {
    package typealias Instant = ContinuousClock.Instant

    /// `nil` when there never was one: then it is over.
    package private(set) var until: Instant?

    package init(until: Instant? = nil) { self.until = until }

    /// - Parameter asked: when the node asked for what was answered with the lease. The controller counts from later moments.
    package mutating func granted(_ lease: NodeLease, asked: Instant) {
        let end = asked + .seconds(max(0, lease.seconds))
        until = until.map { max($0, end) } ?? end
    }

    package func isOver(at now: Instant) -> Bool { until.map { now >= $0 } ?? true }

    /// Whether a container may run.
    package func permits(_ policy: LifecyclePolicy?, at now: Instant) -> Bool {
        policy?.onNodeLost != .restore || !isOver(at: now)
    }
}

/// The lease with its file, which a daemon that starts anew reads: the host may be cut off since long.
package final class LeaseKeeper: Sendable {
    private struct State {
        var book: LeaseBook
        var stored: ContinuousClock.Instant?
    }

    private let path: String
    private let state: Mutex<State>

    package init(path: String) {
        self.path = path
        let now = (BootMoment.now(), ContinuousClock.now)
        let bytes = (try? SmallFile.read(path, atMost: 4096)).flatMap(\.self)
        let until = bytes.flatMap { try? JSON.decode(BootMoment.self, from: Data($0)) }.flatMap { $0.instant(now: now) }
        state = Mutex(State(book: LeaseBook(until: until), stored: until))
    }

    package func permits(_ policy: LifecyclePolicy?, at now: ContinuousClock.Instant = .now) -> Bool {
        state.withLock { $0.book.permits(policy, at: now) }
    }

    /// Nothing runs here any more that would need it.
    func forget() { unlink(path) }

    /// Blocks for as long as a small file takes. What the file says is never later than what holds.
    package func granted(_ lease: NodeLease, asked: ContinuousClock.Instant) {
        let due = state.withLock { state -> ContinuousClock.Instant? in
            state.book.granted(lease, asked: asked)
            guard let until = state.book.until else { return nil }
            // Each write costs something, and an older end is a safe one.
            let step = Duration.seconds(lease.seconds) / 8
            guard state.stored.map({ until - $0 >= step }) ?? true else { return nil }
            state.stored = until
            return until
        }
        guard let due else { return }
        let moment = BootMoment(due, now: (BootMoment.now(), .now))
        try? AtomicFile.write(path, Array(JSON.encode(moment)))
    }
}
