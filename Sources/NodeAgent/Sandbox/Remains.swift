import FastableCore
import NodeLinux
import Synchronization

/// Incarnations of which something could not be removed. Their user ids, addresses and files must not serve another one before they
/// are gone: a slot that has remains starts nothing and is given to nobody.
///
/// It is not stored. What an earlier run of the daemon left is found on the host at start, with its slot, and comes in here when it
/// cannot be removed then either.
final class Remains: Sendable {
    struct Entry: Sendable {
        /// `nil` when nothing on the host tells which it is.
        var slot: Slot?
        /// The incarnation's init, if it is known.
        var process: ProcessIdentity?
        var failures = 0
        var nextAttempt: ContinuousClock.Instant
        /// The removal that is under way.
        var attempt: Task<FastableError?, Never>?
    }

    private let entries = Mutex<[ContainerID: Entry]>([:])

    /// A removal failed. What is known stays known.
    func failed(_ container: ContainerID, slot: Slot?, process: ProcessIdentity?, now: ContinuousClock.Instant) {
        entries.withLock { entries in
            var entry = entries[container] ?? Entry(nextAttempt: now)
            entry.slot = slot ?? entry.slot
            entry.process = process ?? entry.process
            entry.failures += 1
            entry.nextAttempt = now + Self.pause(after: entry.failures)
            entry.attempt = nil
            entries[container] = entry
        }
    }

    func removed(_ container: ContainerID) { entries.withLock { $0[container] = nil } }

    func contains(_ container: ContainerID) -> Bool { entries.withLock { $0[container] != nil } }

    var all: [ContainerID] { entries.withLock { $0.keys.sorted() } }

    /// The incarnations whose ids and addresses are the slot's.
    func of(_ slot: Slot) -> [ContainerID] {
        entries.withLock { entries in entries.filter { $0.value.slot == slot }.keys.sorted() }
    }

    /// Numbers of the slots that nobody may get, or `nil` when that cannot be told: no slot is known to be free then.
    var blockedSlots: Set<Int>? {
        entries.withLock { entries in
            let slots = entries.values.compactMap(\.slot?.index)
            return slots.count == entries.count ? Set(slots) : nil
        }
    }

    /// What it is time to try again.
    func due(_ now: ContinuousClock.Instant) -> [ContainerID] {
        entries.withLock { entries in entries.filter { $0.value.nextAttempt <= now }.keys.sorted() }
    }

    /// The attempt that is under way, or the one that `start` begins; `nil` when nothing is left any more.
    func attempt(
        _ container: ContainerID, _ start: (Entry) -> Task<FastableError?, Never>
    ) -> Task<FastableError?, Never>? {
        entries.withLock { entries in
            guard let entry = entries[container] else { return nil }
            if let attempt = entry.attempt { return attempt }
            let attempt = start(entry)
            entries[container]?.attempt = attempt
            return attempt
        }
    }

    private static func pause(after failures: Int) -> Duration {
        .seconds(min(Limits.removalRetryLongestSeconds, Limits.removalRetryFirstSeconds << min(failures - 1, 16)))
    }
}
