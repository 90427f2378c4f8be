import CLinux
import FastableCore
import Glibc
import NodeLinux

/// The watches of a directory and of all directories below it. One thread at a time.
///
/// A watch is set before its directory is read, so whatever comes into it is seen by one or the other; what both see is told once
/// or twice. Directories are opened without following a link.
///
/// Staged trees are neither watched nor told: what comes out of one has appeared, and what goes into one is gone. As in a walk, their
/// names count wherever they are.
struct WatchedTree: ~Copyable {
    private let top: RootedDirectory
    private(set) var queue: FileDescriptor
    private var directories: WatchedDirectories
    /// First halves of moves that wait for their second.
    private var departures: [(cookie: UInt32, path: [UInt8], isDirectory: Bool)] = []
    /// There are more directories than may be watched, which was told.
    private var isFull = false
    private var topWatch: CInt
    private var topWatchHasEnded = false

    /// The kernel does not tell of it while this holds the directory open.
    var topIsGone: Bool { topWatchHasEnded || (try? top.descriptor.status().links) == 0 }

    private init(_ top: RootedDirectory, _ queue: consuming FileDescriptor, _ topWatch: CInt) {
        self.top = top
        self.queue = queue
        self.topWatch = topWatch
        directories = WatchedDirectories(top: topWatch)
    }

    static func make(_ top: RootedDirectory) throws(Errno) -> WatchedTree {
        let queue = try FileDescriptor(checking: fst_watch_open())
        let watch = try Errno.checkNegative(fst_watch_add(queue.number, top.descriptor.number))
        return WatchedTree(top, queue, watch)
    }

    /// Watches everything that is there now.
    mutating func begin(_ batch: inout WatchBatch) throws(Errno) { try scan([], tells: false, &batch) }

    /// Takes what the kernel has told, as far as the buffer goes; `false` when there was nothing.
    mutating func take(_ buffer: UnsafeMutableRawBufferPointer, _ batch: inout WatchBatch) throws(Errno) -> Bool {
        let number = queue.number
        let count = read(number, buffer.baseAddress, buffer.count)
        guard count > 0 else {
            if count < 0, errno != EAGAIN, errno != EINTR { throw Errno.last }
            return false
        }
        var offset = 0
        while offset < count {
            let event = fst_watch_event_at(buffer.baseAddress, offset)
            offset = event.next
            guard CInt(event.what) & CInt(FST_WATCH_OVERFLOW) == 0 else {
                try restart("Changes came faster than they were read.", &batch)
                break
            }
            try take(event, &batch)
        }
        return true
    }

    /// Nothing more comes for the moment: who left without arriving elsewhere is gone.
    mutating func settle(_ batch: inout WatchBatch) throws(Errno) {
        for (_, path, isDirectory) in departures { left(path, isDirectory, &batch) }
        departures = []
        // An exchange of two names is told as two moves, which say not which of both was moved the second time.
        if directories.hasDisplaced { try restart("The names of two directories were exchanged.", &batch) }
    }

    private mutating func left(_ path: [UInt8], _ isDirectory: Bool, _ batch: inout WatchBatch) {
        if isDirectory, let known = directories.watch(at: path), watchNow(path) != known { forget(known) }
        // Something may have its place by now. An exchange with a staged tree even tells first what came and then what left.
        switch (try? top.openWithoutLinks(path, CInt(FST_O_PATH)).status())?.kind {
        case nil: batch.deleted(path, isDirectory: isDirectory)
        // It is told when it appears.
        case .directory: break
        case .regular, .symlink, .other: if !isDirectory { batch.replaced(path, isDirectory: false) }
        }
    }

    private mutating func take(_ event: fst_watch_event, _ batch: inout WatchBatch) throws(Errno) {
        let what = CInt(event.what)
        guard what & CInt(FST_WATCH_ENDED) == 0 else {
            forget(event.watch)
            if event.watch == topWatch { topWatchHasEnded = true }
            return
        }
        guard let name = event.name, name.pointee != 0, !StagedTree.isName(name),
            let directory = directories.path(of: event.watch)
        else { return }
        let path = Self.join(directory, Self.bytes(name))
        guard !isUnnamed(path) else { return }
        let isDirectory = what & CInt(FST_WATCH_DIRECTORY) != 0
        if what & CInt(FST_WATCH_MOVED_FROM) != 0 { departures.append((event.cookie, path, isDirectory)) }
        if what & CInt(FST_WATCH_MOVED_TO) != 0 { try arrived(event.cookie, path, isDirectory, &batch) }
        if what & CInt(FST_WATCH_CREATED) != 0 { try appeared(path, isDirectory, &batch) }
        if what & CInt(FST_WATCH_DELETED) != 0 { batch.deleted(path, isDirectory: isDirectory) }
        if what & CInt(FST_WATCH_MODIFIED) != 0 { batch.modified(path, isDirectory: isDirectory) }
    }

