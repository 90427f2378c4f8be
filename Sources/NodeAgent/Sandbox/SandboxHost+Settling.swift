import FastableCore
import Logging
import NodeFiles
import NodeLinux

/// Trees that an earlier daemon was putting in place when it ended.
extension SandboxHost {
    /// Undoes what was begun in a workspace, before anybody uses its files. Gives what lies about there. Blocks.
    func settleTrees(in project: ProjectPaths) -> AbandonedTrees? {
        guard Directories.exists(project.workspace) else { return nil }
        let checkpoints = Checkpoints(directory: project.checkpoints)
        defer { checkpoints.removeUnfinished() }
        do {
            // What cannot be looked through now is at the next start.
            try? TemporaryNames(folder: project.temporaryNames).removeAll(in: project.workspace)
            return try AbandonedTrees(workspace: project.workspace, checkpoints: checkpoints)
        } catch {
            logger.error(
                "a tree that was being put in place could not be undone",
                metadata: ["workspace": "\(project.workspace)", "error": "\(error)"])
            return nil
        }
    }

    /// Removes what lies about, which may be large, beside the first calls.
    func removeLater(_ found: [AbandonedTrees]) {
        guard !found.isEmpty else { return }
        logger.notice("removing unfinished trees", metadata: ["workspaces": "\(found.count)"])
        Task { try await BlockingPool.files.run { for trees in found { try? trees.remove() } } }
    }
}
