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
    }

    private func takeUp(live: Set<ContainerID>) async {
        volumeMade = true
        guard let id = record.container, record.state == .running else {
            return recordFound(record.state == .failed ? record.reason : nil)
        }
        guard let process = record.process, process.isAlive, live.contains(id) else { return await giveUp(id, nil) }
        if await adopt(id, process) { return machine.adopted(id) }
        await giveUp(id, process)
    }

    /// Connects to a container that runs. What may pass, such as a full disk or a busy init, is tried again: a container is
    /// only given up when it is gone or stays deaf.
    private func adopt(_ id: ContainerID, _ process: ProcessIdentity) async -> Bool {
        for attempt in 1...Limits.containerAdoptionAttempts {
            do {
                running = try await connect(id, process, try await volume())
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
