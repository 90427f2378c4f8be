public import FastableCore
import FoundationEssentials
import Glibc
import NodeLinux
import Synchronization

/// Which files a search is about is found out here, since ignore files are hostile: see ``IgnoreLevels``. ripgrep searches them; this
/// service lets nothing of it out unseen. ripgrep opens files by their names and can be led astray by a process that swaps a directory
/// for a symbolic link meanwhile. So it runs as the container's root without any privilege, and each result is looked up again below
/// the workspace, without links; the text of a match is read from there.
extension FileService {
    /// Paths of regular files that match, sorted; `.gitignore` is honoured, `.git` left out.
    public func glob(_ request: FileGlob) async throws -> FileGlobResult {
        let paths = Mutex<[String]>([])
        var result = try await glob(request) { found in paths.withLock { $0 += found } }
        result.paths = paths.withLock { $0 }.sorted()
        return result
    }

    /// The same, told as it is found and not sorted; the result has no paths. A slow `found` slows the search.
    public func glob(
        _ request: FileGlob, found: @Sendable ([String]) async throws -> Void
    ) async throws -> FileGlobResult {
        let path = try Self.requestedPath(request.path ?? ".")
        let pattern = try SearchPattern(request.pattern, field: "pattern")
        let limit = try Self.limit(request.limit, Limits.globResults)
        let includeIgnored = request.includeIgnored ?? false
        let cancellation = Cancellation()
        return try await withTaskCancellationHandler {
            let walk = try await offload { [self] in
                let walker = try SearchWalker(
                    root: root, path: path, top: try directory(path, "search"), pattern: pattern,
                    includeIgnored: includeIgnored, cancellation: cancellation)
                return GlobWalk(walker, path: path, limit: limit)
            }
            while let paths = try await offload({ try walk.next() }) { try await found(paths) }
            return FileGlobResult(paths: [], truncated: walk.isTruncated)
        } onCancel: {
            cancellation.cancel()
        }
    }

    /// What ignore files leave out below a directory.
    private func ignored(_ path: RootedPath, _ top: RootedDirectory) async throws -> IgnoredPaths {
        let cancellation = Cancellation()
        return try await withTaskCancellationHandler {
            try await offload { [self] in
                var walker = try SearchWalker(
                    root: root, path: path, top: top, includeIgnored: false, remembersIgnored: true,
                    cancellation: cancellation)
                while try walker.next() != nil {}
                return try IgnoredPaths(walker.ignored ?? IgnoredPaths.Draft())
            }
        } onCancel: {
            cancellation.cancel()
        }
    }

    /// Lines that match, by path and line. Files above `Limits.searchFileBytes` and binary files are not searched.
    public func grep(_ request: FileGrep) async throws -> FileGrepResult {
        try await work.search {
            let (run, collector) = try await prepare(request)
            try await run.search.run(run.arguments, standardInput: run.file, collector.feed)
            return collector.result
        }
    }

    /// The same, told as it is found; the result has no matches. A slow `found` slows the search.
    public func grep(
        _ request: FileGrep, found: @escaping @Sendable ([FileGrepResult.Match]) async throws -> Void
    ) async throws -> FileGrepResult {
        try await work.search {
            let (run, collector) = try await prepare(request)
            try await run.search.stream(run.arguments + ["--line-buffered"], standardInput: run.file) { [self] bytes in
                let (matches, goesOn) = try await offload { collector.take(bytes) }
                if !matches.isEmpty { try await found(matches) }
                return goesOn
            }
            return collector.result
        }
    }

    private struct GrepRun: Sendable {
        var search: Search
        var arguments: [String]
        /// Searched instead of a directory.
        var file: OpenFile?
    }

    private func prepare(_ request: FileGrep) async throws -> (GrepRun, MatchCollector) {
        let path = try Self.requestedPath(request.path ?? ".")
        let glob = try Self.globArguments(request.glob)
        let limit = try Self.limit(request.limit, Limits.grepMatches)
        let arguments = try Self.grepArguments(request)
        let file = try onFile(path, "search") { () throws(Errno) in try OpenFile(try root.open(path, O_RDONLY)) }
        switch file.status.kind {
        case .directory:
            let top = try directory(path, "search")
            let ignored = request.includeIgnored ?? false ? nil : try await ignored(path, top)
            let collector = MatchCollector(top: path, limit: limit) { name in
                guard ignored?.contains(name) != true else { return nil }
                return try? OpenFile(try top.openWithoutLinks(name, O_RDONLY))
            }
            return (GrepRun(search: try await search(top, ignored), arguments: arguments + glob), collector)
        case .regular:
            guard file.status.size <= Limits.searchFileBytes else {
                throw FastableError(
                    .tooLarge,
                    "‘\(path)’ has more than \(Limits.searchFileBytes) bytes, which fs.grep does not search.",
                    details: ["limit": .integer(Int64(Limits.searchFileBytes))])
            }
            let collector = MatchCollector(top: path, limit: limit) { _ in file }
            return (GrepRun(search: try await search(root), arguments: arguments + ["-"], file: file), collector)
        case .symlink, .other: throw notRegular(path)
        }
    }

    private func search(_ top: RootedDirectory, _ ignored: IgnoredPaths? = nil) async throws -> Search {
        Search(top: top, uidBase: uidBase, group: try await searchGroup?(), ignored: ignored)
    }

    private static func limit(_ wanted: Int?, _ most: Int) throws -> Int {
        guard let wanted else { return most }
        guard (1...most).contains(wanted) else { throw outOfRange("limit", "1 to \(most)") }
        return wanted
    }

    private static func globArguments(_ glob: String?) throws -> [String] {
        guard let glob else { return [] }
        _ = try SearchPattern(glob, field: "glob")
        return ["--glob=\(glob)"]
    }

    private static func grepArguments(_ request: FileGrep) throws -> [String] {
        guard !request.pattern.utf8.contains(0) else {
            throw FastableError(.invalid, "The pattern contains a NUL character.", details: ["field": "pattern"])
        }
        guard request.pattern.utf8.count <= Limits.searchPatternBytes else {
            throw FastableError(
                .tooLarge, "The field ‘pattern’ is longer than \(Limits.searchPatternBytes) bytes.",
                details: ["field": "pattern", "limit": .integer(Int64(Limits.searchPatternBytes))])
        }
        var arguments = [
            "--heading", "--with-filename", "--line-number", "--byte-offset", "--encoding=none",
            "--max-columns=\(Limits.grepLineBytes)", "--max-columns-preview",
            "--max-filesize=\(Limits.searchFileBytes)",
            "--regexp=\(request.pattern)",
        ]
        if request.ignoreCase ?? false { arguments.append("--ignore-case") }
        if request.fixedString ?? false { arguments.append("--fixed-strings") }
        return arguments
    }
}

extension RootedPath {
    /// A path below this one as seen from the root.
    func joined(_ below: String) -> String { isRoot ? below : "\(self)/\(below)" }
}
