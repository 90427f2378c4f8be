import FastableCore

/// Takes the output of ripgrep's `--heading --null --line-number --byte-offset` apart.
///
/// For each file: its path, a zero byte, then lines `number:offset:text`, and an empty line before the next file. Remarks of ripgrep
/// about binary files stand between and are passed over. Everything in it is chosen by whoever made the files.
struct MatchOutput {
    struct Match {
        var path: [UInt8]
        var line: Int
        /// Where the line begins in the file, in bytes.
        var offset: Int64
        /// The beginning of the line, as ripgrep saw it.
        var text: ArraySlice<UInt8>
    }

    private var path: [UInt8] = []
    private var isInPath = true
    private var partial: [UInt8] = []
    /// Longer pieces are cut: a line is printed up to `Limits.grepLineBytes` characters, a path is shorter.
    private static let pieceBytes = 16 * Limits.grepLineBytes

    mutating func feed(_ bytes: UnsafeRawBufferPointer, _ body: (Match) throws -> Bool) rethrows -> Bool {
        var rest = bytes[...]
        while let end = rest.firstIndex(of: isInPath ? 0 : 0x0a) {
            append(rest[..<end])
            rest = rest[(end + 1)...]
            let piece = partial
            partial.removeAll(keepingCapacity: true)
            if isInPath {
                path = piece
                isInPath = false
            } else if piece.isEmpty {
                isInPath = true
            } else if let match = parse(piece), try !body(match) {
                return false
            }
        }
        append(rest)
        return true
    }

    private mutating func append(_ bytes: Slice<UnsafeRawBufferPointer>) {
        partial += bytes.prefix(max(0, Self.pieceBytes - partial.count))
    }

    private func parse(_ piece: [UInt8]) -> Match? {
        let fields = piece.split(separator: UInt8(ascii: ":"), maxSplits: 2, omittingEmptySubsequences: false)
        guard fields.count == 3, let line = Int(String(decoding: fields[0], as: UTF8.self)),
            let offset = Int64(String(decoding: fields[1], as: UTF8.self)), line > 0, offset >= 0
        else { return nil }
        return Match(path: path, line: line, offset: offset, text: fields[2])
    }
}
