import FastableCore
import NodeFiles
import NodeSandbox
import Synchronization

/// The open workspaces of this node. An open one costs a descriptor, so only the most recently used are kept, and those that are in use:
/// all who work on a project's files share its locks and limits.
final class Workspaces: Sendable {
    private struct State {
        var open: [ProjectID: FileService] = [:]
        /// Least recently used first.
        var order: [ProjectID] = []
        /// Those that were open once, for as long as somebody has them.
        var inUse: [ProjectID: Weak] = [:]
    }

    private struct Weak { weak var files: FileService? }

    private let sandboxes: SandboxManager
    private let state = Mutex(State())

    init(sandboxes: SandboxManager) { self.sandboxes = sandboxes }

    /// Opens the project's workspace and makes it when this is the first use of the project on this node.
    func files(of project: ProjectID) async throws -> FileService {
        if let files = touch(project) { return files }
        let volume = try await sandboxes.volume(of: project)
        let names = TemporaryNames(folder: volume.paths.temporaryNames)
        let files = try FileService(
            root: volume.paths.workspace, uidBase: volume.uidBase, names: names
        ) { [sandboxes] in
            try await sandboxes.searchGroup(of: project)
        }
        return state.withLock { state in
            // Somebody else may have opened it meanwhile; both are right, one is kept.
            if let existing = state.open[project] { return existing }
            let kept = state.inUse.removeValue(forKey: project)?.files ?? files
            state.open[project] = kept
            state.order.append(project)
            if state.order.count > Limits.openWorkspaces {
                let oldest = state.order.removeFirst()
                state.inUse = state.inUse.filter { $0.value.files != nil }
                state.inUse[oldest] = Weak(files: state.open.removeValue(forKey: oldest))
            }
            return kept
        }
    }

    func forget(_ project: ProjectID) {
        state.withLock { state in
            state.open[project] = nil
            state.inUse[project] = nil
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
