import FastableCore

/// Why a text was not found: what helps to write the edit again.
struct EditHints {
    /// Facts for the error's details: `nearest` [{line, text}], `whitespaceOnly`, `alreadyApplied`.
    private(set) var details: [String: JSONValue] = [:]
    /// For the error's message.
    private(set) var sentence = "Read the file again and copy the text exactly."

    init(old: [UInt8], new: [UInt8], content: [UInt8]) {
        let head = Array(content.prefix(Limits.editHintBytes))
        if Self.isApplied(new, head) {
            details["alreadyApplied"] = true
            sentence = "‘newString’ stands there already: this edit was probably made before."
        }
        if let match = WhitespaceSearch(head).find(old) {
            details["whitespaceOnly"] = true
            details["nearest"] = .array([Self.fact(match.line, match.text)])
            if details["alreadyApplied"] == nil {
                sentence = "A text at line \(match.line) differs in white space only; copy it from there exactly."
            }
            return
        }
        let nearest = LineSimilarity(old).best(in: head)
        guard let first = nearest.first else { return }
        details["nearest"] = .array(nearest.map { Self.fact($0.line, $0.text) })
        if details["alreadyApplied"] == nil {
            sentence = "The nearest line is \(first.line): ‘\(Self.shown(first.text))’."
        }
    }

    private static func isApplied(_ new: [UInt8], _ content: [UInt8]) -> Bool {
        // A short text stands in a file by chance.
        guard new.count >= 8 || new.contains(0x0a) else { return false }
        return TextSearch.first(new, in: content, from: 0) != nil
            || TextSearch.first(LineEnds.withCRLF(new), in: content, from: 0) != nil
    }

    private static func fact(_ line: Int, _ text: ArraySlice<UInt8>) -> JSONValue {
        let whole = Array(text).prefixOfWholeCharacters(Limits.editSnippetBytes)
        return ["line": .integer(Int64(line)), "text": .string(String(decoding: whole, as: UTF8.self))]
    }

    private static func shown(_ text: ArraySlice<UInt8>) -> String {
        let short = Array(text).prefixOfWholeCharacters(120)
        return String(decoding: short, as: UTF8.self) + (short.count < text.count ? "…" : "")
    }
}

/// Finds a text in another without regard to white space.
private struct WhitespaceSearch {
    private let content: [UInt8]
    private var dense: [UInt8] = []
    /// Where each byte of `dense` stands in `content`.
    private var origins: [UInt32] = []

    init(_ content: [UInt8]) {
        self.content = content
        for (index, byte) in content.enumerated() where !Self.isSpace(byte) {
            dense.append(byte)
            origins.append(UInt32(index))
        }
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0d).contains(byte) }

    /// The whole lines that hold the match, without the last line end.
    func find(_ text: [UInt8]) -> (line: Int, text: ArraySlice<UInt8>)? {
        let wanted = text.filter { !Self.isSpace($0) }
        guard !wanted.isEmpty, let match = TextSearch.first(wanted, in: dense, from: 0) else { return nil }
        let first = Int(origins[match])
        let last = Int(origins[match + wanted.count - 1])
        let start = content[..<first].lastIndex(of: 0x0a).map { $0 + 1 } ?? 0
        let end = content[last...].firstIndex(of: 0x0a) ?? content.count
        return (content[..<first].count { $0 == 0x0a } + 1, content[start..<end])
    }
}

/// How alike lines are to the longest line of a text, by the pairs of bytes that they share.
private struct LineSimilarity {
    private var wanted = [Bool](repeating: false, count: 65_536)
    private var wantedPairs = 0

    init(_ text: [UInt8]) {
        let lines = text.split(separator: 0x0a).map(Self.trimmed)
        guard let longest = lines.max(by: { $0.count < $1.count }) else { return }
        for pair in Self.pairs(longest) where !wanted[pair] {
            wanted[pair] = true
            wantedPairs += 1
        }
    }

    private static func trimmed(_ line: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var line = line
        while let first = line.first, first <= 0x20 { line.removeFirst() }
        while let last = line.last, last <= 0x20 { line.removeLast() }
        return line
    }

    private static func pairs(_ line: ArraySlice<UInt8>) -> some Sequence<Int> {
        zip(line, line.dropFirst()).lazy.map { Int($0) << 8 | Int($1) }
    }

    /// The three most similar lines, the best first; none below a half.
    func best(in content: [UInt8]) -> [(line: Int, text: ArraySlice<UInt8>)] {
        guard wantedPairs > 0 else { return [] }
        var best: [(score: Double, line: Int, text: ArraySlice<UInt8>)] = []
        var seenInLine = [Int](repeating: 0, count: 65_536)
        var number = 0
        var rest = content[...]
        // One line at a time: a list of all of them could take far more memory than the text.
        while !rest.isEmpty {
            let text = rest.prefix { $0 != 0x0a }
            rest = rest.dropFirst(text.count + 1)
            number += 1
            let line = Self.trimmed(text)
            var pairs = 0
            var shared = 0
            for pair in Self.pairs(line) where seenInLine[pair] != number {
                seenInLine[pair] = number
                pairs += 1
                if wanted[pair] { shared += 1 }
            }
            let score = 2 * Double(shared) / Double(pairs + wantedPairs)
            guard score >= 0.5, best.count < 3 || score > best[best.count - 1].score else { continue }
            best.append((score, number, text.last == 0x0d ? text.dropLast() : text))
            best.sort { ($0.score, $1.line) > ($1.score, $0.line) }
            best = Array(best.prefix(3))
        }
        return best.map { ($0.line, $0.text) }
    }
}
