import FastableCore
import Logging
import NIOCore
import NodeLinux

/// Joins a container's init with the node: gives it its cgroup directory and the way commands come in.
struct InitConnector: Sendable {
    let cgroups: CgroupTree
    let eventLoops: any EventLoopGroup
    let logger: Logger

    /// Works for a container that was just started and for one that an earlier run of the daemon left.
    func connect(
        _ container: ContainerID, group: String, slot: Slot, process: ProcessIdentity, socket: String, execs: ExecStore,
        activity: ProjectActivity
    ) async throws -> ExecTable {
        // Commands whose cgroup still has processes, and those that run.
        let directory = try cgroups.delegate(
            group, to: slot.uidBase, process: process.pid, descendants: 2 * Limits.execsPerContainer)
        let table = ExecTable(
            container: container, socketPath: socket, cgroup: directory, store: execs,
            eventLoop: eventLoops.next(), activity: activity, logger: logger)
        do { try await table.recover() } catch {
            await table.close()
            throw error
        }
        return table
    }
}
