import FastableCore

/// What the controller is told of a container's states.
extension Sandbox {
    func tellChange(since before: SandboxStateMachine) {
        let (from, to) = (before.publicState, machine.publicState)
        guard from != to, !isRecovering, !isLeaving else { return }
        host.transitions.record(
            project, machine.container ?? before.container, from: from, to: to, reason: machine.reason)
    }

    /// After a restart of the daemon: nobody knows what its last run still told.
    func tellFound(recorded: ContainerState) {
        host.transitions.record(
            project, machine.container, from: recorded, to: machine.publicState, reason: machine.reason, isFound: true)
    }
}
