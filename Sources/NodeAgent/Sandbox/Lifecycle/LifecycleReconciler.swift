package import FastableCore

/// What is to become of a container, from what is wished, what is, and what time it is; nothing else goes in. Pure.
package enum LifecycleReconciler {
    package typealias Instant = ContinuousClock.Instant

    /// What an operator or the project's owner wants.
    package struct Desired: Sendable, Equatable {
        package enum Wish: String, Codable, Sendable, CaseIterable {
            /// It runs when somebody needs it, and goes down by its policy.
            case onDemand
            /// It shall not run until somebody needs it again.
            case stopped
        }

        package var wish: Wish
        package var policy: LifecyclePolicy

        package init(wish: Wish = .onDemand, policy: LifecyclePolicy) {
            self.wish = wish
            self.policy = policy
        }
    }

    package enum Phase: Sendable, Equatable {
        case running
        case suspended(since: Instant)
        /// There is none, or it is on its way to somewhere and has a deadline for that.
        case other
    }

    package struct Observed: Sendable, Equatable {
        package var phase: Phase
        package var idle: IdleClock
        package var runningCommands: Int

        package init(phase: Phase, idle: IdleClock, runningCommands: Int) {
            self.phase = phase
            self.idle = idle
            self.runningCommands = runningCommands
        }
    }

    package enum Action: Sendable, Equatable {
        case suspend(reason: String)
        case stop(reason: String)
    }

    /// The next step down, and when it is due unless something works before.
    package struct Next: Sendable, Equatable {
        package var action: Action
        package var at: Instant
    }

    /// At most one step; `nil` when nothing is to be done now.
    package static func action(_ desired: Desired, _ observed: Observed, now: Instant) -> Action? {
        guard let next = Self.next(desired, observed, now: now), next.at <= now else { return nil }
        return next.action
    }

    package static func next(_ desired: Desired, _ observed: Observed, now: Instant) -> Next? {
        if desired.wish == .stopped, observed.phase != .other {
            return Next(action: .stop(reason: "It was to be stopped, and that had not been done."), at: now)
        }
        switch observed.phase {
        case .other: return nil
        case .running:
            guard let idle = desired.policy.idle,
                let due = observed.idle.idleLongEnough(idle, runningCommands: observed.runningCommands)
            else { return nil }
            return Next(action: .suspend(reason: suspended(after: idle)), at: due)
        case .suspended(let since):
            guard let time = desired.policy.stopAfter else { return nil }
            return Next(action: .stop(reason: stopped(after: time)), at: since + time)
        }
    }

    /// A step that comes soon, when `told` is another one: it is announced before it is taken.
    package static func notice(_ desired: Desired, _ observed: Observed, told: Next?, now: Instant) -> Next? {
        guard desired.wish == .onDemand, let next = Self.next(desired, observed, now: now), next != told else {
            return nil
        }
        let lead =
            switch next.action {
            case .suspend: min(.seconds(Limits.suspendNoticeSeconds), (desired.policy.idle ?? .zero) / 2)
            case .stop: min(.seconds(Limits.stopNoticeSeconds), (desired.policy.stopAfter ?? .zero) / 2)
            }
        return next.at - lead <= now ? next : nil
    }

    private static func suspended(after idle: Duration) -> String {
        "Nothing worked in it for \(SpanText.of(idle)), so it was suspended. The next command wakes it."
    }

    private static func stopped(after time: Duration) -> String {
        "It was suspended for \(SpanText.of(time)), so it was stopped. It is made again on next use; files are kept."
    }
}
