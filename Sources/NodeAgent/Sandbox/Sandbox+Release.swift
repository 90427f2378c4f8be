import FastableCore
import FoundationEssentials
import NodeFiles
import NodeLinux

/// Giving the project's files up, which are saved elsewhere.
extension Sandbox {
    /// Removes all of the project when nothing has happened to it since it was saved.
    ///
    /// - Throws: `conflict` when something has; nothing was removed then.
    func release(_ request: ProjectRelease) async throws {
        guard stay <= request.stay else { throw Self.isUsed("it has come back to this node since") }
        // Who asks again, since the first answer was lost, must not be told another one.
        if let releasing { return try await releasing.value }
        let task = Task { try await performRelease(request) }
        releasing = task
        defer { releasing = nil }
        try await task.value
    }

    private func performRelease(_ request: ProjectRelease) async throws {
        // Once the files were taken away there is no way back.
        if !isDeleted { try await closeFiles(request) }
        do { try await delete() } catch {
            if !isDeleted {
                isLeaving = false
                activity.openFiles()
            }
            throw error
        }
    }

    /// When it returns, nobody uses the files any more, and nobody did since they were saved.
    private func closeFiles(_ request: ProjectRelease) async throws {
        guard let uses = activity.fileUsesAtRest else { throw Self.isUsed("its files are being used") }
        try checkResting(request.saved)
        if let saved = request.saved {
            let workspace = host.paths.project(project).workspace
            let fingerprint = try await BlockingPool.shared.run { try WorkspaceFingerprint.of(workspace) }
            guard fingerprint == saved.fingerprint else { throw Self.isUsed("its files have changed") }
        }
        // No other step comes between these: who comes later is refused.
        try checkResting(request.saved)
        guard activity.closeFiles(ifAtRestSince: uses) else { throw Self.isUsed("its files were used") }
        isLeaving = true
    }

    private func checkResting(_ saved: ProjectRelease.Saved?) throws {
        guard let restingSince else { throw Self.isUsed("it has a container") }
        guard let saved else {
            guard record.container == nil else { throw Self.isUsed("it has had a container") }
            return
        }
        // Times travel in whole seconds; what happens within one shows in the fingerprint.
        guard Int(restingSince.timeIntervalSince1970) <= Int(saved.restingSince.timeIntervalSince1970) else {
            throw Self.isUsed("it was used")
        }
    }

    private static func isUsed(_ how: String) -> FastableError {
        FastableError(.conflict, "The project was not given up: \(how).")
    }

    /// Since when it has had no container and nobody used its files.
    var restingSince: Date? {
        switch machine.state {
        case .absent, .stopped, .failed: max(record.changedAt ?? activity.filesUsedAt, activity.filesUsedAt)
        case .creating, .running, .suspending, .suspended, .resuming, .stopping, .deleting: nil
        }
    }

    /// Puts onto the disk when the files were used, which is what archiving waits for.
    func noteFileUse() async {
        guard volumeMade, let lastUse = activity.takeFileNote() else { return }
        record.filesUsedAt = lastUse
        saveLater()
    }
}
