public import FastableCore
import Glibc
import NodeLinux

extension FileService {
    /// Copies a file, a symbolic link (as a link) or, with `recursive`, a tree. A copy appears complete or not at all.
    ///
    /// - Throws: `conflict` when something is there and may not be replaced; `stale` when `ifMatch` does not hold; `limit` and
    ///   `too_large` beyond `Limits.copyEntries` and `Limits.copyBytes`.
    public func copy(_ request: FileCopy) async throws -> FileCopyResult {
        let from = try Self.requestedPath(request.from)
        let to = try Self.requestedPath(request.to)
        let precondition = try Self.precondition(request.ifMatch, overwrite: request.overwrite)
        guard !to.isRoot else { throw Self.isWorkspace("to") }
        let cancellation = Cancellation()
        return try await withTaskCancellationHandler {
            try await offload { [self] in
                let task = CopyTask(
                    from: from, to: to, precondition: precondition, wasGiven: request.ifMatch != nil,
                    isRecursive: request.recursive ?? false, budget: CopyBudget(cancellation))
                for _ in 0..<Self.attempts {
                    if let result = try copyOnce(task) { return result }
                }
                throw busy(to)
            }
        } onCancel: {
            cancellation.cancel()
        }
    }

    /// One copy that was asked for.
    private struct CopyTask {
        var from: RootedPath
        var to: RootedPath
        var precondition: Precondition
        var wasGiven: Bool
        var isRecursive: Bool
        var budget: CopyBudget
    }

    /// One try; `nil` when what is at the target was changed by somebody else meanwhile.
    private func copyOnce(_ task: CopyTask) throws -> FileCopyResult? {
        let from = task.from
        guard !from.isRoot else { return try copyTree(of: try directory(from, "copy"), task) }
        let source = try onFile(from, "copy") { () throws(Errno) in try root.place(of: from) }
        switch source.status?.kind {
        case nil: throw Errno(ENOENT).fileError(from.description, doing: "copy")
        case .regular:
            let file = try onFile(from, "copy") { () throws(Errno) in
                try OpenFile(try source.directory.openEntry(source.name, O_RDONLY))
            }
            return try copyFile(file, task)
        case .symlink:
            let text = try onFile(from, "copy") { () throws(Errno) in try source.directory.linkTarget(of: source.name) }
            return try copyLink(text, task)
        case .directory:
            let top = try onFile(from, "copy") { () throws(Errno) in
                RootedDirectory(try source.directory.openEntry(source.name, O_RDONLY | O_DIRECTORY))
            }
            return try copyTree(of: top, task)
        case .other: throw notRegular(from)
        }
    }

    private func copyFile(_ file: OpenFile, _ task: CopyTask) throws -> FileCopyResult? {
        guard file.status.kind == .regular else { throw notRegular(task.from) }
        let size = file.status.size
        guard size <= Int64(Limits.copyBytes) else { throw Self.tooLarge(task.from) }
        let place = try targetPlace(task.to, task.precondition, of: .regular)
        let expected = try expectation(task.to, place, task.precondition, wasGiven: task.wasGiven)
        // A file that was there keeps its mode and owner; a link that was there is replaced.
        let keeps = place.status?.kind == .regular
        var pending = try onFile(task.to, "copy to") { () throws(Errno) in
            let pending = try PendingFile.begin(
                at: place, owner: uidBase, attributes: keeps ? .kept(executable: nil) : .mode(file.status.mode),
                names: names)
            try pending.write(contentOf: file.descriptor, size: size, task.budget)
            try pending.synchronize()
            return pending
        }
        guard try commit(&pending, task.to, expected) else { return nil }
        return FileCopyResult(
            from: task.from.description, to: task.to.description, copied: 1, sizeBytes: size,
            replaced: place.status != nil)
    }

    private func copyLink(_ text: [UInt8], _ task: CopyTask) throws -> FileCopyResult? {
        let place = try targetPlace(task.to, task.precondition, of: .symlink)
        let expected = try expectation(task.to, place, task.precondition, wasGiven: task.wasGiven)
        let isDone = try onFile(task.to, "copy to") { () throws(Errno) in
            let temporary = TemporaryNames.random()
            names?.note(temporary, in: place.directory)
            defer { names?.forget(temporary) }
            try place.directory.makeSymlink(
                temporary, target: text.map { CChar(bitPattern: $0) } + [0], owner: uidBase)
            do throws(Errno) {
                guard try put(temporary, of: place.directory, at: place, expected) else { throw Errno(EAGAIN) }
                try place.directory.synchronize()
                return true
            } catch {
                try? place.directory.removeEntry(temporary)
                guard error.number == EAGAIN else { throw error }
                return false
            }
        }
        guard isDone else { return nil }
        return FileCopyResult(
            from: task.from.description, to: task.to.description, copied: 1, sizeBytes: 0,
            replaced: place.status != nil)
    }

    private func copyTree(of source: RootedDirectory, _ task: CopyTask) throws -> FileCopyResult? {
        guard task.isRecursive else {
            throw FastableError(
                .unprocessable, "‘\(task.from)’ is a directory. Set ‘recursive’ to copy it with its content.",
                details: ["field": "recursive"])
        }
        let place = try targetPlace(task.to, task.precondition, of: .directory)
        let expected = try expectation(task.to, place, task.precondition, wasGiven: task.wasGiven)
        let staged = try onFile(task.to, "copy to") { () throws(Errno) in try StagedTree(in: root, owner: uidBase) }
        defer { try? staged.remove() }
        return try fill(staged, from: source, task, place, expected)
    }

    /// Copies out of sight first, so that nobody sees half a tree and neither a failure nor the daemon's end leaves one behind.
    private func fill(
        _ staged: StagedTree, from source: RootedDirectory, _ task: CopyTask,
        _ place: borrowing RootedDirectory.Place, _ expected: Expectation
    ) throws -> FileCopyResult? {
        do throws(Errno) {
            let mode = try source.descriptor.status().mode & 0o777
            var copy = TreeCopy(
                from: source, to: staged.tree, goingInto: try place.directory.status(), owner: uidBase,
                budget: task.budget)
            try copy.run()
            try staged.tree.descriptor.setMode(mode)
            try copy.synchronize()
            guard try put(StagedTree.treeName, of: staged.directory, at: place, expected) else { return nil }
            try place.directory.synchronize()
            return FileCopyResult(
                from: task.from.description, to: task.to.description, copied: copy.copied + 1,
                sizeBytes: copy.sizeBytes, skipped: copy.skipped)
        } catch {
            switch error.number {
            case EINVAL: throw intoItself(task.from)
            case EFBIG: throw Self.tooLarge(task.from)
            case E2BIG:
                throw FastableError(
                    .limit,
                    "‘\(task.from)’ has more than \(Limits.copyEntries) files. Copy it in parts, or by a command.",
                    details: ["limit": .integer(Int64(Limits.copyEntries))])
            default: throw error.fileError(task.to.description, doing: "copy to")
            }
        }
    }

    private static func tooLarge(_ path: RootedPath) -> FastableError {
        FastableError(
            .tooLarge, "‘\(path)’ has more than \(Limits.copyBytes) bytes, which fs.copy does not copy. Use a command.",
            details: ["path": .string(path.description), "limit": .integer(Int64(Limits.copyBytes))])
    }
}
