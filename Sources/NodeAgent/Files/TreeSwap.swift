import FastableCore
import Glibc
package import NodeLinux

/// Exchanges the content of two directories: what is in the one that is staged goes to the other, and the other way round.
///
/// Each entry changes its place in one step, all together do not: a reader may see new beside old entries for some microseconds.
/// What is to be done is noted before, with the inodes of the new entries. So it can be undone at any point, also by the next run
/// of the daemon, and undoing twice does no harm unless a process of the container changed an entry in between.
package struct TreeSwap: Sendable, Equatable {
    /// A name, ended by a zero byte, for system calls.
    typealias Name = [CChar]

    struct New: Sendable, Equatable {
        var name: Name
        var inode: UInt64
    }

    /// What comes in.
    private(set) var new: [New] = []
    /// What goes out and has no successor of its name.
    private(set) var old: [Name] = []

    private static let fileName = "swap"
    private static let noteBytes = 2 * Limits.directoryEntries * 300
    private static let attemptsAtMost = 16

    /// - Throws: `EFBIG` when there are too many entries.
    package init(from staged: borrowing FileDescriptor, into place: borrowing FileDescriptor) throws(Errno) {
        new = try Self.entries(of: staged)
        let names = Set(new.map(\.name))
        old = try Self.entries(of: place).map(\.name).filter { !names.contains($0) }
    }

    private static func entries(of directory: borrowing FileDescriptor) throws(Errno) -> [New] {
        var entries: [New] = []
        // A descriptor of its own, since reading goes on where the last reader ended.
        let fresh = try directory.openEntry(".", O_RDONLY | O_DIRECTORY)
        try fresh.forEachEntry { entry throws(Errno) in
            guard !StagedTree.isName(entry.pointer) else { return true }
            guard entries.count < Limits.directoryEntries else { throw Errno(EFBIG) }
            do throws(Errno) {
                let status = try fresh.status(of: entry.pointer)
                entries.append(New(name: entry.name.map { CChar(bitPattern: $0) } + [0], inode: status.inode))
            } catch {
                if error.number != ENOENT { throw error }
            }
            return true
        }
        return entries
    }

    static func isEmpty(_ directory: borrowing FileDescriptor) throws(Errno) -> Bool {
        var isEmpty = true
        let fresh = try directory.openEntry(".", O_RDONLY | O_DIRECTORY)
        try fresh.forEachEntry { entry throws(Errno) in
            if !StagedTree.isName(entry.pointer) { isEmpty = false }
            return isEmpty
        }
        return isEmpty
    }

    // MARK: steps

    package func perform(
        _ staged: borrowing FileDescriptor, _ place: borrowing FileDescriptor
    ) throws(Errno) {
        for entry in new { try Self.bring(entry.name, from: staged, to: place) }
        for name in old {
            do throws(Errno) { try place.moveEntry(name, to: staged, as: name) } catch {
                // A process removed it.
                if error.number != ENOENT { throw error }
            }
        }
    }

    /// Brings the old entries back. What a process put in their places meanwhile goes.
    package func undo(_ staged: borrowing FileDescriptor, _ place: borrowing FileDescriptor) throws(Errno) {
        for entry in new {
            switch try Self.inode(of: entry.name, in: staged) {
            // It has not come in yet.
            case entry.inode?: break
            case _?: try Self.bring(entry.name, from: staged, to: place)
            // It had no predecessor.
            case nil:
                guard try Self.inode(of: entry.name, in: place) == entry.inode else { continue }
                try place.moveEntry(entry.name, to: staged, as: entry.name)
            }
        }
        for name in old where try Self.inode(of: name, in: staged) != nil {
            try Self.bring(name, from: staged, to: place)
        }
        try place.synchronize()
    }

    /// Moves an entry, or exchanges it when the name is taken, whichever fits at the moment.
    private static func bring(
        _ name: Name, from staged: borrowing FileDescriptor, to place: borrowing FileDescriptor
    ) throws(Errno) {
        for _ in 0..<attemptsAtMost {
            do throws(Errno) { return try staged.exchangeEntry(name, with: place, name) } catch {
                guard error.number == ENOENT else { throw error }
            }
            do throws(Errno) { return try staged.moveEntry(name, to: place, as: name) } catch {
                guard error.number == EEXIST else { throw error }
            }
        }
        throw Errno(EAGAIN)
    }

    private static func inode(
        of name: Name, in directory: borrowing FileDescriptor
    ) throws(Errno) -> UInt64? {
        do throws(Errno) { return try directory.status(of: name).inode } catch {
            guard error.number == ENOENT else { throw error }
            return nil
        }
    }

    // MARK: the note

    /// Writes down what will be done; it is on the disk then.
    package func note(in directory: borrowing FileDescriptor) throws(Errno) {
        let file = try directory.openEntry(Self.fileName, O_WRONLY | O_CREAT | O_EXCL, mode: 0o600)
        try file.writeAll(bytes)
        try file.synchronize()
        try directory.synchronize()
    }

    /// What was noted; `nil` when the note is not whole.
    package init?(notedIn directory: borrowing FileDescriptor) throws(Errno) {
        let bytes = try directory.openEntry(Self.fileName, O_RDONLY).readAll(limit: Self.noteBytes)
        self.init(bytes)
    }

    static func isNoted(in directory: borrowing FileDescriptor) throws(Errno) -> Bool {
        try inode(of: Array(fileName.utf8CString), in: directory) != nil
    }

    static func forget(in directory: borrowing FileDescriptor) throws(Errno) {
        try directory.removeEntry(fileName)
        try directory.synchronize()
    }

    /// `inode/name` for what comes in, `/name` for what goes out, each ended by a zero byte; an empty one ends all.
    package var bytes: [UInt8] {
        var bytes: [UInt8] = []
        for entry in new { bytes += Array("\(entry.inode)/".utf8) + entry.name.map { UInt8(bitPattern: $0) } }
        for name in old { bytes += [UInt8(ascii: "/")] + name.map { UInt8(bitPattern: $0) } }
        return bytes + [0]
    }

    package init?(_ bytes: [UInt8]) {
        let records = bytes.split(separator: 0, omittingEmptySubsequences: false)
        guard records.count >= 2, records.suffix(2).allSatisfy(\.isEmpty) else { return nil }
        for record in records.dropLast(2) {
            guard let slash = record.firstIndex(of: UInt8(ascii: "/")) else { return nil }
            let name = record[(slash + 1)...]
            // It is ours, and still a name must never become a path.
            guard !name.isEmpty, !name.contains(UInt8(ascii: "/")), name != [46], name != [46, 46] else { return nil }
            let text = name.map { CChar(bitPattern: $0) } + [0]
            if slash == record.startIndex {
                old.append(text)
            } else {
                guard let inode = UInt64(String(decoding: record[..<slash], as: UTF8.self)) else { return nil }
                new.append(New(name: text, inode: inode))
            }
        }
    }
}