    /// A new file gets its name when it is complete; before that the kernel calls it `#` and a number.
    private func isUnnamed(_ path: [UInt8]) -> Bool {
        let name = path[(path.lastIndex(of: UInt8(ascii: "/")).map { $0 + 1 } ?? 0)...]
        guard name.first == UInt8(ascii: "#"), name.dropFirst().allSatisfy({ (48...57).contains($0) }) else {
            return false
        }
        return (try? top.openWithoutLinks(path, CInt(FST_O_PATH)).status()) == nil
    }

    private mutating func arrived(
        _ cookie: UInt32, _ path: [UInt8], _ isDirectory: Bool, _ batch: inout WatchBatch
    ) throws(Errno) {
        guard let index = departures.firstIndex(where: { $0.cookie == cookie }) else {
            return try appeared(path, isDirectory, &batch)
        }
        let from = departures.remove(at: index).path
        batch.moved(from, to: path, isDirectory: isDirectory)
        guard isDirectory, let known = directories.watch(at: from) else { return }
        if let other = directories.watch(at: path), departures.contains(where: { $0.path == path }) { forget(other) }
        if !directories.put(known, at: path) { forget(known) }
    }

    private mutating func appeared(
        _ path: [UInt8], _ isDirectory: Bool, _ batch: inout WatchBatch
    ) throws(Errno) {
        guard isDirectory else { return batch.created(path, isDirectory: false) }
        if let known = directories.watch(at: path), let now = watchNow(path), now != known {
            forget(known)
            batch.replaced(path, isDirectory: true)
        } else {
            batch.created(path, isDirectory: true)
        }
        try scan(path, tells: true, &batch)
    }

    /// Watches a directory and those below it, and tells what is in them already.
    private mutating func scan(_ path: [UInt8], tells: Bool, _ batch: inout WatchBatch) throws(Errno) {
        guard try watch(path, &batch),
            let directory = try? top.openWithoutLinks(path.isEmpty ? [UInt8(ascii: ".")] : path, O_RDONLY | O_DIRECTORY)
        else { return }
        var walker = TreeWalker(RootedDirectory(directory))
        var isTooMuch = false
        while true {
            let next: TreeWalker.Entry?
            do throws(Errno) {
                next = try walker.next()
            } catch {
                // It is gone already.
                guard [ENOENT, ENOTDIR, ELOOP].contains(error.number) else { throw error }
                return
            }
            guard let entry = next else { break }
            let below = Self.join(path, entry.path)
            let isDirectory = entry.status.kind == .directory
            if tells, batch.count >= Limits.watchBatchEvents { isTooMuch = true }
            if tells, !isTooMuch { batch.created(below, isDirectory: isDirectory) }
            if isDirectory, try !watch(below, &batch) { walker.skipContent() }
        }
        if walker.isIncomplete { isBeyondLimit(&batch) }
        if isTooMuch { batch.rescan(reason: "More came at once than can be told one by one.") }
    }

    /// `false` when it is gone, or cannot be watched.
    private mutating func watch(_ path: [UInt8], _ batch: inout WatchBatch) throws(Errno) -> Bool {
        guard directories.count < Limits.watchedDirectories else {
            isBeyondLimit(&batch)
            return false
        }
        guard let watch = watchNow(path) else { return false }
        switch -watch {
        case ENOSPC:
            isBeyondLimit(&batch)
            return false
        case ENOENT, ENOTDIR: return false
        default: try Errno.checkNegative(watch)
        }
        guard !directories.put(watch, at: path) else { return true }
        if !directories.contains(watch) { fst_watch_remove(queue.number, watch) }
        return false
    }

    /// The watch of the directory that is at a path now, which is always the same one for the same directory, or a negative errno;
    /// `nil` when none is there.
    private func watchNow(_ path: [UInt8]) -> CInt? {
        let place = path.isEmpty ? [UInt8(ascii: ".")] : path
        guard let directory = try? top.openWithoutLinks(place, CInt(FST_O_PATH) | O_DIRECTORY) else { return nil }
        return fst_watch_add(queue.number, directory.number)
    }

    /// Told once: a flood of directories is no flood of events.
    private mutating func isBeyondLimit(_ batch: inout WatchBatch) {
        guard !isFull else { return }
        isFull = true
        batch.rescan(reason: "There are more directories than can be watched; changes in some of them are not told.")
    }

    private mutating func forget(_ watch: CInt) {
        for watch in directories.remove(watch) { fst_watch_remove(queue.number, watch) }
    }

    /// Events were lost, among them perhaps new directories and moves: all is watched anew.
    private mutating func restart(_ reason: String, _ batch: inout WatchBatch) throws(Errno) {
        queue = try FileDescriptor(checking: fst_watch_open())
        departures = []
        isFull = false
        topWatch = try Errno.checkNegative(fst_watch_add(queue.number, top.descriptor.number))
        directories = WatchedDirectories(top: topWatch)
        try scan([], tells: false, &batch)
        batch.rescan(reason: reason)
    }

    private static func join(_ directory: [UInt8], _ name: [UInt8]) -> [UInt8] {
        directory.isEmpty ? name : directory + [UInt8(ascii: "/")] + name
    }

    private static func bytes(_ name: UnsafePointer<CChar>) -> [UInt8] {
        UnsafeBufferPointer(start: name, count: strlen(name)).map { UInt8(bitPattern: $0) }
    }
}
