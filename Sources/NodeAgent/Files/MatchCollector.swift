import FastableCore
import Glibc
import NodeLinux
import Synchronization

/// Turns ripgrep's output into matches whose text was read below the workspace.
final class MatchCollector: Sendable {
    private struct State {
        var parser = MatchOutput()
        var result = FileGrepResult(matches: [], filesWithMatches: 0, truncated: false)
        /// Also of those that were taken.
        var count = 0
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

    /// Takes output, and gives the matches since the last time; `false` when there were enough.
    func take(_ bytes: [UInt8]) -> ([FileGrepResult.Match], goesOn: Bool) {
        let goesOn = bytes.withUnsafeBytes { feed($0) }
        return state.withLock { state in
            defer { state.result.matches = [] }
            return (state.result.matches, goesOn)
        }
    }

    @Sendable func feed(_ bytes: UnsafeRawBufferPointer) -> Bool {
        state.withLock { state in
            var parser = state.parser
            defer { state.parser = parser }
            return parser.feed(bytes) { match in
                if match.path != state.path { enter(match.path, &state) }
                guard let file = state.file, let text = Self.line(match, in: file) else { return true }
                guard state.count < limit else {
                    state.result.truncated = true
                    return false
                }
                if !state.counted { state.result.filesWithMatches += 1 }
                state.counted = true
                let name = String(decoding: match.path, as: UTF8.self)
                let path = Self.isInput(match.path) ? top.description : top.joined(name)
                state.count += 1
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
