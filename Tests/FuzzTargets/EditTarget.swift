import FastableCore
import NodeFiles

/// Edits, compared with a model that is as plain as it can be.
enum EditTarget {
    static func run(_ bytes: [UInt8]) throws {
        var script = ByteScript(bytes)
        let edits = (0..<(script.number(below: 4) + 1)).map { _ in Choice(&script) }
        let content = Array(text(script.rest()).utf8)
        var model = content
        var replacements: [FileEdit.Replacement] = []
        var expectsFailure = false
        for choice in edits {
            let edit = choice.edit(of: model)
            replacements.append(edit)
            guard !expectsFailure, let next = Model(original: content).apply(edit, to: model) else {
                expectsFailure = true
                continue
            }
            model = next
        }
        expectsFailure = expectsFailure || model == content
        do {
            let outcome = try EditEngine.apply(replacements, to: content, path: "file")
            try require(!expectsFailure, "an edit that had to be refused")
            try require(outcome.content == model, "another text than the model's")
            try check(outcome, edits: replacements.count)
        } catch let error as FastableError {
            try require(expectsFailure, "an edit that had to be made: \(error)")
            let allowed: Set<FastableError.Code> = [.notFound, .ambiguous, .unprocessable, .tooLarge]
            try require(allowed.contains(error.code), "an error of the wrong kind: \(error)")
        }
    }

    private static func check(_ outcome: EditEngine.Outcome, edits: Int) throws {
        let lines = outcome.content.count { $0 == 0x0a } + 1
        try require(outcome.replacements >= edits, "too few replacements")
        try require((1...lines).contains(outcome.firstLine), "a line that is not there")
        try require(outcome.snippet.utf8.count <= Limits.editSnippetBytes, "a snippet that is too long")
        let snippet = Array(outcome.snippet.utf8)
        let isThere = (0...max(0, outcome.content.count - snippet.count)).contains { start in
            outcome.content[start...].starts(with: snippet)
        }
        try require(isThere, "a snippet that is not in the text")
    }

    /// Text from any bytes: an editor is given nothing else.
    private static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

    /// How a fuzzer's bytes choose an edit; mostly of something that stands in the text.
    private struct Choice {
        let start: Int
        let length: Int
        let flags: UInt8
        let old: [UInt8]
        let new: [UInt8]

        init(_ script: inout ByteScript) {
            flags = script.byte()
            start = script.number(below: 256)
            length = script.number(below: 24)
            old = flags & 2 == 0 ? [] : script.bytes(script.number(below: 24))
            new = script.bytes(script.number(below: 24))
        }

        func edit(of content: [UInt8]) -> FileEdit.Replacement {
            let rest = content.dropFirst(content.isEmpty ? 0 : start % content.count)
            var wanted = flags & 2 == 0 ? Array(rest.prefix(length)) : old
            if flags & 4 != 0 { wanted.removeAll { $0 == 0x0d } }
            return .init(
                oldString: text(wanted), newString: text(new),
                replaceAll: flags & 1 == 1 ? true : (flags & 8 == 0 ? nil : false))
        }
    }

    static var seeds: [[UInt8]] {
        let texts = ["one\ntwo\nthree\n", "a\r\nb\r\nc\r\n", "aaaaaaaa", "ä\u{301} ö\n\n\n"].map { Array($0.utf8) }
        return texts.flatMap { text in
            [
                [0, 0, 2, 3, 2, 0x78, 0x79] + text, [0, 1, 0, 1, 3, 0x31, 0x0a, 0x32] + text,
                [1, 4, 0, 5, 1, 0x0a, 2, 0, 0, 2, 0x61, 0x62, 1, 0x63] + text,
            ]
        }
    }
}

private struct Model {
    /// Whether the text had the line ends of Windows before the first edit.
    private let usesCRLF: Bool

    init(original: [UInt8]) {
        let feeds = original.indices.filter { original[$0] == 0x0a }
        usesCRLF = !feeds.isEmpty && feeds.allSatisfy { $0 > 0 && original[$0 - 1] == 0x0d }
    }

    /// What one edit makes of a text; `nil` when it has to be refused.
    func apply(_ edit: FileEdit.Replacement, to content: [UInt8]) -> [UInt8]? {
        let old = Array(edit.oldString.utf8)
        let new = Array(edit.newString.utf8)
        guard !old.isEmpty, old != new else { return nil }
        let all = edit.replaceAll == true
        if !starts(of: old, in: content).isEmpty { return replace(old, new, content, all) }
        guard usesCRLF, withCRLF(old) != old else { return nil }
        return replace(withCRLF(old), withCRLF(new), content, all)
    }

    private func replace(_ old: [UInt8], _ new: [UInt8], _ content: [UInt8], _ all: Bool) -> [UInt8]? {
        let starts = starts(of: old, in: content)
        guard !starts.isEmpty, all || starts.count == 1 else { return nil }
        var result: [UInt8] = []
        var index = 0
        while index < content.count {
            if content[index...].starts(with: old) {
                result += new
                index += old.count
            } else {
                result.append(content[index])
                index += 1
            }
        }
        return result
    }

    private func starts(of text: [UInt8], in content: [UInt8]) -> [Int] {
        content.indices.filter { content[$0...].starts(with: text) }
    }

    private func withCRLF(_ text: [UInt8]) -> [UInt8] {
        text.indices.flatMap { text[$0] == 0x0a && ($0 == 0 || text[$0 - 1] != 0x0d) ? [0x0d, 0x0a] : [text[$0]] }
    }
}
