package import FastableCore

/// How often a node may renew its certificate: so many times in any hour. A node that cannot keep what it gets would otherwise have
/// the authority sign without end. Time is handed in.
package struct RenewalLimit: Sendable {
    package typealias Instant = ContinuousClock.Instant
    private static let span = Duration.seconds(3600)

    /// When each node renewed lately, oldest first.
    private var taken: [NodeID: [Instant]] = [:]

    package init() {}

    /// `nil` when the node may renew now, which is counted; otherwise how long it has to wait.
    package mutating func take(_ node: NodeID, now: Instant) -> Duration? {
        taken = taken.compactMapValues { times in
            let recent = times.filter { now - $0 < Self.span }
            return recent.isEmpty ? nil : recent
        }
        let times = taken[node, default: []]
        if times.count >= Limits.certificateRenewalsPerHour, let oldest = times.first {
            return Self.span - (now - oldest)
        }
        taken[node] = times + [now]
        return nil
    }
}
