import FastableCore

/// How long a node waits before it dials again: exponential with full jitter, so that a fleet does not return as one wave.
/// Source of the method: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015 ("full jitter").
public struct ReconnectBackoff: Sendable, Equatable {
    private var failures = 0

    public init() {}

    /// The pause after one more failure. `random` is in 0..<1.
    public mutating func nextPause(random: Double) -> Duration {
        let doublings = min(failures, 20)
        failures += 1
        let ceiling = min(
            Limits.reconnectLongestMilliseconds, Limits.reconnectFirstMilliseconds * (1 << doublings))
        return .milliseconds(Int64((Double(ceiling) * min(max(random, 0), 1)).rounded()))
    }

    /// A link that lived counts as success: the next failure starts small again.
    public mutating func connected() { failures = 0 }
}
