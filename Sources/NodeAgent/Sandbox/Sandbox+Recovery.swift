import FastableCore
import Logging
import NodeLinux

/// After a restart of the daemon.
extension Sandbox {
    /// Takes up what an earlier run left. `live` are the containers that the runtime says are running.
    func recover(live: Set<ContainerID>) async {
        let recorded = record.state
        isRecovering = true
        await takeUp(live: live)
        isRecovering = false
        tellFound(recorded: recorded)
        recoverSupervised()
        superviseLater()
    }

    private func takeUp(live: Set<ContainerID>) async {
        // The disk of a container that runs is open. After a reboot of the host none is.
        do {
            try await openDisk()
            volumeMade = true
        } catch { logger.error("the disk of a project cannot be opened", metadata: ["error": "\(error)"]) }
        guard let id = record.container, record.state == .running || record.state == .suspended else {
            return recordFound(record.state == .failed ? record.reason : nil)
        }
        guard let process = record.process, process.isAlive, live.contains(id) else { return await giveUp(id, nil) }
        if await adoptFrozen(id, process) { return }
        guard await adopt(id, process) else { return await giveUp(id, process) }
        machine.adopted(id)
        // Nobody knows what worked in it before: it is idle from now on.
        activity.runs(host.group(id), running?.container?.execs, .start)
        restoreLeases()
        noteState()
    }

    /// A container that stands still is not talked to before somebody needs it. One that is on its way there goes on running, as if it
    /// had not been suspended.
    private func adoptFrozen(_ id: ContainerID, _ process: ProcessIdentity) async -> Bool {
        let (cgroups, group) = (host.cgroups, host.group(id))
        do {
            let isFrozen = try await BlockingPool.shared.run {
                cgroups.endSlowing(of: group)
                let frost = try cgroups.frost(of: group)
                if frost.isWanted, !frost.isComplete { try cgroups.thaw(group) }
                return frost.isWanted && frost.isComplete
            }
            guard isFrozen else { return false }
            running = Running(container: nil, process: process, watch: try watch(id, process), imageEnvironment: [:])
        } catch {
            logger.error(
                "a container cannot be looked at", metadata: ["container": "\(id)", "error": "\(error)"])
            return false
        }
        machine.adopted(
            id,
            suspended: record.state == .suspended ? record.reason : "It was suspended before the node was restarted.")
        let now = ContinuousClock.now
        let since = record.state == .suspended ? record.since?.instant(now: (.now(), now)) : nil
        activity.sleeps(group, since: since ?? now)
        restoreLeases()
        noteState()
        return true
    }

    private func restoreLeases() {
        let now = ContinuousClock.now
        let moment = BootMoment.now()
        for lease in record.leases ?? [] {
            guard let until = lease.until.instant(now: (moment, now)) else { continue }
            try? activity.lease(lease.reason, until: until, now: now)
        }
    }

    /// Connects to a container that runs. What may pass, such as a full disk or a busy init, is tried again: a container is
    /// only given up when it is gone or stays deaf.
    private func adopt(_ id: ContainerID, _ process: ProcessIdentity) async -> Bool {
        for attempt in 1...Limits.containerAdoptionAttempts {
            do {
                let (container, environment) = try await connect(id, process, try await volume())
                running = Running(
                    container: container, process: process, watch: try watch(id, process),
                    imageEnvironment: environment)
                return true
            } catch {
                logger.error(
                    "a container does not answer",
                    metadata: ["container": "\(id)", "attempt": "\(attempt)", "error": "\(error)"])
                if (error as? FastableError)?.code == .gone { return false }
                try? await Task.sleep(for: .seconds(attempt))
            }
        }
        return false
    }

    private func giveUp(_ id: ContainerID, _ process: ProcessIdentity?) async {
        let failure = await host.dismantle(id, slot: slot, process: process)
        record.process = nil
        recordFound(failure?.message)
    }

    private func recordFound(_ failure: String?) {
        if let failure {
            machine.found(failed: failure)
        } else if record.container != nil {
            machine.found(stopped: "The host or the node was restarted. It is made again on next use; files are kept.")
        }
    }
}
