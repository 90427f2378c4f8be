import FastableCore
import NodeLinux

/// What kill switches ask of one project.
extension Sandbox {
    func checkSwitches(_ spec: ContainerSpec) throws {
        try host.board.checkStart(project, of: spec.workspace)
    }

    var workspace: WorkspaceID { record.spec.workspace }

    /// A container that is to end, as it was found.
    struct Doomed: Sendable {
        let sandbox: Sandbox
        let project: ProjectID
        let container: ContainerID
        let execs: Int
        /// Its control group may not exist yet: only the end of the start proves that nothing is left.
        let isStarting: Bool
    }

    /// Takes the container's end into the state; `nil` when the project has none. What of it runs goes on running until its control
    /// group is killed.
    func doom(reason: String) -> Doomed? {
        let before = status()
        guard let container = machine.container ?? lastContainer else { return nil }
        // Of one that is being removed, or could not be, processes may be left.
        guard machine.container != nil || !host.cgroups.isEmpty(host.group(container)) else { return nil }
        beginStop(reason: reason)
        return Doomed(
            sandbox: self, project: project, container: container, execs: before.runningExecs,
            isStarting: before.state == .creating)
    }

    /// What a switched-off network finds: `nil` when no container is there.
    func cutOff() -> KillReceipt? {
        guard let container = machine.container else { return nil }
        return KillReceipt(
            project: project, container: container, execs: status().runningExecs, effect: .networkCut)
    }

    /// Suspends a container in which nothing has worked for so long.
    func restWhenIdle(for idle: Duration, now: ContinuousClock.Instant) async -> IdleSweepResult {
        guard case .running = machine.state else { return IdleSweepResult() }
        let lastWork = activity.observed(at: now).observed.idle.lastAt
        guard now - lastWork >= idle else { return IdleSweepResult(kept: 1) }
        do {
            try await suspend(
                reason: "Nobody used it for \(Int(idle / .seconds(60))) minutes. The next command wakes it.",
                force: false)
            return IdleSweepResult(suspended: 1)
        } catch {
            return IdleSweepResult(kept: 1)
        }
    }
}
