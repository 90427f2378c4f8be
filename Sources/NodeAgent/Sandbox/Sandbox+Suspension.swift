import FastableCore
import FoundationEssentials
import Logging
import NodeLinux

/// Standing still and going on.
extension Sandbox {
    /// Stops all processes of the container, which go on when somebody needs them. Nothing happens when none runs.
    ///
    /// - Throws: `conflict` naming what works in it unless `force`, `unavailable` when they do not stand still in time.
    func suspend(reason: String, force: Bool) async throws {
        try await suspend(reason: reason) { [activity] in force ? nil : activity.objection(at: .now) }
    }

    func suspend(reason: String, unless objection: () -> FastableError?) async throws {
        try checkNotDeleted()
        guard case .running = machine.state else {
            return try await follow(machine.suspend(reason: reason, now: .now))
        }
        let running = Set(activity.runningCommands)
        // Who begins to work from here on sees that it sleeps, and wakes it; what began before is seen by the objection.
        activity.fallsAsleep()
        if let objection = objection() {
            activity.fallsAsleep(false)
            throw objection
        }
        frozenCommands = running
        try await follow(machine.suspend(reason: reason, now: .now))
    }

    private func follow(_ action: SandboxStateMachine.SuspendAction) async throws {
        switch action {
        case .nothing: return
        case .refuse(let error): throw error
        case .freeze(let id):
            freezing = Task { await freeze(id) }
            watchDeadline()
        case .join: break
        }
        await freezing?.value
        switch machine.state {
        case .running, .suspending, .resuming:
            throw FastableError(
                .unavailable,
                "The container runs: somebody needed it meanwhile, or its processes did not stand still in time.",
                retryAfterSeconds: 5)
        case .absent, .creating, .suspended, .stopping, .stopped, .deleting, .failed: return
        }
    }

    private func freeze(_ id: ContainerID) async {
        let (cgroups, group) = (host.cgroups, host.group(id))
        do {
            try await inTurn { try cgroups.freeze(group) }
            let isComplete = try await BlockingPool.shared.run { [activity] in
                try cgroups.awaitFrost(of: group, milliseconds: Limits.containerSuspendSeconds * 1000) {
                    activity.isAsleep
                }
            }
            // When it is not, the deadline lets go of them.
            guard isComplete, machine.frozen(id) else { return }
        } catch {
            logger.error("a container cannot be suspended", metadata: ["container": "\(id)", "error": "\(error)"])
            if machine.freezeFailed(id, now: .now) { beginResume(id) }
            return
        }
        watchDeadline()
        activity.sleeps(group, since: .now)
        noteState()
        logger.info("container suspended", metadata: ["container": "\(id)", "reason": "\(machine.reason)"])
        saveLater()
    }

    /// The container with its processes running; `nil` when there is none. To end something in it, it is woken also when a kill switch
    /// lets nothing begin.
    func awake(toEnd: Bool = false) async throws -> RunningContainer? {
        if !toEnd, machine.publicState == .suspended {
            try checkSwitches(record.spec)
            try checkLease()
        }
        try await follow(machine.wake(now: .now))
        return running?.container
    }

    func follow(_ action: SandboxStateMachine.WakeAction) async throws {
        switch action {
        case .nothing: return
        case .resume(let id): beginResume(id)
        case .join: break
        }
        try await resuming?.value
    }

    /// Whoever waits for its end is told what became of it.
    func beginResume(_ id: ContainerID) {
        watchDeadline()
        activity.isWoken()
        resuming = Task { try await resume(id) }
    }

    private func resume(_ id: ContainerID) async throws {
        do {
            let (cgroups, group) = (host.cgroups, host.group(id))
            try await inTurn { try cgroups.thaw(group) }
            try await connectIfNeeded(id)
            guard machine.resumed(id) else { throw Self.endedMeanwhile }
        } catch {
            let failure = FastableError.unexpected(error, doing: "waking the container")
            logger.error("a container cannot be woken", metadata: ["container": "\(id)", "error": "\(failure)"])
            let reason = "It could not be woken, so it was ended. It is made again on next use; files are kept."
            if let id = machine.resumeFailed(id, reason: reason, now: .now) { remove(id) }
            throw failure
        }
        watchDeadline()
        activity.runs(host.group(id), running?.container?.execs, .wake)
        noteState()
        saveLater()
    }

