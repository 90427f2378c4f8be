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

    /// Somebody uses the project's files, for which its container need not be awake.
    public nonisolated func usesFiles(of project: ProjectID) {
        _ = activities.withLock { $0[project] }?.worked(.files)
    }

    /// Ends the container and keeps the files. Nothing happens when there is none.
    public func stop(_ project: ProjectID, reason: String) async {
        await sandboxes[project]?.stopAsked(reason: reason)
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

    public func setPolicy(_ policy: LifecyclePolicy, of project: ProjectID) async throws {
        try await known(project).set(policy: policy)
    }

    // MARK: what happens by itself

    /// Suspends what is idle and stops what was suspended for long. Takes no input but what is; call it every few seconds.
    public func sweep(_ now: ContinuousClock.Instant = .now) async {
        guard !isClosed else { return }
        let all = Array(sandboxes.values)
        await countCPU(all.map(\.activity), now)
        await Self.forEach(all.filter { $0.activity.action(at: now) != nil }) { await $0.reconcile(now) }
    }

    private func countCPU(_ activities: [ProjectActivity], _ now: ContinuousClock.Instant) async {
        let counted = activities.compactMap { activity in activity.countedGroup.map { (activity, $0) } }
        guard !counted.isEmpty else { return }
        let cgroups = host.cgroups
        let times = try? await BlockingPool.shared.run {
            counted.map { try? cgroups.cpuMicroseconds(of: $0.1) }
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
