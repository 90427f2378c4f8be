import FastableCore
import NodeFiles
import NodeSandbox
import Synchronization

/// The open workspaces of this node. An open one costs a descriptor, so only the most recently used are kept.
final class Workspaces: Sendable {
    private struct State {
        var open: [ProjectID: FileService] = [:]
        /// Least recently used first.
        var order: [ProjectID] = []
    }

    private let sandboxes: SandboxManager
    private let state = Mutex(State())

    init(sandboxes: SandboxManager) { self.sandboxes = sandboxes }

    /// Opens the project's workspace and makes it when this is the first use of the project on this node.
    func files(of project: ProjectID) async throws -> FileService {
        if let files = touch(project) { return files }
        let volume = try await sandboxes.volume(of: project)
        let files = try FileService(root: volume.paths.workspace, uidBase: volume.uidBase) { [sandboxes] in
            try await sandboxes.searchGroup(of: project)
        }
        return state.withLock { state in
            // Somebody else may have opened it meanwhile; both are right, one is kept.
            if let existing = state.open[project] { return existing }
            state.open[project] = files
            state.order.append(project)
            if state.order.count > Limits.openWorkspaces { state.open[state.order.removeFirst()] = nil }
            return files
        }
    }

    func forget(_ project: ProjectID) {
        state.withLock { state in
            state.open[project] = nil
            state.order.removeAll { $0 == project }
        }
    }

    private func touch(_ project: ProjectID) -> FileService? {
        state.withLock { state in
            guard let files = state.open[project] else { return nil }
            if state.order.last != project {
                state.order.removeAll { $0 == project }
                state.order.append(project)
            }
            return files
        }
    }
}
