import FastableCore

/// How fast containers are started: some begin at once, and then so many a minute. Pure: the time is handed in.
///
/// A bucket from which each start takes one, kept as the moment at which the next would begin if they came evenly.
package struct StartRate: Sendable {
    package typealias Instant = ContinuousClock.Instant

    private let interval: Duration
    /// How far starts may be before an even pace.
    private let ahead: Duration
    private var next: Instant?

    package init(perMinute: Int, burstSeconds: Int = Limits.startBurstSeconds) {
        let perMinute = max(1, perMinute)
        interval = .seconds(60) / perMinute
        ahead = interval * (max(1, perMinute * burstSeconds / 60) - 1)
    }

    /// Until that many more have begun, if each begins as soon as it may.
    package func wait(for count: Int, now: Instant) -> Duration {
        max(.zero, max(next ?? now, now) - now + interval * (count - 1) - ahead)
    }

    /// One begins.
    package mutating func take(now: Instant) { next = max(next ?? now, now) + interval }
}
