import FastableCore
import NodeLinux

/// The end of a project on this node.
extension Sandbox {
    /// Removes container and files.
    func delete() async throws {
        let task: Task<Void, any Error>
        // One that took too long may still be under way.
        let earlier = deletion
        switch machine.delete(now: .now) {
        case .join:
            guard let deletion else { return }
            return try await deletion.value
        case .cancelStartThenRemove:
            start?.cancel()
            task = Task { try await performDeletion(nil, after: earlier) }
        case .remove(let id): task = Task { try await performDeletion(id, after: earlier) }
        }
        deletion = task
        watchDeadline()
        try await task.value
    }

    private func performDeletion(_ id: ContainerID?, after earlier: Task<Void, any Error>?) async throws {
        // Its time is over one way or the other, and with it what keeps this project in memory.
        defer { watchDeadline() }
        do {
            _ = await earlier?.result
            _ = await start?.result
            await removal?.value
            let ending = running.take()
            activity.ended()
            await ending?.container?.execs.close(containerEnded: true)
            _ = await opening?.result
            if let id { await host.dismantle(id, slot: slot, process: ending?.process) }
            try await host.clearRemains(of: slot)
            try await removeFiles()
            machine.deleted()
        } catch {
            let failure = FastableError.unexpected(error, doing: "deleting the project")
            machine.deletionFailed(reason: failure.message)
            try? await save()
            throw failure
        }
    }

    /// Takes the files away in one step and removes them then. When that fails, the next deletion goes on with the same files;
    /// what others left in the trash does not matter here.
    private func removeFiles() async throws {
        if !isDeleted {
            discarded = try await BlockingPool.shared.run { [host, directory, project, asidePath] in
                try directory.takeAway {
                    let paths = host.paths.project(project)
                    try ProjectDisk.close(paths)
                    guard Directories.exists(paths.directory) else { return nil }
                    guard let asidePath else { return try host.trash.discard(paths.directory) }
                    try Directories.make(host.paths.setAside, mode: 0o700)
                    try Directories.moveForGood(paths.directory, to: asidePath)
                    return nil
                }
            }
            isDeleted = true
        }
        guard let path = discarded else { return }
        try await host.trash.remove(path)
        discarded = nil
    }
}
