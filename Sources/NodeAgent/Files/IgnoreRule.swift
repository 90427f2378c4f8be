import FastableCore

/// One line of an ignore file, or the pattern of a search: git's marks around a glob.
///
/// A leading `!` turns the meaning round, a leading `/` or one in the middle ties it to the directory of the file, a trailing `/` makes
/// it one for directories.
package struct IgnoreRule: Sendable {
    let pattern: GlobPattern
    let isNegated: Bool
    let isForDirectories: Bool

    /// `nil` for an empty line and for a comment.
    init?(line: String) throws(GlobSyntaxError) {
        var text = Substring(line)
        if text.hasPrefix("#") { return nil }
        if !text.hasSuffix("\\ ") {
            while text.last?.isWhitespace == true { text.removeLast() }
        }
        guard !text.isEmpty else { return nil }
        var isNegated = false
        var isTied = false
        if text.hasPrefix("\\!") || text.hasPrefix("\\#") {
            text.removeFirst()
        } else {
            isNegated = text.hasPrefix("!")
            if isNegated { text.removeFirst() }
            isTied = text.hasPrefix("/")
            if isTied { text.removeFirst() }
        }
        isForDirectories = text.hasSuffix("/")
        if isForDirectories { text.removeLast() }
        self.isNegated = isNegated
        var glob = String(text)
        if !isTied, !glob.utf8.contains(UInt8(ascii: "/")), glob != "**" { glob = "**/" + glob }
        // What is in a directory, not the directory itself.
        if glob.hasSuffix("/**") { glob += "/*" }
        pattern = try GlobPattern(glob)
    }

    func matches(_ path: ArraySlice<UInt8>, isDirectory: Bool) -> Bool {
        (isDirectory || !isForDirectories) && pattern.matches(path)
    }
}

/// The pattern that a search is asked for, as ripgrep's `--glob` takes it.
package struct SearchPattern: Sendable {
    /// `nil` fits everything: the pattern is a comment or empty to ripgrep.
    private let rule: IgnoreRule?

    /// - Throws: `invalid` or `too_large` naming `field` when the pattern is not well formed.
    package init(_ text: String, field: String) throws {
        guard text.utf8.count <= Limits.searchPatternBytes else {
            throw FastableError(
                .tooLarge, "The field ‘\(field)’ is longer than \(Limits.searchPatternBytes) bytes.",
                details: ["field": .string(field), "limit": .integer(Int64(Limits.searchPatternBytes))])
        }
        guard !text.isEmpty, !text.utf8.contains(0) else {
            throw FastableError(
                .invalid, "The field ‘\(field)’ must be a pattern such as ‘*.c’ or ‘src/**’.",
                details: ["field": .string(field)])
        }
        do throws(GlobSyntaxError) {
            rule = try IgnoreRule(line: text)
        } catch {
            throw FastableError(
                .invalid, "The field ‘\(field)’ is not a valid pattern: \(error.reason).",
                details: ["field": .string(field)])
        }
    }

    /// Whether a file is wanted.
    package func accepts(file path: [UInt8]) -> Bool {
        guard let rule else { return true }
        return rule.matches(path[...], isDirectory: false) != rule.isNegated
    }

    /// Whether there may be wanted files in a directory.
    package func accepts(directory path: [UInt8]) -> Bool {
        guard let rule, rule.isNegated else { return true }
        return !rule.matches(path[...], isDirectory: true)
    }
}
