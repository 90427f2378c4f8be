import FastableCore
import Glibc
import Logging
import NodeLinux

/// The way back. Every step is safe when there is nothing to undo, and is tried although another one failed.
extension SandboxHost {
    /// Removes all that belongs to an incarnation, running or not, but none of the project's files. What cannot be removed is
    /// kept in mind, whether the caller listens or not.
    ///
    /// - Returns: what could not be removed; also in the log.
    @discardableResult
    func dismantle(_ container: ContainerID, slot: Slot?, process: ProcessIdentity?) async -> FastableError? {
        var steps = Steps(logger: logger, container: container)
        await steps.attempt("kill its processes") { try await kill(container, process) }
        await dismantling.take()
        defer { dismantling.giveBack() }
        await steps.attempt("remove it from the runtime") { try await runtime.delete(container) }
        if let slot { await steps.attempt("remove its network") { try await network.detach(slot) } }
        let directory = paths.container(container).directory
        await steps.attempt("remove its mounts") {
            try await BlockingPool.shared.run { for point in try Mounts.below(directory) { try Mounts.remove(point) } }
        }
        await steps.attempt("remove its control groups") {
            try await BlockingPool.shared.run { try cgroups.remove(group(container)) }
        }
        // The directory tells whose slot it is. It goes last, so that a later run of the daemon knows that, too.
        if steps.failure == nil {
            await steps.attempt("remove its files") { try await Directories.removeTree(directory) }
        }
        if steps.failure == nil {
            remains.removed(container)
        } else {
            remains.failed(container, slot: slot, process: process, now: .now)
        }
        return steps.failure
    }

    /// Ends everything in the container at once and waits for its init's end: the runtime's own way takes longer.
    private func kill(_ container: ContainerID, _ process: ProcessIdentity?) async throws {
        try await BlockingPool.shared.run {
            try cgroups.kill(group(container))
            try process?.waitForEnd(milliseconds: 5000)
        }
    }

    // MARK: what could not be removed

    /// Tries again to remove what is left of the slot's earlier incarnations; throws `unavailable` while something is.
    func clearRemains(of slot: Slot) async throws {
        for container in remains.of(slot) {
            guard let failure = await retry(container) else { continue }
            throw FastableError(
                .unavailable,
                "What is left of the project's last container could not be removed, and nothing is started before that is done. "
                    + "The node tries again by itself; its log tells what is in the way.",
                context: "\(container): \(failure)", retryAfterSeconds: Limits.removalRetryFirstSeconds)
        }
    }

    /// Tries again what is due.
    func retryRemains(_ now: ContinuousClock.Instant) async {
        for container in remains.due(now) where await retry(container) == nil {
            logger.notice("what was left of a container is removed", metadata: ["container": "\(container)"])
        }
    }

    /// One attempt at a time: a second one, still under way when the slot is used again, would take the new link away.
    private func retry(_ container: ContainerID) async -> FastableError? {
        let attempt = remains.attempt(container) { entry in
            Task { await dismantle(container, slot: entry.slot, process: entry.process) }
        }
        return await attempt?.value
    }

    // MARK: what an earlier run of the daemon left

    /// Removes what carries the instance's name and belongs to none of the containers that run.
    ///
    /// - Parameters:
    ///   - kept: the containers that run, with their slots.
    ///   - owners: slots of other incarnations, as far as records tell.
    func removeLeftovers(keeping kept: [ContainerID: Slot], owners: [ContainerID: Slot]) async throws {
        let found =
            Set(try await runtime.list().map(\.container))
            .union(Directories.names(paths.containers).compactMap { ContainerID($0) })
            .union(cgroups.children(of: group).compactMap { ContainerID($0) })
        let used = Set(kept.values)
        for container in found.sorted() where kept[container] == nil && !remains.contains(container) {
            logger.notice("removing what is left of a container", metadata: ["container": "\(container)"])
            // The link of a slot that is in use is that of the container which runs.
            let slot = (owners[container] ?? paths.container(container).slot(of: block)).flatMap {
                used.contains($0) ? nil : $0
            }
            await dismantle(container, slot: slot, process: nil)
        }
        let interfaces = Set(used.map(\.interface))
        for interface in network.interfaces(of: block) where !interfaces.contains(interface) {
            // A container that is to get this link removes it first, and is not started when it cannot.
            var steps = Steps(logger: logger, container: nil)
            await steps.attempt("remove the link \(interface)") { try await network.detach(interface: interface) }
        }
    }

    /// Tries once more to remove everything that is left; throws `unavailable` with the number of containers that stay.
    func clearAllRemains() async throws {
        for container in remains.all { _ = await retry(container) }
        let left = remains.all
        guard !left.isEmpty else { return }
        throw FastableError(
            .unavailable,
            "\(left.count) container\(left.count == 1 ? "" : "s") could not be removed, so the node's rules and addresses stay. The "
                + "log tells what is in the way; run this again when that is solved.",
            context: left.map(\.description).joined(separator: ", "))
    }

    /// Removes discarded files; failures are logged, and tried again with the next call.
    func emptyTrash() async {
        var steps = Steps(logger: logger, container: nil)
        await steps.attempt("remove discarded files") { try await trash.empty() }
    }

    /// Takes away what the instance has in the kernel and in its run directory. All containers are gone already.
    func removeEverything() async throws {
        var steps = Steps(logger: logger, container: nil)
        await steps.attempt("remove the firewall's rules") { try await firewall.remove() }
        await steps.attempt("remove the control groups") {
            // Searches may run in groups of their own.
            try await BlockingPool.shared.run {
                try cgroups.kill(group)
                try cgroups.remove(group)
            }
            try await DelegatedGroup(paths.group, in: cgroups).end()
        }
        await steps.attempt("close the projects' disks") {
            try await BlockingPool.shared.run {
                for directory in [paths.projects, paths.trash] { try ProjectDisk.closeAll(below: directory) }
            }
        }
        await steps.attempt("remove the run directory") {
            try await BlockingPool.shared.run {
                for point in try Mounts.below(paths.run) { try Mounts.remove(point) }
            }
            unlink(paths.takenSwitch)
            for directory in [paths.containers, paths.runtime, paths.cgroupMount] {
                try await Directories.removeTree(directory)
            }
        }
        if let failure = steps.failure { throw failure }
    }

    /// Steps of which each is tried, and the first failure.
    struct Steps {
        let logger: Logger
        let container: ContainerID?
        private(set) var failure: FastableError?

        init(logger: Logger, container: ContainerID?) {
            self.logger = logger
            self.container = container
        }

        mutating func attempt(_ what: String, _ step: () async throws -> Void) async {
            do { try await step() } catch {
                logger.error(
                    "could not \(what)",
                    metadata: ["container": "\(container?.description ?? "-")", "error": "\(error)"])
                if failure == nil { failure = .unexpected(error, doing: "removing a container") }
            }
        }
    }
}
