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
        let path = try RootedPath(request.path ?? ".")
        let pattern = try SearchPattern(request.pattern, field: "pattern")
        let limit = try Self.limit(request.limit, Limits.globResults)
        let includeIgnored = request.includeIgnored ?? false
        let cancellation = Cancellation()
        return try await withTaskCancellationHandler {
            try await offload { [self] in
                var walker = try SearchWalker(
                    root: root, path: path, top: try directory(path, "search"), pattern: pattern,
                    includeIgnored: includeIgnored, cancellation: cancellation)
                var result = FileGlobResult(paths: [], truncated: false)
                while let name = try walker.next() {
                    // A name that is no text cannot be told.
                    guard let text = String(validating: name, as: UTF8.self) else { continue }
                    result.truncated = result.paths.count == limit
                    if result.truncated { break }
                    result.paths.append(path.joined(text))
                }
                result.paths.sort()
                if walker.isIncomplete { result.truncated = true }
                return result
            }
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
                    root: root, path: path, top: top, includeIgnored: false, cancellation: cancellation)
                while try walker.next() != nil {}
                return try IgnoredPaths(walker.ignored)
            }
        } onCancel: {
            cancellation.cancel()
        }
    }

    /// Lines that match, by path and line. Files above `Limits.searchFileBytes` and binary files are not searched.
    public func grep(_ request: FileGrep) async throws -> FileGrepResult {
        let path = try RootedPath(request.path ?? ".")
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
            try await search(top, ignored).run(arguments + glob, collector.feed)
            return collector.result
        case .regular:
            guard file.status.size <= Limits.searchFileBytes else {
                throw FastableError(
                    .tooLarge,
                    "‘\(path)’ has more than \(Limits.searchFileBytes) bytes, which fs.grep does not search.",
                    details: ["limit": .integer(Int64(Limits.searchFileBytes))])
            }
            let collector = MatchCollector(top: path, limit: limit) { _ in file }
            try await search(root).run(arguments + ["-"], standardInput: file, collector.feed)
            return collector.result
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

/// Turns ripgrep's output into matches whose text was read below the workspace.
private final class MatchCollector: Sendable {
    private struct State {
        var parser = MatchOutput()
        var result = FileGrepResult(matches: [], filesWithMatches: 0, truncated: false)
        /// The file that the last match was in.
        var path: [UInt8]?
        var file: OpenFile?
        var counted = false
    }

    private let state = Mutex(State())
    private let top: RootedPath
    private let limit: Int
    private let open: @Sendable (_ name: [UInt8]) -> OpenFile?

    init(top: RootedPath, limit: Int, open: @escaping @Sendable ([UInt8]) -> OpenFile?) {
        self.top = top
        self.limit = limit
        self.open = open
    }

    var result: FileGrepResult { state.withLock { $0.result } }

    @Sendable func feed(_ bytes: UnsafeRawBufferPointer) -> Bool {
        state.withLock { state in
            var parser = state.parser
            defer { state.parser = parser }
            return parser.feed(bytes) { match in
                if match.path != state.path { enter(match.path, &state) }
                guard let file = state.file, let text = Self.line(match, in: file) else { return true }
                guard state.result.matches.count < limit else {
                    state.result.truncated = true
                    return false
                }
                if !state.counted { state.result.filesWithMatches += 1 }
                state.counted = true
                let name = String(decoding: match.path, as: UTF8.self)
                let path = Self.isInput(match.path) ? top.description : top.joined(name)
                state.result.matches.append(.init(path: path, line: match.line, text: text))
                return true
            }
        }
    }

    /// What ripgrep calls its standard input; a file of a directory cannot be meant, since then a directory is searched.
    private static func isInput(_ path: [UInt8]) -> Bool { path.elementsEqual("<stdin>".utf8) }

    private func enter(_ path: [UInt8], _ state: inout State) {
        state.path = path
        state.counted = false
        let file = open(path)
        state.file = file?.status.kind == .regular ? file : nil
    }

    /// The line from the file itself; `nil` when it is not the line that ripgrep saw.
    private static func line(_ match: MatchOutput.Match, in file: OpenFile) -> String? {
        guard let bytes = try? file.descriptor.readChunk(Limits.grepLineBytes + 1, at: match.offset) else { return nil }
        var line = bytes.prefix { $0 != 0x0a }
        // ripgrep's own text may be cut, and then a remark follows: the beginning tells enough.
        let known = match.text.prefix(64)
        guard line.starts(with: known.prefix(line.count)) else { return nil }
        if line.last == 0x0d { line.removeLast() }
        return String(decoding: Array(line).prefixOfWholeCharacters(Limits.grepLineBytes), as: UTF8.self)
    }
}
