package import FastableCore

/// Whom the output of one exec waits for: those who follow it, and for a while those who vanished. They may come back for bytes that
/// were on their way to them. Pure; time comes as a parameter.
package struct ExecFollowers {
    package typealias Instant = ContinuousClock.Instant

    /// An offset in each stream; `nil` where only the other one is followed.
    package struct Place: Equatable {
        package var stdout: UInt64?
        package var stderr: UInt64?

        package init(stdout: UInt64?, stderr: UInt64?) {
            self.stdout = stdout
            self.stderr = stderr
        }

        package subscript(channel: UInt8) -> UInt64? { channel == 1 ? stdout : stderr }

        func map(_ change: (UInt64) -> UInt64) -> Place {
            Place(stdout: stdout.map(change), stderr: stderr.map(change))
        }

        /// Where only one of both has an offset, that counts.
        func merged(with other: Place, _ choose: (UInt64, UInt64) -> UInt64) -> Place {
            func merge(_ mine: UInt64?, _ other: UInt64?) -> UInt64? {
                guard let mine, let other else { return mine ?? other }
                return choose(mine, other)
            }
            return Place(stdout: merge(stdout, other.stdout), stderr: merge(stderr, other.stderr))
        }
    }

    /// Who is away.
    private enum Who: Equatable {
        /// It gave itself a name, and comes back under it.
        case named(String)
        case nameless
        /// It follows one stream or both, and may have a name: it was there before this daemon, or has not come yet.
        case unknown
    }

    /// A follower that is away. It comes back between `lowest` and `highest`.
    private struct Absence {
        var who: Who
        var lowest: Place
        var highest: Place
        var until: Instant

        func joined(with other: Absence) -> Absence {
            Absence(
                who: who == other.who ? who : .unknown, lowest: lowest.merged(with: other.lowest, min),
                highest: highest.merged(with: other.highest, max), until: max(until, other.until))
        }

        func mayBe(_ place: Place) -> Bool {
            [UInt8(1), 2].allSatisfy { channel in
                switch (lowest[channel], highest[channel], place[channel]) {
                case (let lowest?, let highest?, let offset?): (lowest...highest).contains(offset)
                case (nil, nil, nil): true
                default: who == .unknown
                }
            }
        }
    }

    package let overflow: ExecOverflow
    private let slack: UInt64
    private let grace: Duration
    private var absences: [Absence] = []

    package init(
        overflow: ExecOverflow, slackBytes: Int = Limits.execReaderSlackBytes,
        grace: Duration = .seconds(Limits.execReaderGraceSeconds)
    ) {
        self.overflow = overflow
        self.grace = grace
        slack = UInt64(slackBytes)
    }

    package var absentCount: Int { absences.count }

    /// When the next one is given up.
    package var nextChange: Instant? { absences.map(\.until).min() }

    /// The first byte of a stream that must be kept when `slowest` is the lowest offset of those who read it now. `nil` when nobody
    /// needs any.
    package func needed(_ channel: UInt8, slowest: UInt64?) -> UInt64? {
        guard overflow == .slow else { return nil }
        let absent = absences.compactMap { $0.lowest[channel] }.min()
        return [slowest.map(behind), absent].compactMap(\.self).min()
    }

    private func behind(_ offset: UInt64) -> UInt64 { offset - min(offset, slack) }

    // MARK: events

    /// The exec begins: who asked for it may come to follow it from its first byte on.
    package mutating func started(now: Instant) {
        let place = Place(stdout: 0, stderr: 0)
        add(Absence(who: .unknown, lowest: place, highest: place, until: now + grace))
    }

    /// One that had come to `place` is gone.
    package mutating func vanished(at place: Place, name: String? = nil, now: Instant) {
        if let name { absences.removeAll { $0.who == .named(name) } }
        add(
            Absence(
                who: name.map { .named($0) } ?? .nameless, lowest: place.map(behind), highest: place,
                until: now + grace))
    }

    /// One begins at `place`. A name says which one of those that are away it is, also when its old connection is still there
    /// (`isKnown`). One without a name takes the place of one that it could be. When it could be several, nobody knows which of them are
    /// still away: what any of them needs stays needed.
    package mutating func began(at place: Place, name: String? = nil, isKnown: Bool = false) {
        if let name {
            let count = absences.count
            absences.removeAll { $0.who == .named(name) }
            if isKnown || absences.count < count { return }
        }
        let candidates = absences.indices.filter { index in
            switch absences[index].who {
            case .named: false
            case .nameless: name == nil && absences[index].mayBe(place)
            case .unknown: absences[index].mayBe(place)
            }
        }
        guard let taken = candidates.last else { return }
        let any = candidates.dropLast().reduce(absences[taken]) { $0.joined(with: absences[$1]) }
        for index in candidates { absences[index] = any }
        absences.remove(at: taken)
    }

    /// The daemon has taken over an exec that had `count` followers, as far as is known; there may have been one in any case. What is
    /// kept from `floor` on is all that they can get. They may be ahead of `head`: init still has to send some of it again.
    package mutating func recovered(_ count: Int, floor: Place, head: Place, now: Instant) {
        let absence = Absence(
            who: .unknown, lowest: floor, highest: head.map { $0 + UInt64(Limits.initRingBytes) }, until: now + grace)
        for _ in 0..<max(1, min(count, Limits.execReadersAwaited)) { add(absence) }
    }

    private mutating func add(_ absence: Absence) {
        guard overflow == .slow else { return }
        absences.append(absence)
        guard absences.count > Limits.execReadersAwaited else { return }
        // What is kept for the others covers most of what this one needs.
        let last = absences.indices.max { (absences[$0].lowest.stdout ?? 0) < (absences[$1].lowest.stdout ?? 0) }
        if let last { absences.remove(at: last) }
    }

    /// Gives up those whose time is over.
    package mutating func expire(now: Instant) { absences.removeAll { $0.until <= now } }

    // MARK: what the next daemon must know

    /// Policy and number of followers, for `recovered` after a restart of the daemon.
    package func note(present: Int) -> UInt32 {
        overflow == .drop ? 1 : UInt32(clamping: min(present + absences.count, Limits.execReadersAwaited)) << 1
    }

    package static func read(note: UInt32) -> (overflow: ExecOverflow, count: Int) {
        (note & 1 == 1 ? .drop : .slow, Int(note >> 1))
    }
}
