public import FastableCore
import Glibc
import NodeLinux

extension FileService {
    /// Replaces exact pieces of a text file: all of them or none.
    ///
    /// - Throws: `not_found` for the file and for a text (with hints), `ambiguous`, `stale`, `unprocessable`, `binary`, `too_large`.
    public func edit(_ request: FileEdit) async throws -> FileEditResult {
        let path = try Self.requestedPath(request.path)
        let ifMatch = try Precondition(request.ifMatch)
        return try await offload { [self] in
            for _ in 0..<Self.attempts {
                if let result = try editOnce(path, request.edits, ifMatch) { return result }
            }
            throw busy(path)
        }
    }

    /// One try; `nil` when the file was changed by somebody else meanwhile.
    private func editOnce(
        _ path: RootedPath, _ edits: [FileEdit.Replacement], _ ifMatch: Precondition
    ) throws -> FileEditResult? {
        let place = try onFile(path, "edit") { () throws(Errno) in
            try root.finalPlace(of: path, makingDirectoriesFor: nil)
        }
        let (content, status) = try editable(path, place, ifMatch)
        let outcome = try EditEngine.apply(edits, to: content, path: path.description)
        let digest = Digest.of(outcome.content)
        var pending = try onFile(path, "edit") { () throws(Errno) in
            let pending = try PendingFile.begin(
                at: place, owner: uidBase, attributes: .kept(executable: nil), names: names)
            try pending.write(outcome.content)
            try pending.synchronize()
            return pending
        }
        guard try commit(&pending, path, .unchanged(status)) else { return nil }
        return FileEditResult(
            path: path.description, sha256: digest, replacements: outcome.replacements, firstLine: outcome.firstLine,
            snippet: outcome.snippet)
    }

    private func editable(
        _ path: RootedPath, _ place: borrowing RootedDirectory.Place, _ ifMatch: Precondition
    ) throws -> (content: [UInt8], status: FileStatus) {
        switch place.status?.kind {
        case .regular: break
        case nil: throw Errno(ENOENT).fileError(path.description, doing: "edit")
        case .directory: throw Errno(EISDIR).fileError(path.description, doing: "edit")
        case .symlink, .other: throw notRegular(path)
        }
        let (content, status) = try onFile(path, "read") { () throws(Errno) in
            let file = try place.directory.openEntry(place.name, O_RDONLY)
            let status = try file.status()
            return (try file.readAll(limit: Limits.fileEditBytes + 1), status)
        }
        guard status.kind == .regular else { throw notRegular(path) }
        guard content.count <= Limits.fileEditBytes else {
            throw FastableError(
                .tooLarge,
                "‘\(path)’ has more than \(Limits.fileEditBytes) bytes, which fs.edit does not open. Use a command.",
                details: ["limit": .integer(Int64(Limits.fileEditBytes))])
        }
        switch ifMatch {
        case .none: break
        case .absent: throw stale(path, current: Digest.of(content))
        case .digest(let wanted):
            let current = Digest.of(content)
            guard current == wanted else { throw stale(path, current: current) }
        case .version(let wanted):
            guard status.version == wanted else { throw stale(path, current: Digest.of(content)) }
        }
        guard Self.isText(content) else {
            throw FastableError(
                .binary, "‘\(path)’ is not UTF-8 text, so it cannot be edited as text.",
                details: ["path": .string(path.description)])
        }
        return (content, status)
    }

    private static func isText(_ content: [UInt8]) -> Bool {
        var validator = UTF8Validator()
        content.withUnsafeBytes { validator.feed($0) }
        return validator.isComplete && !content.contains(0)
    }
}
