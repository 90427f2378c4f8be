public import FastableCore
import FoundationEssentials
import Glibc
import NodeLinux

extension FileService {
    private var users: ContainerUsers { ContainerUsers(base: uidBase) }

    /// Copies the workspace beside itself. The copy is there as a whole or not at all; the oldest one goes when there are too many.
    ///
    /// - Parameter reserveBytes: so much of the disk stays free.
    public func checkpoint(
        _ request: CheckpointCreate, in checkpoints: Checkpoints, reserveBytes: Int, work: TreeWork
    ) async throws -> TreeWorkResult {
        try await offload { [self] in
            var info = CheckpointInfo(id: request.id, createdAt: Date(), note: request.note)
            let place = try checkpoints.begin(info)
            do {
                var result = try copying { () throws(Errno) in
                    let draft = try checkpoints.makeDraft(in: place)
                    let result = try copy(root, of: users, to: draft, reserveBytes, work)
                    try Self.copyTop(of: root, to: draft)
                    return result
                }
                try checkInPlace()
                result.checkpoint = request.id
                (info.entries, info.contentBytes) = (result.entries, result.contentBytes)
                info.changedFiles = result.changedFiles
                try checkpoints.write(info)
                try copying { () throws(Errno) in try checkpoints.publishDraft(in: place) }
                try? checkpoints.removeSurplus()
                return result
            } catch {
                try? checkpoints.discard(request.id)
                throw error
            }
        }
    }

    /// Replaces the content with a copy of a checkpoint; what was there becomes a checkpoint itself.
    public func rollBack(
        _ request: CheckpointRollback, in checkpoints: Checkpoints, reserveBytes: Int, work: TreeWork
    ) async throws -> TreeWorkResult {
        let tree = try checkpoints.tree(request.id)
        return try await replace(
            with: tree, of: users, keepingAs: request.keepAs, note: "before rollback to \(request.id)", in: checkpoints,
            reserveBytes: reserveBytes, work: work
        ) { try checkpoints.check(request.id, has: tree) }
    }

    /// Fills the workspace, which must be empty, with the content of another one of this node, or of one of its checkpoints.
    public func fill(
        from source: FileService, checkpoint: CheckpointID?, of sourceCheckpoints: Checkpoints,
        checkpoints: Checkpoints, reserveBytes: Int, work: TreeWork
    ) async throws -> TreeWorkResult {
        guard try await isEmpty() else {
            throw FastableError(.conflict, "The new project has files already. Fork into another one.")
        }
        let tree = try checkpoint.map { try sourceCheckpoints.tree($0) } ?? source.root
        let check: @Sendable () throws -> Void = {
            if let checkpoint {
                try sourceCheckpoints.check(checkpoint, has: tree)
            } else {
                try source.checkInPlace()
            }
        }
        return try await replace(
            with: tree, of: source.users, keepingAs: CheckpointID(), note: "before fork", in: checkpoints,
            reserveBytes: reserveBytes, work: work, check)
    }

    /// - Parameter check: throws when the tree was removed while it was copied, so that the copy is a part of it only.
    private func replace(
        with tree: RootedDirectory, of owners: ContainerUsers, keepingAs kept: CheckpointID, note: String,
        in checkpoints: Checkpoints, reserveBytes: Int, work: TreeWork, _ check: @escaping @Sendable () throws -> Void
    ) async throws -> TreeWorkResult {
        let staged = try await offload { [self] in
            try copying { () throws(Errno) in try StagedTree(in: root, owner: uidBase) }
        }
        let copied: Result<TreeWorkResult, any Error>
        do {
            let result = try await offload { [self] in
                var result = try copying { () throws(Errno) in
                    try copy(tree, of: owners, to: staged.tree, reserveBytes, work)
                }
                let top = try copying { () throws(Errno) in
                    TreeBuilder.Attributes(try tree.descriptor.status(), of: owners)
                }
                try check()
                result.checkpoint = try replaceContent(
                    with: staged, top: top, keepingAs: kept, note: note, in: checkpoints)
                return result
            }
            copied = .success(result)
        } catch { copied = .failure(error) }
        await staged.discard(self.work)
        return try copied.get()
    }

    private func copy(
        _ tree: RootedDirectory, of owners: ContainerUsers, to target: RootedDirectory, _ reserveBytes: Int,
        _ work: TreeWork
    ) throws(Errno) -> TreeWorkResult {
        var clone = try TreeClone(
            from: tree, of: owners, to: target, for: users, reserveBytes: reserveBytes, work: work)
        try clone.run()
        return clone.result
    }

    /// The workspace's own owner and mode.
    private static func copyTop(of source: RootedDirectory, to target: RootedDirectory) throws(Errno) {
        let status = try source.descriptor.status()
        try target.descriptor.setOwner(status.user, group: status.group)
        try target.descriptor.setMode(status.mode)
    }

    private func copying<Value: ~Copyable>(_ body: () throws(Errno) -> Value) throws -> Value {
        do throws(Errno) { return try body() } catch {
            switch error.number {
            case E2BIG:
                throw FastableError(
                    .tooLarge,
                    "The workspace has a path longer than \(Limits.pathBytes) bytes, or more than \(Limits.directoryEntries) files "
                        + "in a directory and those around it.")
            case EFBIG:
                throw FastableError(
                    .tooLarge, "The workspace has more than \(Limits.snapshotContentBytes) bytes, which is the most.",
                    details: ["limit": .integer(Limits.snapshotContentBytes)])
            case ENOSPC, EDQUOT:
                throw FastableError(
                    .unavailable,
                    "The node's disk has too little space for a copy of the workspace. Nothing was changed. Remove checkpoints or "
                        + "files, or take a snapshot, which lies on the controller.", context: "\(error)")
            default: throw error.fileError(".", doing: "copy")
            }
        }
    }
}
