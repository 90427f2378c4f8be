import FastableCore
import Glibc
import NodeLinux

/// The ignore files of a directory and of those above it, up to the workspace and no further.
///
/// They are hostile like all else there: they are opened without following a link, must be regular files, and have a limit. So they
/// can neither show what lies elsewhere nor hold anybody up, which ripgrep's own reading of them could.
struct IgnoreLevels {
    /// In the order of precedence: what ripgrep reads by default.
    private enum Source: Int, CaseIterable {
        case ripgrep, ignore, git, exclude

        var path: String {
            switch self {
            case .ripgrep: ".rgignore"
            case .ignore: ".ignore"
            case .git: ".gitignore"
            case .exclude: ".git/info/exclude"
            }
        }
    }

    private struct Level {
        /// Where the paths below this directory begin, in bytes.
        var start: Int
        /// By source; most directories have none.
        var rules: [[IgnoreRule]]
        var isRepository: Bool
        var isEmpty: Bool { !isRepository && rules.allSatisfy(\.isEmpty) }
    }

    private let root: RootedDirectory
    private var levels: [Level?] = []
    private var ruleCount = 0

    init(root: RootedDirectory) { self.root = root }

    var count: Int { levels.count }

    /// Reads the ignore files of a directory below those that were entered before.
    ///
    /// - Parameter path: from the root; empty for the root itself.
    mutating func enter(_ path: [UInt8]) throws {
        var level = Level(start: path.isEmpty ? 0 : path.count + 1, rules: [], isRepository: false)
        for source in Source.allCases {
            let rules = try read(path, source)
            ruleCount += rules.count
            guard ruleCount <= Limits.ignoreRules else { throw Self.tooMany(path, source.path) }
            level.rules.append(rules)
        }
        level.isRepository = isRepository(path)
        levels.append(level.isEmpty ? nil : level)
    }

    /// Forgets all but the `count` topmost directories.
    mutating func leave(to count: Int) {
        while levels.count > count {
            if let level = levels.removeLast() { ruleCount -= level.rules.reduce(0) { $0 + $1.count } }
        }
    }

    /// Whether an entry of the directory that was entered last is left out.
    func ignores(_ path: [UInt8], isDirectory: Bool) -> Bool {
        var verdicts = [Bool?](repeating: nil, count: Source.allCases.count)
        var leftRepository = false
        for level in levels.reversed() {
            guard let level else { continue }
            let below = path[level.start...]
            for source in Source.allCases where verdicts[source.rawValue] == nil {
                // The rules of a repository end where it ends.
                if leftRepository && (source == .git || source == .exclude) { continue }
                verdicts[source.rawValue] =
                    level.rules[source.rawValue].last { $0.matches(below, isDirectory: isDirectory) }
                    .map { !$0.isNegated }
            }
            if level.isRepository { leftRepository = true }
        }
        return verdicts.lazy.compactMap { $0 }.first ?? false
    }

    private func isRepository(_ path: [UInt8]) -> Bool {
        guard let file = try? root.openWithoutLinks(Self.join(path, ".git"), Search.pathOnly),
            let kind = try? file.status().kind
        else { return false }
        return kind == .directory || kind == .regular
    }

    private func read(_ path: [UInt8], _ source: Source) throws -> [IgnoreRule] {
        guard let file = try? root.openWithoutLinks(Self.join(path, source.path), O_RDONLY),
            let status = try? file.status(), status.kind == .regular,
            var bytes = try? file.readAll(limit: Limits.ignoreFileBytes + 1)
        else { return [] }
        guard bytes.count <= Limits.ignoreFileBytes else { throw Self.tooMany(path, source.path) }
        if bytes.starts(with: [0xef, 0xbb, 0xbf]) { bytes.removeFirst(3) }
        var rules: [IgnoreRule] = []
        for line in bytes.split(separator: 0x0a) {
            // ripgrep reads no further than the first line that is not text, and passes over patterns that are none.
            guard let text = String(validating: line, as: UTF8.self) else { break }
            guard text.utf8.count <= Limits.searchPatternBytes else { throw Self.tooMany(path, source.path) }
            if let rule = try? IgnoreRule(line: text) { rules.append(rule) }
        }
        return rules
    }

    private static func join(_ path: [UInt8], _ name: String) -> [UInt8] {
        path.isEmpty ? Array(name.utf8) : path + [UInt8(ascii: "/")] + Array(name.utf8)
    }

    private static func tooMany(_ path: [UInt8], _ name: String) -> FastableError {
        let file = String(decoding: join(path, name), as: UTF8.self)
        return FastableError(
            .limit,
            "‘\(file)’ has more rules than a search takes: \(Limits.ignoreRules) in all, \(Limits.ignoreFileBytes) bytes in "
                + "one file. Shorten it, or search with ‘includeIgnored’.",
            details: ["path": .string(file), "limit": .integer(Int64(Limits.ignoreRules))])
    }
}
