import FastableCore
import FoundationEssentials

/// Says in sentences why a container is as it is.
enum LifecycleText {
    private static let commandsNamed = 5

    /// `2 commands (exe_…, exe_…)`.
    static func commands(_ commands: [ExecID]) -> String {
        let names = commands.sorted().prefix(commandsNamed).map(\.description).joined(separator: ", ")
        let more = commands.count > commandsNamed ? ", …" : ""
        return "\(commands.count) command\(commands.count == 1 ? "" : "s") (\(names)\(more))"
    }

    static func text(_ explanation: ContainerExplanation, wall: Date) -> String {
        var sentences = [explanation.reason]
        switch explanation.state {
        case .running:
            let works = explanation.awakeBecause.filter { $0.kind != .recent }
            let recent = explanation.awakeBecause.first { $0.kind == .recent }
            if !works.isEmpty { sentences.append("It is kept awake by \(works.map(\.text).joined(separator: ", ")).") }
            if let recent { sentences.append(recent.text) }
            if explanation.policy.idle == nil { sentences.append("It is never suspended by itself.") }
        case .suspended:
            sentences.append(
                "Its processes stand still and go on when somebody needs them; its files can be used meanwhile.")
            if explanation.policy.stopAfter == nil { sentences.append("It is never stopped by itself.") }
        case .absent, .creating, .stopped, .archived, .deleting, .failed: break
        }
        if let disk = explanation.disk { sentences.append(disk.text) }
        for tally in explanation.limitHits ?? [] {
            let often = tally.count == 1 ? "once" : "\(tally.count) times"
            let ago = SpanText.of(.seconds(max(0, wall.timeIntervalSince(tally.at))))
            sentences.append("\(tally.hit.text) That happened \(often) since it was started, last \(ago) ago.")
        }
        if let next = explanation.next {
            sentences.append(
                "It will be \(word(next.step)) in \(SpanText.of(.seconds(next.inSeconds))) unless it is used before.")
        }
        return sentences.joined(separator: " ")
    }

    private static func word(_ step: ContainerExplanation.Next.Step) -> String {
        switch step {
        case .suspend: "suspended"
        case .stop: "stopped"
        case .archive: "archived"
        case .delete: "deleted"
        }
    }
}

extension LifecycleReconciler {
    /// What can be told of a container, its dates on the wall clock of now.
    static func explain(
        _ status: ContainerStatus, _ desired: Desired, _ observed: Observed, commands: [ExecID], now: Instant,
        wall: Date
    ) -> ContainerExplanation {
        func date(_ instant: Instant) -> Date { wall.addingTimeInterval((instant - now) / .seconds(1)) }
        let isRunning = observed.phase == .running
        let idle = observed.idle
        var works: [ContainerExplanation.Work] = []
        if isRunning {
            if !commands.isEmpty { works.append(.init(kind: .command, text: LifecycleText.commands(commands))) }
            works += idle.activeLeases(now).map {
                .init(kind: .lease, text: "the lease ‘\($0.reason)’", until: date($0.until))
            }
            if commands.isEmpty, let limit = desired.policy.idle, now < idle.lastAt + limit {
                let text = "\(SpanText.of(now - idle.lastAt)) ago \(idle.last.text)."
                works.append(.init(kind: .recent, text: text, until: date(idle.lastAt + limit)))
            }
        }
        let next = Self.next(desired, observed, now: now).map { next in
            let step: ContainerExplanation.Next.Step = if case .suspend = next.action { .suspend } else { .stop }
            let seconds = Int(max(.zero, next.at - now) / .seconds(1))
            return ContainerExplanation.Next(step: step, at: date(max(next.at, now)), inSeconds: seconds)
        }
        let since = isRunning ? idle.idleSince(runningCommands: commands.count, now: now) : nil
        var explanation = ContainerExplanation(
            project: status.project, state: status.state, since: status.since, reason: status.reason, text: "",
            idleSince: since.map(date), awakeBecause: works, next: next, policy: desired.policy,
            limitHits: status.limitHits, disk: status.disk, queue: status.queue,
            start: status.start)
        explanation.text = LifecycleText.text(explanation, wall: wall)
        return explanation
    }
}
