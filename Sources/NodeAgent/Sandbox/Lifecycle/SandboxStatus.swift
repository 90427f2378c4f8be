import FastableCore

extension SandboxStateMachine {
    /// The state as the controller knows it.
    var publicState: ContainerState {
        switch state {
        case .absent: .absent
        case .creating: .creating
        case .running, .suspending: .running
        case .suspended, .resuming: .suspended
        case .stopping(_, _, _, let failure): failure ? .failed : .stopped
        case .stopped: .stopped
        case .deleting: .deleting
        case .failed: .failed
        }
    }

    /// Why it is in this state, and what to do when it failed.
    var reason: String {
        switch state {
        case .absent: "There was no container yet. It is made on first use."
        case .creating: "The container is being started."
        case .running: "The container answers."
        case .suspending: "The container is being suspended."
        case .suspended(_, let reason): reason
        case .resuming: "The container is being woken."
        case .stopping(_, _, let reason, _): reason
        case .stopped(let reason), .failed(let reason): reason
        case .deleting: "The project is being deleted."
        }
    }
}
