import ControllerDomain
import FastableCore
import Synchronization

/// Projects by how their workspace names them, so that a request need not ask the database. Every change of a project goes
/// through `ProjectService`, which forgets it here.
final class ProjectCache: Sendable {
    struct Key: Hashable {
        var workspace: WorkspaceID
        var text: String
    }

    private struct State {
        var projects: [Key: Project] = [:]
        var changes: UInt64 = 0
    }

    private let state = Mutex(State())

    /// What is known now, and the number of changes so far, for `remember`.
    func look(_ key: Key) -> (project: Project?, changes: UInt64) {
        state.withLock { ($0.projects[key], $0.changes) }
    }

    /// Keeps what was read, unless something changed since: it may have been read before the change.
    func remember(_ project: Project, as key: Key, ifUnchangedSince changes: UInt64) {
        state.withLock { state in
            guard state.changes == changes else { return }
            if state.projects.count >= Limits.cachedRecords { state.projects = [:] }
            state.projects[key] = project
        }
    }

    func forgetAll() {
        state.withLock { state in
            state.changes += 1
            state.projects = [:]
        }
    }

    func forget(_ project: Project) {
        state.withLock { state in
            state.changes += 1
            state.projects[Key(workspace: project.workspace, text: project.name)] = nil
            state.projects[Key(workspace: project.workspace, text: project.id.description)] = nil
        }
    }
}
