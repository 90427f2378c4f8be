public import FastableCore
import Logging
import NodeLinux
import Synchronization

/// How far down containers are, and what takes them further.
extension SandboxManager {
    private func known(_ project: ProjectID) throws -> Sandbox {
        guard let sandbox = sandboxes[project] else {
            throw FastableError(.notFound, "The node has nothing of the project ‘\(project)’ yet.")
        }
        return sandbox
    }

    /// Stops all processes of a container, which go on when somebody needs them. Nothing happens when none runs.
    ///
    /// - Throws: `conflict` naming what works in it unless `force`, `unavailable` when they do not stand still in time.
    public func suspend(_ project: ProjectID, force: Bool) async throws {
        try await known(project).suspend(
            reason: "It was suspended because somebody asked for that. The next command wakes it.", force: force)
    }

    /// The project's container with its processes running: one that is suspended is woken, and none is made.
    @discardableResult
    public func awake(_ project: ProjectID, toEnd: Bool = false) async throws -> RunningContainer? {
        try await sandboxes[project]?.awake(toEnd: toEnd)
    }

    /// Somebody needs a running command to go on; cheap when its container is awake.
    public nonisolated func needsCommand(of project: ProjectID) async throws {
        let activity = activities.withLock { $0[project] }
        if activity?.worked(.input) == true { try await awake(project) }
    }

    /// Somebody uses the project's files, until the answer's end; `nil` when the node has none.
    ///
    /// - Throws: `unavailable` while they are given up.
    @discardableResult
    public nonisolated func usesFiles(of project: ProjectID) throws(FastableError) -> FileUse? {
        guard let activity = activities.withLock({ $0[project] }) else { return nil }
        return try activity.beginFiles()
    }

    /// Ends the container and keeps the files. Nothing happens when there is none.
    public func stop(_ project: ProjectID, reason: String) async {
        await sandboxes[project]?.stopAsked(reason: reason)
    }

    /// The same, with regard to what works in it.
    ///
    /// - Throws: `conflict` naming that, when it is to be spared.
    public func stop(_ wish: ContainerStop) async throws {
        guard let sandbox = sandboxes[wish.project] else { return }
        switch wish.manner ?? .now {
        case .now: await sandbox.stopAsked(reason: wish.reason)
        case .idle: try await sandbox.stopUnlessWorking(reason: wish.reason)
        case .grace: await sandbox.stopWithGrace(reason: wish.reason)
        }
    }

    public func explain(_ project: ProjectID) async throws -> ContainerExplanation {
        try await known(project).explain()
    }

    /// Keeps a container awake for some seconds, 0 of them end it. See `ContainerKeepAwake`.
    public func keepAwake(_ project: ProjectID, seconds: Int, reason: String?) async throws {
        guard (0...Limits.keepAwakeSecondsHighest).contains(seconds) else {
            throw FastableError(
                .unprocessable, "‘seconds’ must be in the range 0 to \(Limits.keepAwakeSecondsHighest).",
                details: ["field": .string("seconds")])
        }
        try await known(project).keepAwake(seconds: seconds, reason: reason)
    }

    /// Takes settings that were changed while this node was away.
    public func setSettings(_ settings: ContainerPolicy) async throws {
        let policy = try settings.policy.validated()
        let limits = try settings.limits?.validated()
        try await known(settings.project).set(
            policy: policy, limits: limits, supervised: settings.supervised, revision: settings.revision)
    }

    /// Changes what a container may use, without a new one.
    ///
    /// - Throws: `conflict` with the numbers when it uses more already; nothing has changed then.
    public func setLimits(_ limits: ResourceLimits, revision: Int, of project: ProjectID) async throws {
        try await known(project).set(limits: limits, revision: revision)
    }

    // MARK: what happens by itself

    /// Suspends what is idle and stops what was suspended for long. Takes no input but what is; call it every few seconds.
    public func sweep(_ now: ContinuousClock.Instant = .now) async {
        guard !isClosed else { return }
        let all = Array(sandboxes.values)
        await countUse(all.map(\.activity), now)
        for sandbox in all {
            if let notice = sandbox.activity.takeNotice(at: now) { await sandbox.announce(notice, now) }
        }
        await Self.forEach(all.filter { $0.activity.action(at: now) != nil }) { await $0.reconcile(now) }
        for sandbox in all { await sandbox.noteFileUse() }
    }

    private func countUse(_ activities: [ProjectActivity], _ now: ContinuousClock.Instant) async {
        let counted = activities.compactMap { activity in activity.countedGroup.map { (activity, $0) } }
        guard !counted.isEmpty else { return }
        let (cgroups, log) = (host.cgroups, host.kernelLog)
        let times = try? await BlockingPool.shared.run {
            // So that little is left to read when somebody waits for it.
            log.read()
            return counted.map { activity, group in
                activity.limits.look()
                return try? cgroups.cpuMicroseconds(of: group)
            }
        }
        for ((activity, _), time) in zip(counted, times ?? []) {
            if let time { activity.cpuUsed(time, at: now) }
        }
    }

    /// Takes back memory of containers that were suspended since the last call, one after the other.
    public func reclaimMemory() async {
        for activity in sandboxes.values.map(\.activity) {
            guard !isClosed, let group = activity.takeReclaim() else { continue }
            let cgroups = host.cgroups
            do {
                try await BlockingPool.shared.run {
                    try cgroups.reclaim(group, stepBytes: Limits.reclaimStepBytes) { activity.isAsleep }
                }
            } catch {
                // It may have ended meanwhile. Its memory stays where it is.
                host.logger.debug("memory was not taken back", metadata: ["group": "\(group)", "error": "\(error)"])
            }
        }
    }
}
