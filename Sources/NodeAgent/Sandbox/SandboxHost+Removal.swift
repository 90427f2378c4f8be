import FastableCore
import Logging
import NodeLinux

/// The way back. Every step is safe when there is nothing to undo, and is tried although another one failed.
extension SandboxHost {
    /// Removes all that belongs to an incarnation, running or not, but none of the project's files.
    ///
    /// - Returns: what could not be removed; also in the log.
    func dismantle(_ container: ContainerID, slot: Slot?, process: ProcessIdentity?) async -> FastableError? {
        var steps = Steps(logger: logger, container: container)
        await steps.attempt("kill its processes") { try await kill(container, process) }
        await steps.attempt("remove it from the runtime") { try await runtime.delete(container) }
        if let slot { await steps.attempt("remove its network") { try await network.detach(slot) } }
        await steps.attempt("remove its mounts and files") { try await removeRunFiles(container) }
        await steps.attempt("remove its control groups") {
            try await BlockingPool.shared.run { try cgroups.remove(group(container)) }
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

    private func removeRunFiles(_ container: ContainerID) async throws {
        let directory = paths.container(container).directory
        try await BlockingPool.shared.run {
            for point in try Mounts.below(directory) { try Mounts.remove(point) }
        }
        try await Directories.removeTree(directory)
    }

    /// Removes what carries the instance's name and belongs to none of the given incarnations.
    func removeLeftovers(keeping kept: Set<ContainerID>, slots: Set<Slot>) async {
        let interfaces = Set(slots.map(\.interface))
        let known = (try? await runtime.list()) ?? []
        let found =
            Set(known.map(\.container))
            .union(Directories.names(paths.containers).compactMap { ContainerID($0) })
            .union(cgroups.children(of: group).compactMap { ContainerID($0) })
        for container in found.subtracting(kept).sorted() {
            logger.notice("removing what is left of a container", metadata: ["container": "\(container)"])
            _ = await dismantle(container, slot: nil, process: nil)
        }
        for interface in network.interfaces(of: block) where !interfaces.contains(interface) {
            try? await network.detach(interface: interface)
        }
    }

    /// Takes a directory out of the way in one step; its removal may take a while.
    ///
    /// - Returns: where it is now, for `removeDiscarded`.
    func discard(_ directory: String) throws -> String {
        try Directories.make(paths.trash, mode: 0o700)
        let name = directory.split(separator: "/").last.map(String.init) ?? "unnamed"
        let discarded = "\(paths.trash)/\(name)-\(String(UInt64.random(in: .min ... .max), radix: 36))"
        try Directories.move(directory, to: discarded)
        return discarded
    }

    func removeDiscarded(_ path: String) async throws {
        try await Directories.removeTree(path, timeout: .seconds(Limits.projectDeleteSeconds))
    }

    /// Removes what earlier runs of the daemon left in the trash. What cannot be removed is told and holds up nothing else.
    func emptyTrash() async {
        for name in Directories.names(paths.trash) {
            do { try await removeDiscarded(paths.trash + "/" + name) } catch {
                logger.error("could not empty the trash", metadata: ["name": "\(name)", "error": "\(error)"])
            }
        }
    }

    /// Takes away what the instance has in the kernel and in its run directory. All containers are gone already.
    func removeEverything() async throws {
        var steps = Steps(logger: logger, container: nil)
        await steps.attempt("remove the firewall's rules") { try await firewall.remove() }
        await steps.attempt("remove the control groups") {
            try await BlockingPool.shared.run { try cgroups.remove(group) }
        }
        await steps.attempt("remove the run directory") {
            try await BlockingPool.shared.run {
                for point in try Mounts.below(paths.run) { try Mounts.remove(point) }
            }
            for directory in [paths.containers, paths.runtime, paths.cgroupMount] {
                try await Directories.removeTree(directory)
            }
        }
        if let failure = steps.failure { throw failure }
    }

    /// Steps of which each is tried, and the first failure.
    private struct Steps {
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
