/// Whether a change that was asked for under an idempotency key is asked for again, and when. Pure; time comes as a parameter.
package struct OnceAttempts {
    package typealias Instant = ContinuousClock.Instant

    private var reattachment = Reattachment()
    /// Nobody knows whether it has begun.
    private var isInDoubt = false

    package init() {}

    /// How long to wait before the next attempt; `nil` when there is none: what certainly has not begun is told at once, and what may
    /// have is asked for as long as a lost connection is waited for.
    package mutating func pause(after error: FastableError, now: Instant) -> Duration? {
        guard error.code == .unavailable, error.details["killSwitch"] == nil else { return nil }
        isInDoubt = isInDoubt || error.details["isAnswerLost"] == true || error.details["execId"] != nil
        guard isInDoubt else { return nil }
        return reattachment.pause(after: error.code, attachedFor: nil, now: now)
    }
}
