import CLinux
package import FastableCore

/// Applies edits to a text: all of them, one after the other, or none. Pure.
///
/// Text is matched byte by byte. There is one other try, which loses nothing: in a file whose every line ends with CR LF, an
/// `oldString` with LF is taken to mean CR LF, and so is its `newString`.
package struct EditEngine {
    package struct Outcome: Sendable, Equatable {
        package var content: [UInt8]
        package var replacements: Int
        /// Line of the topmost replacement in the new content, counted from 1.
        package var firstLine: Int
        /// The lines of the topmost replacement, and four on each side.
        package var snippet: String
    }

    private var content: [UInt8]
    private let path: String
    private let total: Int
    private let usesCRLF: Bool
    private var replacements = 0
    private var topmost: Range<Int>?

    private init(_ content: [UInt8], _ path: String, _ total: Int) {
        self.content = content
        self.path = path
        self.total = total
        usesCRLF = LineEnds.areAllCRLF(content)
    }

    /// - Parameter path: for messages.
    /// - Throws: `not_found` with hints, `ambiguous` with the lines, `unprocessable`, `too_large`; `index` in the details, counted
    ///   from 0, tells which edit it was.
    package static func apply(
        _ edits: [FileEdit.Replacement], to content: [UInt8], path: String
    ) throws -> Outcome {
        guard !edits.isEmpty else {
            throw FastableError(.unprocessable, "The list ‘edits’ is empty.", details: ["field": "edits"])
        }
        guard edits.count <= Limits.fileEditsPerCall else {
            throw FastableError(
                .tooLarge, "There are \(edits.count) edits; one call takes \(Limits.fileEditsPerCall).",
                details: ["field": "edits", "limit": .integer(Int64(Limits.fileEditsPerCall))])
        }
        var engine = EditEngine(content, path, edits.count)
        for (index, edit) in edits.enumerated() { try engine.apply(edit, index) }
        guard engine.content != content else {
            throw FastableError(
                .unprocessable, "The edits cancel each other out: ‘\(path)’ would not change.",
                details: ["reason": "no_op"])
        }
        let range = engine.topmost ?? 0..<0
        let (line, snippet) = Snippet.around(range, in: engine.content)
        return Outcome(
            content: engine.content, replacements: engine.replacements, firstLine: line, snippet: snippet)
    }

    private mutating func apply(_ edit: FileEdit.Replacement, _ index: Int) throws {
        var old = Array(edit.oldString.utf8)
        var new = Array(edit.newString.utf8)
        guard !old.isEmpty else {
            throw failure(
                .unprocessable, index, "‘oldString’ is empty. To make a file or replace all of it use fs.write.",
                "empty_old")
        }
        guard old != new else {
            throw failure(.unprocessable, index, "‘oldString’ and ‘newString’ are the same.", "no_op")
        }
        if TextSearch.first(old, in: content, from: 0) == nil, usesCRLF, LineEnds.hasLoneLF(old) {
            let converted = LineEnds.withCRLF(old)
            if TextSearch.first(converted, in: content, from: 0) != nil {
                (old, new) = (converted, LineEnds.withCRLF(new))
            }
        }
        guard let first = TextSearch.first(old, in: content, from: 0) else {
            throw notFound(edit, index)
        }
        let replaceAll = edit.replaceAll ?? false
        if !replaceAll, TextSearch.first(old, in: content, from: first + 1) != nil {
            throw ambiguous(old, index)
        }
        let count = replaceAll ? TextSearch.count(old, in: content) : 1
        try replace(old, new, count, first, index)
    }

    private mutating func replace(_ old: [UInt8], _ new: [UInt8], _ count: Int, _ first: Int, _ index: Int) throws {
        let change = new.count - old.count
        guard content.count + count * change <= Limits.fileEditBytes else {
            throw failure(
                .tooLarge, index, "‘\(path)’ would become larger than \(Limits.fileEditBytes) bytes.", "too_large",
                ["limit": .integer(Int64(Limits.fileEditBytes))])
        }
        var result: [UInt8] = []
        result.reserveCapacity(content.count + count * change)
        var end = 0
        var matchesInTopmost = 0
        for _ in 0..<count {
            guard let match = TextSearch.first(old, in: content, from: end) else { break }
            result += content[end..<match]
            result += new
            end = match + old.count
            if let topmost, match < topmost.upperBound { matchesInTopmost += 1 }
        }
        result += content[end...]
        content = result
        replacements += count
        note(first..<(first + new.count), shift: matchesInTopmost * change)
    }

    /// Keeps where the topmost replacement is, while later edits move it.
    private mutating func note(_ range: Range<Int>, shift: Int) {
        guard let topmost, range.lowerBound > topmost.lowerBound else {
            topmost = range
            return
        }
        self.topmost = topmost.lowerBound..<max(topmost.lowerBound, topmost.upperBound + shift)
    }

    private func failure(
        _ code: FastableError.Code, _ index: Int, _ text: String, _ reason: String,
        _ details: [String: JSONValue] = [:]
    ) -> FastableError {
        let which = total == 1 ? "" : "Edit \(index + 1) of \(total): "
        let facts: [String: JSONValue] = [
            "index": .integer(Int64(index)), "path": .string(path), "reason": .string(reason),
        ]
        return FastableError(
            code, which + text + (total == 1 ? "" : " No edit was made."), details: facts.merging(details) { $1 })
    }

    private func ambiguous(_ old: [UInt8], _ index: Int) -> FastableError {
        // Two places that overlap are two, though only one of them could be replaced.
        let count = max(2, TextSearch.count(old, in: content))
        let lines = TextSearch.lines(of: old, in: content, limit: 20)
        let list = lines.map { "\($0)" }.joined(separator: ", ") + (count > lines.count ? ", …" : "")
        return failure(
            .ambiguous, index,
            "‘oldString’ stands \(count) times in ‘\(path)’ (lines \(list)). Add lines around it until it is unique, or set "
                + "‘replaceAll’.", "ambiguous",
            ["count": .integer(Int64(count)), "lines": .array(lines.map { .integer(Int64($0)) })])
    }

    private func notFound(_ edit: FileEdit.Replacement, _ index: Int) -> FastableError {
        let hints = EditHints(old: Array(edit.oldString.utf8), new: Array(edit.newString.utf8), content: content)
        return failure(
            .notFound, index, "‘oldString’ does not stand in ‘\(path)’. \(hints.sentence)", "no_match", hints.details)
    }
}
