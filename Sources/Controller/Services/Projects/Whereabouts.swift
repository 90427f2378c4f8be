import ControllerDomain
import FastableCore
import Synchronization

/// What this run of the program knows of projects that leave their nodes and come back, for those who read a project's record before.
final class Whereabouts: Sendable {
    private struct State {
        /// On their way into the archive, in it, or on their way back.
        var away: Set<ProjectID> = []
        /// The present stay of those that came back.
        var stays: [ProjectID: Int] = [:]
    }

    private let state = Mutex(State())

    /// Whether what is known of a project must be read again before its node is asked for anything.
    func isPassed(_ project: Project) -> Bool {
        state.withLock { $0.away.contains(project.id) || ($0.stays[project.id] ?? 0) > project.stay }
    }

    func leaves(_ project: ProjectID) { state.withLock { _ = $0.away.insert(project) } }

    /// It is on a node, or gone for good.
    func settles(_ project: ProjectID, stay: Int) {
        state.withLock { state in
            state.away.remove(project)
            if stay > 0 { state.stays[project] = stay }
        }
    }
}