    private static let endedMeanwhile = FastableError(
        .unavailable, "The container was stopped while it was woken.", retryAfterSeconds: 1)

    /// One that stood still when the daemon started has not been talked to yet.
    private func connectIfNeeded(_ id: ContainerID) async throws {
        guard let found = running, found.container == nil else { return }
        let (container, environment) = try await connect(id, found.process, try await volume())
        guard case .resuming(id, _) = machine.state, running != nil else {
            await container.execs.close(containerEnded: true)
            throw Self.endedMeanwhile
        }
        running?.container = container
        running?.imageEnvironment = environment
    }

    /// What the freezer is told is carried out in the order in which it was decided.
    private func inTurn(_ body: @escaping @Sendable () throws -> Void) async throws {
        let turn = Task { [previous = freezerTurn] in
            _ = await previous?.result
            try await BlockingPool.shared.run(body)
        }
        freezerTurn = turn
        try await turn.value
    }

    /// The kernel tells after a restart of the daemon whether a container stands still; the record has the reason and the time.
    func saveLater() {
        Task {
            do { try await save() } catch {
                logger.warning("the record of a project cannot be stored", metadata: ["error": "\(error)"])
            }
        }
    }
}

/// What the reconciler and people want of it.
extension Sandbox {
    /// Tells that a step comes.
    func announce(_ next: LifecycleReconciler.Next, _ now: ContinuousClock.Instant) {
        guard let container = machine.container else { return }
        let (to, word): (ContainerState, String) =
            if case .suspend = next.action { (.suspended, "suspended") } else { (.stopped, "stopped") }
        let left = max(.zero, next.at - now)
        host.transitions.record(
            project, container, from: machine.publicState, to: to,
            reason: "It will be \(word) in \(SpanText.of(left)) unless it is used before.",
            due: Date(timeIntervalSinceNow: left / .seconds(1)))
    }

    /// Carries out what is due now, if anything still is.
    func reconcile(_ now: ContinuousClock.Instant) async {
        switch activity.action(at: now) {
        case nil: return
        case .stop(let reason):
            if case .suspended = machine.state, !closesIfNothingRuns() { return }
            await stop(reason: reason)
        case .suspend(let reason):
            do {
                try await suspend(reason: reason) { [activity] in
                    guard case .suspend = activity.action(at: now) else {
                        return FastableError(.conflict, "Something works in it by now.")
                    }
                    return nil
                }
            } catch {
                logger.info("a container was not suspended", metadata: ["reason": "\(error)"])
            }
        }
    }

    /// Ends the container because somebody wants that. The wish is stored first, if the disk takes it: a daemon that starts anew carries
    /// it out.
    func stopAsked(reason: String) async {
        if machine.container != nil {
            set(wish: .stopped)
            try? await save()
        }
        await stop(reason: reason)
    }

    func set(wish: LifecycleReconciler.Desired.Wish) {
        guard record.wish ?? .onDemand != wish else { return }
        record.wish = wish
        activity.set(record.desired)
    }

    func keepAwake(seconds: Int, reason: String?) async throws {
        let now = ContinuousClock.now
        if seconds > 0, machine.publicState != .running, machine.publicState != .suspended {
            throw FastableError(
                .conflict, "No container runs that could be kept awake. Start it first with devcontainer.ensure.")
        }
        try activity.lease(seconds == 0 ? reason : reason ?? "kept awake", until: now + .seconds(seconds), now: now)
        noteLeases(now)
        try await save()
        if seconds > 0 { _ = try await awake() }
    }

    private func noteLeases(_ now: ContinuousClock.Instant) {
        let moment = BootMoment.now()
        record.leases = activity.leases.map { lease in
            ProjectRecord.Lease(reason: lease.reason, until: BootMoment(lease.until, now: (moment, now)))
        }
    }

    func explain() -> ContainerExplanation {
        let now = ContinuousClock.now
        let (desired, observed) = activity.observed(at: now)
        return LifecycleReconciler.explain(
            status(), desired, observed, commands: activity.runningCommands, now: now, wall: Date())
    }
}
