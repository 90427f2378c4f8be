import FastableCore
import FoundationEssentials
import Logging
import NodeLinux

/// Programs that run whenever the container does.
extension Sandbox {
    var wantedProcesses: [SupervisedProcess] { record.spec.supervised ?? [] }

    /// Takes what is wanted by now; `true` when that changes something.
    func takeSupervised(_ wanted: [SupervisedProcess]?, revision: Int?) -> Bool {
        guard !isOutdated(revision), wantedProcesses != wanted ?? [] else { return false }
        record.spec.supervised = wanted
        return true
    }

    func superviseLater() {
        guard !supervisor.isEmpty || !wantedProcesses.isEmpty else { return }
        Task { await supervise() }
    }

    /// Starts what is wanted and does not run, and ends what runs and is not wanted. Takes no input but what is; may be called at any
    /// time, and returns when that has been done.
    func supervise() async {
        let turn = Task { [previous = supervision] in
            await previous?.value
            await superviseNow()
        }
        supervision = turn
        await turn.value
    }

    private func superviseNow() async {
        guard !isRecovering, !isDeleted, !isLeaving, !isEnding else { return }
        guard !supervisor.isEmpty || !wantedProcesses.isEmpty else { return }
        let container = running?.container
        let before = supervisor.recorded
        let actions = supervisor.reconcile(wantedProcesses, phase(container), now: .now) { ExecID() }
        activity.set(supervised: supervisor.runs)
        // Before anything starts: a daemon that takes over finds by it what runs, and starts none of it twice.
        let refusal = supervisor.recorded == before ? nil : await keepRuns()
        if let container {
            for action in actions { await carryOut(action, container, unless: refusal) }
            for exec in supervisor.runs.subtracting(watchedRuns) { await watch(exec, container) }
        }
        superviseAtDeadline()
    }

    private func phase(_ container: RunningContainer?) -> SupervisorStateMachine.Phase {
        switch machine.state {
        case .running(let id), .suspending(let id, _, _): container?.id == id ? .running(id) : .none
        // Nothing is done to it before it is awake.
        case .suspended(let id, _), .resuming(let id, _): .asleep(id)
        case .absent, .creating, .stopping, .stopped, .deleting, .failed: .none
        }
    }

    /// Why the disk has not taken what runs now.
    private func keepRuns() async -> FastableError? {
        record.supervised = supervisor.recorded
        do { try await save() } catch { return FastableError.unexpected(error, doing: "storing what runs") }
        return nil
    }

    private func carryOut(
        _ action: SupervisorStateMachine.Action, _ known: RunningContainer, unless refusal: FastableError?
    ) async {
        var container = known
        switch action {
        case .start(let process, let exec):
            do {
                if let refusal { throw refusal }
                try checkSwitches(record.spec)
                if let image = running?.imageEnvironment {
                    container.environment = image.merging(record.spec.environment) { $1 }
                }
                let (command, user) = try await container.prepared(process.command)
                // Not as somebody's work: nothing is kept awake by it.
                _ = try await container.execs.start(
                    exec: exec, container: container.id, command: command, user: user)
                logger.info("supervised process started", metadata: ["name": "\(process.name)", "exec": "\(exec)"])
            } catch {
                let failure = FastableError.unexpected(error, doing: "starting ‘\(process.name)’")
                logger.warning(
                    "a supervised process cannot be started",
                    metadata: ["name": "\(process.name)", "error": "\(failure)"])
                supervisor.ended(exec, problem: failure.message, now: .now)
            }
        case .end(let exec):
            // Until it is confirmed, the end is asked for again and again.
            let grace = Duration.seconds(Limits.supervisedGraceSeconds)
            Task { [logger, execs = container.execs] in
                do { _ = try await execs.end(exec, signal: 15, grace: grace) } catch {
                    logger.info("a supervised process was not ended", metadata: ["error": "\(error)"])
                }
            }
        }
    }

    /// Hears when a run ends, ends what it left running, and tells.
    private func watch(_ exec: ExecID, _ container: RunningContainer) async {
        guard watchedRuns.insert(exec).inserted else { return }
        let session: ExecSession
        do { session = try await container.execs.session(exec) } catch { return runEnded(exec) }
        Task { [weak self, execs = container.execs] in
            let reader = session.events(last: 0, only: Self.noChannel, follows: false)
            do { while try await reader.next() != nil {} } catch {
                // The daemon goes, or has lost the container for a moment; the run does not.
                if session.status.running, (error as? FastableError)?.code == .unavailable {
                    await self?.unwatch(exec)
                    return
                }
            }
            while self != nil, await !Self.isCleared(exec, execs) {
                try? await Task.sleep(for: .seconds(Limits.supervisedEndRetrySeconds))
            }
            await self?.runEnded(exec)
        }
    }

    /// What it has started in the background may hold its port: the next run begins when nothing of this one is left.
    private static func isCleared(_ exec: ExecID, _ execs: ExecTable) async -> Bool {
        let grace = Duration.seconds(Limits.supervisedGraceSeconds)
        do { return try await execs.end(exec, signal: 15, grace: grace).everythingEnded } catch {
            let code = (error as? FastableError)?.code
            return code == .gone || code == .notFound
        }
    }

    /// None of a command's: only its end is waited for.
    private static let noChannel: UInt8 = 0

    /// The next look watches it again.
    private func unwatch(_ exec: ExecID) {
        watchedRuns.remove(exec)
    }

    private func runEnded(_ exec: ExecID) {
        watchedRuns.remove(exec)
        supervisor.ended(exec, now: .now)
        superviseLater()
    }

    private func superviseAtDeadline() {
        supervisionTimer?.cancel()
        guard let deadline = supervisor.deadline else { return }
        supervisionTimer = Task { [weak self] in
            try? await Task.sleep(until: deadline, clock: .continuous)
            if !Task.isCancelled { await self?.supervise() }
        }
    }

    /// What an earlier run of the daemon left, see `recover`.
    func recoverSupervised() {
        let found = machine.container == nil ? [] : record.supervised ?? []
        supervisor = SupervisorStateMachine(found: found, wanted: wantedProcesses, in: machine.container, now: .now)
        activity.set(supervised: supervisor.runs)
    }

    var supervisedStatuses: [SupervisedStatus]? {
        let (now, wall) = (ContinuousClock.now, Date())
        let statuses = supervisor.statuses { wall.addingTimeInterval(($0 - now) / .seconds(1)) }
        return statuses.isEmpty ? nil : statuses
    }
}
