import FastableCore

/// The rules for what people name and configure. Each throws `unprocessable` that names the field and says what is
/// allowed.
public enum Rules {
    /// `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`: fits into a host name, and never looks like an id.
    public static func projectName(_ text: String, field: String = "name") throws {
        try require(
            isName(text, inner: { $0 == UInt8(ascii: "-") }), field,
            "must have 1 to 63 lower-case letters, digits and hyphens, and begin and end with a letter or digit")
    }

    /// The name of an image on a node, which is also a directory's name there: no `/` and no `:`.
    public static func imageName(_ text: String, field: String = "image") throws {
        let inner: (UInt8) -> Bool = { "-._".utf8.contains($0) }
        try require(
            isName(text, inner: inner) && !text.contains(".."), field,
            "must have 1 to 63 lower-case letters, digits, hyphens, underscores and single dots, and begin and end "
                + "with a letter or digit")
    }

    /// A name for people: one line of visible text.
    public static func tokenName(_ text: String, field: String = "name") throws {
        let fits = !text.isEmpty && text.utf8.count <= Limits.nameBytes && Words.shown(text) == text
        try require(
            fits && text.first != " " && text.last != " ", field,
            "must have 1 to \(Limits.nameBytes) bytes of visible text on one line, without spaces around it")
    }

    /// Names as the shell takes them, values without NUL, and not too many.
    public static func environment(_ entries: [String: String], field: String = "environment") throws {
        try require(
            entries.count <= Limits.execEnvironmentEntries, field,
            "must have at most \(Limits.execEnvironmentEntries) entries")
        var bytes = 0
        for (name, value) in entries {
            let named = "\(field).\(Words.shown(name))"
            try require(
                isVariableName(name), named,
                "must have a name of letters, digits and underscores that does not begin with a digit")
            try require(!value.utf8.contains(0), named, "must not have a NUL character")
            bytes += name.utf8.count + value.utf8.count + 2
        }
        try require(
            bytes <= Limits.execArgumentBytes, field, "must have at most \(Limits.execArgumentBytes) bytes in all")
    }

    /// A remote to clone from: `https://…`, `ssh://…` or `git@host:path`. See `GitURLRule`.
    public static func gitURL(_ text: String, field: String = "url") throws {
        if let problem = GitURLRule.problem(with: text) { try require(false, field, problem) }
    }

    /// The part of `git check-ref-format --branch` that keeps a name from being read as an option or a revision.
    public static func gitBranch(_ text: String, field: String = "branch") throws {
        let bytes = Array(text.utf8)
        let forbidden = Set(" ~^:?*[\\".utf8)
        let plain = bytes.allSatisfy { $0 > 0x20 && $0 != 0x7f && !forbidden.contains($0) }
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        let partsFit = parts.allSatisfy { !$0.isEmpty && !$0.hasPrefix(".") && !$0.hasSuffix(".lock") }
        let whole =
            !bytes.isEmpty && bytes.count <= Limits.gitBranchBytes && !text.hasPrefix("-") && !text.hasSuffix(".")
            && !text.contains("..") && !text.contains("@{") && text != "@" && text != "HEAD"
        try require(plain && partsFit && whole, field, "is not a name that git allows for a branch")
    }

    private static func require(_ fits: Bool, _ field: String, _ rule: String) throws {
        guard !fits else { return }
        throw FastableError(.unprocessable, "‘\(field)’ \(rule).", details: ["field": .string(field)])
    }

    private static func isName(_ text: String, inner: (UInt8) -> Bool) -> Bool {
        let bytes = text.utf8
        guard let first = bytes.first, let last = bytes.last, bytes.count <= Limits.nameBytes else { return false }
        let isOuter: (UInt8) -> Bool = { $0.isLowerCase || $0.isDigit }
        return isOuter(first) && isOuter(last) && bytes.allSatisfy { isOuter($0) || inner($0) }
    }

    private static func isVariableName(_ text: String) -> Bool {
        guard let first = text.utf8.first, !first.isDigit else { return false }
        return text.utf8.allSatisfy { $0.isAlphanumeric || $0 == UInt8(ascii: "_") }
    }
}
