import CLinux
import FastableCore
import Glibc
import NodeLinux

/// Walks a tree from its top, each directory before what is in it, names in the order of their bytes.
///
/// Every directory is opened by its path below the top, without following a symbolic link, and closed before the walk goes on: the
/// depth of a tree costs no open files and no stack.
struct TreeWalker {
    struct Entry {
        /// Below the top, as bytes: nothing says that names are text.
        var path: [UInt8]
        var status: FileStatus
        var linkTarget: [UInt8]?
        /// Levels below the top; 1 is directly in it.
        var depth: Int
    }

    private struct Level {
        var prefix: [UInt8]
        var entries: [(name: [UInt8], status: FileStatus)]
        var next = 0
    }

    private let top: RootedDirectory
    private let depthLimit: Int
    private let includeHidden: Bool
    /// Entries that are held at once, of all the directories on the way down.
    private let pendingLimit: Int
    private var levels: [Level] = []
    private var descendInto: [UInt8]?
    /// There were too many entries to hold, or a directory lay too deep for a path.
    private(set) var isIncomplete = false

    init(
        _ top: RootedDirectory, depthLimit: Int = .max, includeHidden: Bool = true,
        pendingLimit: Int = Limits.directoryEntries
    ) {
        self.top = top
        self.depthLimit = depthLimit
        self.includeHidden = includeHidden
        self.pendingLimit = pendingLimit
        descendInto = []
    }

    /// The next entry; what disappears meanwhile is passed over.
    mutating func next() throws(Errno) -> Entry? {
        if let path = descendInto.take() { try descend(path) }
        while let level = levels.last {
            guard level.next < level.entries.count else {
                levels.removeLast()
                continue
            }
            let (name, status) = level.entries[level.next]
            levels[levels.count - 1].next += 1
            let path = level.prefix.isEmpty ? name : level.prefix + [UInt8(ascii: "/")] + name
            var entry = Entry(path: path, status: status, linkTarget: nil, depth: levels.count)
            if status.kind == .directory, levels.count < depthLimit { descendInto = path }
            if status.kind == .symlink {
                guard let target = try? top.openWithoutLinks(path, CInt(FST_O_PATH)).linkTarget() else { continue }
                entry.linkTarget = target
            }
            return entry
        }
        return nil
    }

    /// Leaves out what is in the directory that came last.
    mutating func skipContent() { descendInto = nil }

    private mutating func descend(_ path: [UInt8]) throws(Errno) {
        do throws(Errno) {
            let directory = try top.openWithoutLinks(path.isEmpty ? [UInt8(ascii: ".")] : path, O_RDONLY | O_DIRECTORY)
            levels.append(Level(prefix: path, entries: try read(directory)))
            dropWhatComesLast()
        } catch {
            switch error.number {
            case ENOENT, ENOTDIR, ELOOP, EACCES: if path.isEmpty { throw error }
            case ENAMETOOLONG: isIncomplete = true
            default: throw error
            }
        }
    }

    /// Keeps the memory bounded: what would come at the very end is at the end of the topmost directories.
    private mutating func dropWhatComesLast() {
        var excess = levels.reduce(0) { $0 + $1.entries.count - $1.next } - pendingLimit
        for index in levels.indices where excess > 0 {
            let dropped = min(excess, levels[index].entries.count - levels[index].next)
            levels[index].entries.removeLast(dropped)
            excess -= dropped
            isIncomplete = true
        }
    }

    private mutating func read(
        _ directory: borrowing FileDescriptor
    ) throws(Errno) -> [(name: [UInt8], status: FileStatus)] {
        var entries: [(name: [UInt8], status: FileStatus)] = []
        var incomplete = false
        try directory.forEachEntry { entry throws(Errno) in
            guard includeHidden || entry.pointer[0] != CChar(UInt8(ascii: ".")), !StagedTree.isName(entry.pointer)
            else { return true }
            guard entries.count < pendingLimit else {
                incomplete = true
                return false
            }
            do throws(Errno) {
                entries.append((entry.name, try directory.status(of: entry.pointer)))
            } catch {
                if error.number != ENOENT { throw error }
            }
            return true
        }
        if incomplete { isIncomplete = true }
        return entries.sorted { $0.name.lexicographicallyPrecedes($1.name) }
    }
}
