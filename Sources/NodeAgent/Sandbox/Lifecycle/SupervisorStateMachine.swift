package import FastableCore
package import FoundationEssentials

/// Which of a project's supervised processes run, and when those that ended are started again. Pure.
///
/// Level-triggered: `reconcile` says what is to be done now, whatever has happened since the last time.
package struct SupervisorStateMachine: Sendable, Equatable {
    package typealias Instant = ContinuousClock.Instant

    package enum Phase: Sendable, Equatable {
        case running(ContainerID)
        /// Its processes stand still; nothing is done to them.
        case asleep(ContainerID)
        case none
    }

    package enum Action: Sendable, Equatable {
        case start(SupervisedProcess, ExecID)
        case end(ExecID)
    }

    /// A run that a later daemon must find again.
    package struct Recorded: Codable, Sendable, Equatable {
        package var name: String
        package var exec: ExecID
        package var generation: Int

        package init(name: String, exec: ExecID, generation: Int) {
            self.name = name
            self.exec = exec
            self.generation = generation
        }
    }

    fileprivate enum Run: Sendable, Equatable {
        /// Nothing of it runs in the present container.
        case none
        /// It was told to start.
        case running(ExecID, since: Instant)
        case ending(ExecID, retryAt: Instant)
        case waiting(until: Instant)
    }

    fileprivate struct Entry: Sendable, Equatable {
        var process: SupervisedProcess
        var run = Run.none
        /// Of what runs, or ran last.
        var generation = 0
        var last: ExecID?
        var failures = 0
        var problem: String?
    }

    private var entries: [Entry] = []
    private var container: ContainerID?
    private var phase = Phase.none

    package init() {}

    /// After a restart of the daemon. Whether the runs still last is told by `ended`.
    package init(found recorded: [Recorded], wanted: [SupervisedProcess], in container: ContainerID?, now: Instant) {
        self.container = container
        for run in recorded {
            // One that is wanted no more is still known, to be ended.
            let process =
                wanted.first { $0.name == run.name }
                ?? SupervisedProcess(name: run.name, arguments: [], isWanted: false, generation: run.generation)
            entries.append(
                Entry(
                    process: process, run: .running(run.exec, since: now), generation: run.generation, last: run.exec))
        }
    }

    // MARK: what happens

    /// - Parameter newID: gives a new id for each start.
    package mutating func reconcile(
        _ wanted: [SupervisedProcess], _ phase: Phase, now: Instant, newID: () -> ExecID
    ) -> [Action] {
        take(wanted)
        enter(phase)
        var actions: [Action] = []
        if case .running = phase {
            for index in entries.indices {
                if let action = entries[index].step(now, newID) { actions.append(action) }
            }
        }
        entries.removeAll { entry in
            entry.run == .none && !wanted.contains { $0.name == entry.process.name }
        }
        return actions
    }

    private mutating func take(_ wanted: [SupervisedProcess]) {
        for index in entries.indices {
            let name = entries[index].process.name
            if let process = wanted.first(where: { $0.name == name }) {
                entries[index].process = process
            } else {
                entries[index].process.isWanted = false
            }
        }
        for process in wanted where !entries.contains(where: { $0.process.name == process.name }) {
            entries.append(Entry(process: process))
        }
    }

    private mutating func enter(_ phase: Phase) {
        self.phase = phase
        let present: ContainerID? =
            switch phase {
            case .running(let id), .asleep(let id): id
            case .none: nil
            }
        guard present != container else { return }
        container = present
        // All runs have ended with their container, which is nothing that they failed in.
        for index in entries.indices {
            entries[index].run = .none
            entries[index].failures = 0
            entries[index].problem = nil
        }
    }

    /// A run has ended with all that it started, by itself or because it was told to, or could not begin. Late news of other runs change nothing.
    package mutating func ended(_ exec: ExecID, problem: String? = nil, now: Instant) {
        for index in entries.indices { entries[index].ended(exec, problem, now) }
    }

    // MARK: what is

    package var isEmpty: Bool { entries.isEmpty }

    /// Runs that are under way, as far as this knows.
    package var runs: Set<ExecID> { Set(recorded.map(\.exec)) }

    package var recorded: [Recorded] {
        entries.compactMap { entry in
            switch entry.run {
            case .running(let exec, _), .ending(let exec, _):
                Recorded(name: entry.process.name, exec: exec, generation: entry.generation)
            case .none, .waiting: nil
            }
        }
    }

    /// When `reconcile` is to be called next, if nothing happens before.
    package var deadline: Instant? {
        guard case .running = phase else { return nil }
        return entries.compactMap { entry in
            switch entry.run {
            case .waiting(let until) where entry.process.isWanted: until
            case .ending(_, let retryAt): retryAt
            case .none, .running, .waiting: nil
            }
        }.min()
    }

    /// - Parameter date: what a moment is on the wall's clock.
    package func statuses(_ date: (Instant) -> Date) -> [SupervisedStatus] {
        entries.map { entry in
            var status = SupervisedStatus(
                name: entry.process.name, state: .stopped, exec: entry.last, failures: entry.failures,
                problem: entry.problem)
            switch (entry.process.isWanted, entry.run, phase) {
            case (false, _, _): break
            case (true, _, .none), (true, _, .asleep): status.state = .resting
            case (true, .waiting(let until), .running): (status.state, status.retryAt) = (.waiting, date(until))
            case (true, _, .running): status.state = .running
            }
            return status
        }
    }
}

extension SupervisorStateMachine.Entry {
    fileprivate mutating func step(
        _ now: ContinuousClock.Instant, _ newID: () -> ExecID
    ) -> SupervisorStateMachine.Action? {
        let isOld = generation != process.generation
        switch run {
        case .running(let exec, _), .ending(let exec, _):
            if case .ending(_, let retryAt) = run, now < retryAt { return nil }
            if case .running = run, process.isWanted, !isOld { return nil }
            run = .ending(exec, retryAt: now + .seconds(Limits.supervisedEndRetrySeconds))
            return .end(exec)
        case .waiting(let until):
            guard process.isWanted, !isOld else {
                (run, failures, problem) = (.none, 0, nil)
                return process.isWanted ? start(now, newID) : nil
            }
            return until <= now ? start(now, newID) : nil
        case .none:
            return process.isWanted ? start(now, newID) : nil
        }
    }

    private mutating func start(
        _ now: ContinuousClock.Instant, _ newID: () -> ExecID
    ) -> SupervisorStateMachine.Action {
        let exec = newID()
        (run, generation, last) = (.running(exec, since: now), process.generation, exec)
        return .start(process, exec)
    }

    fileprivate mutating func ended(_ exec: ExecID, _ problem: String?, _ now: ContinuousClock.Instant) {
        switch run {
        case .ending(exec, _):
            (run, failures, self.problem) = (.none, 0, nil)
        case .running(exec, let since):
            let hasSettled = now - since >= .seconds(Limits.supervisedSettledSeconds)
            failures = hasSettled ? 1 : failures + 1
            self.problem = problem
            let pause = Limits.supervisedPauseFirstSeconds << min(failures - 1, 16)
            run = .waiting(until: now + .seconds(min(pause, Limits.supervisedPauseLongestSeconds)))
        case .none, .waiting, .running, .ending: break
        }
    }
}
