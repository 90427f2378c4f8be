public import FastableCore
import Logging
import NodeLinux

/// What other nodes may run by now does not run here.
extension SandboxManager {
    /// The controller lets this node go on for a while.
    ///
    /// - Parameter asked: when the node asked for what was answered with it.
    public nonisolated func granted(_ lease: NodeLease, asked: ContinuousClock.Instant) {
        host.lease.granted(lease, asked: asked)
    }

    /// Ends containers that may be started elsewhere once this node is lost, when it has had no controller for too long. Cheap while it
    /// has one; call it every second.
    public func keepLease(now: ContinuousClock.Instant = .now) async {
        var doomed: [Sandbox.Doomed] = []
        for sandbox in Array(sandboxes.values) {
            guard !host.lease.permits(await sandbox.policy, at: now) else { continue }
            if let found = await sandbox.doom(reason: Self.leaseIsOver) { doomed.append(found) }
        }
        guard !doomed.isEmpty else { return }
        let receipts = await host.end(doomed, by: now + .milliseconds(killProofMilliseconds))
        logger.warning(
            "containers were ended: the node has had no controller for too long, and they may be started elsewhere",
            metadata: [
                "containers": "\(receipts.count)", "unconfirmed": "\(receipts.count { $0.effect == .unconfirmed })",
            ])
    }

    private static let leaseIsOver =
        "Its node had no controller for too long, and the project may be started on another node. It is made again on next use."

    /// The same for what an earlier run of the daemon left, before anybody connects to it.
    func endUnleased(_ records: [ProjectRecord]) async {
        let doomed = records.filter { !host.lease.permits($0.spec.lifecycle) }
        let groups = doomed.compactMap { $0.container.map { host.group($0) } }
        try? await BlockingPool.shared.run { [cgroups = host.cgroups] in
            for group in groups where !cgroups.isEmpty(group) { try? cgroups.kill(group) }
        }
    }

    // MARK: what is another node's by now

    /// Ends what runs of a project and puts its files out of everybody's way, where people find them. When this returns, nothing of it runs
    /// here, and nothing will. Cheap to repeat.
    ///
    /// - Throws: when its container does not end.
    public func setAside(_ departure: ProjectDeparture) async throws -> SetAsideCopy {
        let path = "\(host.paths.setAside)/\(departure.project)-\(departure.stay)"
        // A call that is on its way makes nothing anew.
        departures.note(departure.project, stay: departure.stay)
        if let sandbox = sandboxes[departure.project], sandbox.stay <= departure.stay {
            try await sandbox.setAside(at: path)
            await forget(sandbox)
            logger.notice(
                "a project is another node's by now; what is here of it was set aside",
                metadata: ["project": "\(departure.project)", "path": "\(path)"])
        }
        return SetAsideCopy(path: Directories.exists(path) ? path : nil)
    }
}

extension Sandbox {
    var policy: LifecyclePolicy? { record.spec.lifecycle }

    /// Throws `unavailable` when the project may be started on another node by now, as its record or its new settings say.
    func checkLease(_ wanted: LifecyclePolicy? = nil) throws {
        guard !host.lease.permits(policy) || !host.lease.permits(wanted) else { return }
        throw FastableError(
            .unavailable, "The node has had no controller for too long to start the project. Try again.",
            retryAfterSeconds: 5)
    }

    /// Like a deletion, with another end for the files.
    func setAside(at path: String) async throws {
        asidePath = path
        // What becomes of it here is no news, and nobody comes any more.
        isLeaving = true
        activity.cutFiles()
        try await delete()
    }
}
