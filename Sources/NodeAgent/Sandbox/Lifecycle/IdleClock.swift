package import FastableCore

/// When something last worked in a container, and what does now. Pure: what happens comes as calls, time as a parameter.
package struct IdleClock: Sendable, Equatable {
    package typealias Instant = ContinuousClock.Instant

    /// What counts as work, apart from commands that run and leases.
    package enum Work: String, Sendable, CaseIterable {
        case start, wake, command, input, files, cpu

        var text: String {
            switch self {
            case .start: "it was started"
            case .wake: "it was woken"
            case .command: "a command ran"
            case .input: "a command was given input"
            case .files: "its files were used"
            case .cpu: "its processes used the CPU"
            }
        }
    }

    /// Somebody's wish to keep it awake.
    package struct Lease: Sendable, Equatable {
        package var reason: String
        package var until: Instant

        package init(reason: String, until: Instant) {
            self.reason = reason
            self.until = until
        }
    }

    package private(set) var last: Work = .start
    package private(set) var lastAt: Instant
    package private(set) var leases: [Lease] = []
    /// CPU time at the last look.
    private var cpu: (microseconds: UInt64, at: Instant)?

    package init(now: Instant) { lastAt = now }

    package static func == (left: Self, right: Self) -> Bool {
        left.last == right.last && left.lastAt == right.lastAt && left.leases == right.leases
            && left.cpu?.microseconds == right.cpu?.microseconds && left.cpu?.at == right.cpu?.at
    }

    // MARK: what happens

    package mutating func worked(_ work: Work, at now: Instant) {
        // Several threads tell; who comes late tells nothing new.
        guard now >= lastAt else { return }
        last = work
        lastAt = now
        // What it did before it slept, and what it does right after, are two things.
        if work == .start || work == .wake { cpu = nil }
    }

    /// The CPU time that the container has used so far.
    package mutating func cpuUsed(_ microseconds: UInt64, at now: Instant) {
        guard let before = cpu, microseconds >= before.microseconds, now > before.at else {
            cpu = (microseconds, now)
            return
        }
        let elapsed = now - before.at
        guard elapsed >= .milliseconds(Limits.idleCPUSampleMilliseconds) else { return }
        cpu = (microseconds, now)
        let share = Duration.microseconds(Int64(clamping: microseconds - before.microseconds)) / elapsed
        if share > Limits.idleCPUShare { worked(.cpu, at: now) }
    }

    /// A lease with the same reason is replaced; one that ends now or before is taken away.
    ///
    /// - Throws: `limit` when there are too many.
    package mutating func lease(_ reason: String, until: Instant, now: Instant) throws(FastableError) {
        leases.removeAll { $0.reason == reason || $0.until <= now }
        guard until > now else { return }
        guard leases.count < Limits.leasesPerProject else {
            throw FastableError(
                .limit,
                "The container is kept awake for \(Limits.leasesPerProject) reasons already. End one, or use one of their reasons.",
                details: ["limit": .integer(Int64(Limits.leasesPerProject))])
        }
        leases.append(Lease(reason: reason, until: until))
    }

    package mutating func endLeases() { leases = [] }

    // MARK: what follows

    /// Leases that have not ended.
    package func activeLeases(_ now: Instant) -> [Lease] { leases.filter { $0.until > now } }

    /// When it will have been without work for `idle`; `nil` while a command runs, whose end nobody knows.
    package func idleLongEnough(_ idle: Duration, runningCommands: Int) -> Instant? {
        guard runningCommands == 0 else { return nil }
        return max(lastAt + idle, leases.map(\.until).max() ?? lastAt)
    }

    /// Since when nothing has worked; `nil` while something does.
    package func idleSince(runningCommands: Int, now: Instant) -> Instant? {
        runningCommands == 0 && activeLeases(now).isEmpty ? lastAt : nil
    }
}
