public import FastableCore
import Glibc
import NodeLinux

extension FileService {
    /// The entries below a directory, each directory before its content, sorted; hidden ones only on request.
    public func list(_ request: FileList) async throws -> FileListResult {
        let path = try Self.requestedPath(request.path ?? ".")
        let depth = request.depth ?? 1
        guard (1...Limits.listDepth).contains(depth) else { throw Self.outOfRange("depth", "1 to \(Limits.listDepth)") }
        return try await offload { [self] in
            try listNow(path, depth: depth, includeHidden: request.includeHidden ?? false)
        }
    }

    func listNow(_ path: RootedPath, depth: Int, includeHidden: Bool) throws -> FileListResult {
        let top = try directory(path, "list")
        return try onFile(path, "list") { () throws(Errno) in
            var walker = TreeWalker(
                top, depthLimit: depth, includeHidden: includeHidden, pendingLimit: Limits.listEntries + 1)
            var entries: [FileEntry] = []
            while let entry = try walker.next() {
                guard entries.count < Limits.listEntries else {
                    return FileListResult(path: path.description, entries: entries, truncated: true)
                }
                entries.append(FileEntry(entry))
            }
            return FileListResult(path: path.description, entries: entries, truncated: walker.isIncomplete)
        }
    }

    /// Opens a directory as the top of an operation of its own: nothing leads above it.
    func directory(_ path: RootedPath, _ what: String) throws -> RootedDirectory {
        do throws(Errno) {
            return RootedDirectory(try root.open(path, O_RDONLY | O_DIRECTORY))
        } catch {
            if error.number == ENOTDIR, let place = try? root.place(of: path), place.status != nil {
                throw FastableError(
                    .unprocessable, "‘\(path)’ is not a directory.", details: ["path": .string(path.description)])
            }
            throw error.fileError(path.description, doing: what)
        }
    }
}

extension FileEntry {
    init(_ entry: TreeWalker.Entry) {
        self.init(
            name: String(decoding: entry.path, as: UTF8.self), kind: Kind(entry.status.kind),
            sizeBytes: Int(entry.status.size), mode: entry.status.octalMode,
            modifiedMilliseconds: entry.status.modified / 1_000_000,
            symlinkTarget: entry.linkTarget.map { String(decoding: $0, as: UTF8.self) })
    }
}

extension FileEntry.Kind {
    init(_ kind: FileStatus.Kind) {
        self =
            switch kind {
            case .regular: .file
            case .directory: .directory
            case .symlink: .symlink
            case .other: .other
            }
    }
}

extension FileStatus {
    /// Another text for each state of each file: `v`, then inode, size and times. As fine as the clock of the filesystem.
    var version: String {
        "v"
            + [UInt64(bitPattern: changed), UInt64(bitPattern: modified), inode, UInt64(bitPattern: size)]
            .map { String($0, radix: 16) }.joined(separator: "-")
    }

    static func isVersion(_ text: String) -> Bool {
        let parts = text.utf8.dropFirst().split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
        return text.hasPrefix("v") && parts.count == 4
            && parts.allSatisfy { (1...16).contains($0.count) && $0.allSatisfy(Digest.isDigit) }
    }

    /// `0644`.
    var octalMode: String { Self.octal(mode) }

    static func octal(_ mode: UInt32) -> String {
        let digits = String(mode, radix: 8)
        return String(repeating: "0", count: max(0, 4 - digits.count)) + digits
    }
}
