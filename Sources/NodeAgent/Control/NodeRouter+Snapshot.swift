import FastableCore
import FastableWire
import NIOCore
import NodeFiles
import NodeLinux
import NodeSandbox

/// Whole workspaces: archives for the controller, copies on this node.
extension NodeRouter {
    func readSnapshot(_ call: NodeCall) async throws {
        let request: FileCall<SnapshotRead> = try call.arguments()
        // The platform saves what nobody uses: that is no use of it.
        let files = try await unusedFiles(of: request.project)
        let source = try files.readSnapshot()
        try await call.send(NodeReply.success(SnapshotHead(isEmpty: try await files.isEmpty())))
        // From here on an error cannot be a reply: the bytes before it would look complete.
        do {
            while let bytes = try await source.next() {
                try await call.stream.send(data: ByteBuffer(bytes: bytes), channel: 1)
            }
            try await call.send(NodeReply.success(source.facts))
            try await call.stream.finish()
        } catch {
            call.stream.reset(FastableError.unexpected(error, doing: "archiving the workspace"))
        }
    }

    func restoreSnapshot(_ call: NodeCall) async throws {
        let request: FileCall<SnapshotRestore> = try call.arguments()
        try await sandboxes.checkStart(request.project)
        let volume = try await sandboxes.volume(of: request.project)
        try volume.checkSpace()
        let sink = try await files(of: request.project, call).restoreSnapshot(
            request.arguments, checkpoints: volume.checkpoints)
        do {
            while let event = try await call.stream.next() {
                guard case .data(_, let bytes) = event else { continue }
                try await sink.write(Array(bytes.readableBytesView))
            }
            let kept = try await sink.finish()
            try await call.reply(
                NodeReply.success(
                    SnapshotRestored(
                        entries: request.arguments.entries, contentBytes: request.arguments.contentBytes, kept: kept)))
        } catch {
            await sink.cancel()
            throw error
        }
    }

    func makeCheckpoint(_ call: NodeCall) async throws {
        let request: FileCall<CheckpointCreate> = try call.arguments()
        let volume = try await sandboxes.volume(of: request.project)
        try volume.checkSpaceForCopies()
        let files = try await files(of: request.project, call)
        try await tellWork(call) { work in
            try await files.checkpoint(
                request.arguments, in: volume.checkpoints, reserveBytes: volume.bytesLeftByCopies, work: work)
        }
    }

    func rollBack(_ call: NodeCall) async throws {
        let request: FileCall<CheckpointRollback> = try call.arguments()
        try await sandboxes.checkStart(request.project)
        let volume = try await sandboxes.volume(of: request.project)
        try volume.checkSpaceForCopies()
        let files = try await files(of: request.project, call)
        try await tellWork(call) { work in
            try await files.rollBack(
                request.arguments, in: volume.checkpoints, reserveBytes: volume.bytesLeftByCopies, work: work)
        }
    }

    func fork(_ call: NodeCall) async throws {
        let request: ProjectFork = try call.arguments()
        try await sandboxes.checkStart(request.source)
        try sandboxes.checkStart(request.target)
        let source = try await sandboxes.volume(of: request.source)
        let target = try await sandboxes.volume(request.target)
        try target.checkSpaceForCopies()
        let sourceFiles = try await files(of: request.source, call)
        let targetFiles = try await files(of: request.target.project, call)
        try await tellWork(call) { work in
            try await targetFiles.fill(
                from: sourceFiles, checkpoint: request.checkpoint, of: source.checkpoints,
                checkpoints: target.checkpoints, reserveBytes: target.bytesLeftByCopies, work: work)
        }
    }

    func listCheckpoints(_ call: NodeCall) async throws {
        try await call.answer { (project: ProjectReference) in
            let checkpoints = try await sandboxes.volume(of: project.project).checkpoints
            return CheckpointListResult(checkpoints: try await BlockingPool.shared.run { try checkpoints.list() })
        }
    }

    func removeCheckpoint(_ call: NodeCall) async throws {
        try await call.answer { (request: FileCall<CheckpointReference>) in
            let checkpoints = try await sandboxes.volume(of: request.project).checkpoints
            let id = request.arguments.id
            // A whole tree may go.
            try await BlockingPool.shared.run { try checkpoints.remove(id) }
            return Empty()
        }
    }

    /// Runs a copy and tells from time to time what it has come to; it ends when the controller does not want it any more.
    private func tellWork(
        _ call: NodeCall, _ body: @escaping @Sendable (TreeWork) async throws -> TreeWorkResult
    ) async throws {
        let work = TreeWork()
        let result = try await withThrowingTaskGroup(of: TreeWorkResult?.self) { group in
            group.addTask { try await body(work) }
            group.addTask {
                while true {
                    try await Task.sleep(for: .milliseconds(Limits.workProgressMilliseconds))
                    try await call.send(NodeReply.success(TreeWorkEvent.progress(work.progress)))
                }
            }
            defer {
                work.cancel()
                group.cancelAll()
            }
            return try await group.next().flatMap(\.self)
        }
        guard let result else { throw FastableError(.internal, "The copy ended without a result. Try again.") }
        try await call.reply(NodeReply.success(TreeWorkEvent.finished(result)))
    }
}
