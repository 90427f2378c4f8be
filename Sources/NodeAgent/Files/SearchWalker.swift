import FastableCore
import Glibc
import NodeLinux

/// Finds the files that a search is about: all regular files below a directory, in the order of their names, without `.git`, without
/// links, and without what ignore files leave out.
struct SearchWalker {
    private let top: [UInt8]
    private let pattern: SearchPattern?
    private let cancellation: Cancellation
    private let deadline = ContinuousClock.now + .seconds(Limits.searchSeconds)
    private var walker: TreeWalker
    /// `nil` when ignored files are wanted too.
    private var levels: IgnoreLevels?
    private let levelsAbove: Int
    private var steps = 0
    /// What was left out, as the topmost directories and files of it, below the top; `nil` when nobody wants to know.
    private(set) var ignored: IgnoredPaths.Draft?

    /// - Parameters:
    ///   - path: of the directory `top`, as the workspace's root sees it.
    ///   - pattern: which files; `nil` for all.
    init(
        root: RootedDirectory, path: RootedPath, top: RootedDirectory, pattern: SearchPattern? = nil,
        includeIgnored: Bool, remembersIgnored: Bool = false, cancellation: Cancellation
    ) throws {
        ignored = remembersIgnored ? IgnoredPaths.Draft() : nil
        self.pattern = pattern
        self.cancellation = cancellation
        walker = TreeWalker(top)
        guard !includeIgnored else {
            self.top = []
            levelsAbove = 0
            return
        }
        var parts: [String] = []
        do throws(Errno) {
            parts = try root.physicalParts(of: path)
        } catch { throw error.fileError(path.description, doing: "search") }
        var levels = IgnoreLevels(root: root)
        try levels.enter([])
        for end in parts.indices { try levels.enter(Array(parts[...end].joined(separator: "/").utf8)) }
        self.top = Array(parts.joined(separator: "/").utf8)
        levelsAbove = levels.count
        self.levels = levels
    }

    /// There was more than could be held.
    var isIncomplete: Bool { walker.isIncomplete }

    enum Found {
        /// Its path, below the top.
        case file([UInt8])
        case paused
        case end
    }

    /// The path of the next file, below the top.
    mutating func next() throws -> [UInt8]? {
        while true {
            switch try next(pausingAt: nil) {
            case .file(let path): return path
            case .paused: continue
            case .end: return nil
            }
        }
    }

    /// The next file, unless none is found until a given moment; it can be asked for again then.
    mutating func next(pausingAt pause: ContinuousClock.Instant?) throws -> Found {
        while let entry = try step() {
            let isDirectory = entry.status.kind == .directory
            if Self.isRepository(entry.path) {
                if isDirectory { walker.skipContent() }
                continue
            }
            if try ignores(entry, isDirectory) {
                try ignored?.add(entry.path, isDirectory: isDirectory)
                if isDirectory { walker.skipContent() }
                continue
            }
            if isDirectory {
                if pattern?.accepts(directory: entry.path) == false { walker.skipContent() }
            } else if entry.status.kind == .regular, pattern?.accepts(file: entry.path) ?? true {
                return .file(entry.path)
            }
            if let pause, steps % 64 == 0, ContinuousClock.now >= pause { return .paused }
        }
        return .end
    }

    private mutating func step() throws -> TreeWalker.Entry? {
        steps += 1
        if steps % 256 == 0, ContinuousClock.now > deadline { throw Search.tookTooLong() }
        do throws(Errno) {
            try cancellation.check()
            return try walker.next()
        } catch { throw error.fileError(".", doing: "search") }
    }

    private mutating func ignores(_ entry: TreeWalker.Entry, _ isDirectory: Bool) throws -> Bool {
        guard levels != nil else { return false }
        let path = top.isEmpty ? entry.path : top + [UInt8(ascii: "/")] + entry.path
        let above = levelsAbove + entry.depth - 1
        levels?.leave(to: above)
        if levels?.ignores(path, isDirectory: isDirectory) ?? false { return true }
        if isDirectory { try levels?.enter(path) }
        return false
    }

    private static func isRepository(_ path: [UInt8]) -> Bool {
        let name = Array(".git".utf8)
        guard path.count > name.count else { return path == name }
        return path.suffix(name.count + 1).elementsEqual([UInt8(ascii: "/")] + name)
    }
}
