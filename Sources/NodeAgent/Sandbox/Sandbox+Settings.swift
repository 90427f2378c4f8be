import FastableCore
import Logging
import NodeLinux

/// What may be changed of a container while it runs.
extension Sandbox {
    /// What a container is made for. Older settings than those on record are not taken back.
    func take(_ spec: ContainerSpec, _ limits: ResourceLimits) {
        let known = record.spec
        let isLate = isOutdated(spec.revision)
        record.spec = spec
        record.spec.limits = isLate ? known.limits : limits
        record.spec.supervised = isLate ? known.supervised : spec.supervised
        record.spec.lifecycle = (isLate ? nil : spec.lifecycle) ?? known.lifecycle
        record.spec.revision = isLate ? known.revision : spec.revision
        refusedLimits = nil
        activity.set(record.desired)
    }

    /// Settings that were on their way while newer ones came.
    func isOutdated(_ revision: Int?) -> Bool { (revision ?? 0) < (record.spec.revision ?? 0) }

    func set(
        policy: LifecyclePolicy, limits: ResourceLimits?, supervised: [SupervisedProcess]?, revision: Int?
    ) async throws {
        if let limits { try await takeLimits(limits, revision: revision) }
        _ = takeSupervised(supervised, revision: revision)
        _ = takePolicy(policy, revision: revision)
        // Also when a call brought it before: who hears that it is known may rely on it over the daemon's end.
        try await save()
        await supervise()
    }

    /// `true` when that changes something.
    func takePolicy(_ policy: LifecyclePolicy?, revision: Int?) -> Bool {
        guard let policy, !isOutdated(revision) else { return false }
        record.spec.revision = revision ?? record.spec.revision
        guard record.spec.lifecycle != policy else { return false }
        record.spec.lifecycle = policy
        activity.set(record.desired)
        return true
    }

    // MARK: limits

    /// Limits that come along with something else, which must not fail because of them: what cannot be in force now will be with the
    /// next container.
    func takeLimits(_ limits: ResourceLimits, revision: Int?) async throws {
        guard limits != record.spec.limits, limits != refusedLimits, !isOutdated(revision) else { return }
        do { try await set(limits: limits, revision: revision ?? 0) } catch {
            try Task.checkCancellation()
            refusedLimits = limits
            logger.warning("limits of a container cannot be changed", metadata: ["error": "\(error)"])
        }
    }

    /// Puts limits in force and on record, one change after the other.
    ///
    /// - Throws: `conflict` with the numbers when the container uses more already; nothing has changed then.
    func set(limits: ResourceLimits, revision: Int) async throws {
        let turn = Task { [previous = limitsTurn] in
            _ = await previous?.result
            try await change(limits, revision)
        }
        limitsTurn = turn
        try await turn.value
    }

    private func change(_ limits: ResourceLimits, _ revision: Int) async throws {
        try checkNotDeleted()
        // A container that is being made has been told its limits already.
        while case .creating = machine.state, let start { _ = await start.result }
        guard !isOutdated(revision) else { return }
        let before = record.spec
        try await resizeDisk(limits, before: before.limits)
        do { try await putInForce(limits, before: before.limits) } catch {
            try? await resizeDisk(before.limits, before: limits)
            throw error
        }
        record.spec.limits = limits
        record.spec.revision = max(revision, record.spec.revision ?? 0)
        do { try await save() } catch {
            record.spec.limits = before.limits
            record.spec.revision = before.revision
            try? await putInForce(before.limits, before: limits)
            try? await resizeDisk(before.limits, before: limits)
            throw error
        }
        refusedLimits = nil
        activity.limits.changed(limits, diskBytes: diskUse?.limitBytes)
        logger.info("limits changed", metadata: ["limits": "\(limits)"])
    }

    /// A disk that is not open yet gets its size when it is.
    private func resizeDisk(_ limits: ResourceLimits, before: ResourceLimits) async throws {
        guard limits.diskBytes != before.diskBytes else { return }
        try await BlockingPool.shared.run { [host, project, directory] in
            try directory.write {
                try host.disk.resize(host.paths.project(project), from: before.diskBytes, to: limits.diskBytes)
            }
        }
    }

    /// Without a container there is nothing to do: the next one gets what is on record.
    private func putInForce(_ limits: ResourceLimits, before: ResourceLimits) async throws {
        guard limits != before, let id = living else { return }
        let (cgroups, group) = (host.cgroups, host.group(id))
        do {
            try await BlockingPool.shared.run { try cgroups.change(group, from: before, to: limits) }
        } catch {
            // It may have ended meanwhile, and its group with it.
            guard living == id else { return }
            throw error
        }
    }

    /// The incarnation that has processes.
    private var living: ContainerID? {
        switch machine.state {
        case .running(let id), .suspending(let id, _, _), .suspended(let id, _), .resuming(let id, _): id
        case .absent, .creating, .stopping, .stopped, .deleting, .failed: nil
        }
    }
}

/// Limits that the container comes to.
extension Sandbox {
    var limitHits: [LimitTally]? {
        let tallies = activity.limits.tallies
        return tallies.isEmpty ? nil : tallies
    }

    func watchLimits(of id: ContainerID, isNew: Bool) {
        let subject = LimitWatch.Subject(
            container: id, limits: record.spec.limits, counters: host.cgroups.limitCounters(of: host.group(id)),
            users: slot.uidBase..<slot.uidBase + Slot.idCount, log: host.kernelLog,
            disk: host.paths.project(project).workspace, diskBytes: diskUse?.limitBytes)
        activity.limits.begins(subject, isNew: isNew)
    }

    var diskUse: DiskUse? {
        host.disk.use(host.paths.project(project), wanted: record.spec.limits.diskBytes)
    }

    func came(to tally: LimitTally) {
        logger.notice(
            "a container came to a limit", metadata: ["limit": "\(tally.hit.text)", "count": "\(tally.count)"])
        host.transitions.record(
            project, machine.container ?? record.container, from: machine.publicState, to: machine.publicState,
            reason: tally.hit.text, limit: tally)
        if !isDeleted { saveLater() }
    }
}
