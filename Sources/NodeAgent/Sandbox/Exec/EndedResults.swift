package import FastableCore
import Glibc
package import NodeLinux
import Synchronization

/// How commands ended, and nothing else of them: the record of nearly every command that is over. Entries one behind the other, in files
/// of which the oldest goes when there are too many or when nothing in it is asked for any more; each has an index by id beside it. A
/// file for each command would cost more than all the rest that is done at its end.
///
/// An entry is there once it was written, whatever becomes of the daemon; a piece of one, from a disk that was full, is written over.
///
/// All methods block on the disk; call them on `BlockingPool`.
package final class EndedResults: Sendable {
    private struct Place {
        var file: Int
        var entry: Int
    }

    private let directory: String
    private let entriesPerFile: Int
    private let fileLimit: Int
    private let ageSeconds: Int
    /// Where the next entry goes; `nil` until that was looked up. Who changes files holds it.
    private let end = Mutex<Place?>(nil)
    /// Files with entries that only the page cache may have.
    private let unsaved = Mutex<Set<Int>>([])

    package init(
        directory: String, entriesPerFile: Int = Limits.endedResultsPerFile, fileLimit: Int = Limits.endedResultFiles,
        ageSeconds: Int = Limits.finishedExecDays * 24 * 3600
    ) {
        self.directory = directory
        self.entriesPerFile = entriesPerFile
        self.fileLimit = fileLimit
        self.ageSeconds = ageSeconds
    }

    private func path(_ file: Int) -> String { "\(directory)/\(file)" }

    private func indexPath(_ file: Int) -> String { path(file) + ".index" }

    /// The numbers of the files that there are, oldest first.
    private var files: [Int] { Directories.names(directory).compactMap { Int($0) }.sorted() }

    /// Adds entries. They outlive the daemon at once, and a loss of power after `save`.
    package func append(_ records: [ExecRecord]) throws(Errno) {
        try end.withLock { end throws(Errno) in
            var place = try prepared(&end)
            var rest = records[...]
            while !rest.isEmpty {
                if place.entry >= entriesPerFile {
                    try index(of: place.file).synchronize()
                    place = Place(file: place.file + 1, entry: 0)
                    removeOldest(before: place.file)
                }
                let batch = rest.prefix(entriesPerFile - place.entry)
                try append(batch, at: place)
                let file = place.file
                unsaved.withLock { _ = $0.insert(file) }
                place.entry += batch.count
                end = place
                rest = rest.dropFirst(batch.count)
            }
        }
    }

    /// A loss of power would undo something.
    package var hasUnsaved: Bool { unsaved.withLock { !$0.isEmpty } }

    /// Returns when everything that was added before is on the disk itself. Others may add more meanwhile.
    package func save() throws(Errno) {
        let files = unsaved.withLock { unsaved in
            defer { unsaved = [] }
            return unsaved
        }
        guard !files.isEmpty else { return }
        do throws(Errno) {
            for file in files { try save(file) }
            try Directories.open(directory).synchronize()
        } catch {
            unsaved.withLock { $0.formUnion(files) }
            throw error
        }
    }

    private func save(_ file: Int) throws(Errno) {
        do throws(Errno) { try FileDescriptor(opening: path(file), O_RDONLY | O_NOFOLLOW).synchronize() } catch {
            // It may have gone meanwhile, as the oldest one.
            guard error.number == ENOENT else { throw error }
        }
    }

    /// Goes through the newest entries, at most `count` of them, oldest first.
    package func visitNewest(_ count: Int, _ body: (ExecRecord) -> Void) throws(Errno) {
        var left = count
        var parts: [(file: Int, entries: Range<Int>)] = []
        for number in files.reversed() where left > 0 {
            let size = Int(try FileDescriptor(opening: path(number), O_RDONLY | O_NOFOLLOW).status().size)
            let entries = size / EndedResultEntry.bytes
            parts.append((number, max(0, entries - left)..<entries))
            left -= min(left, entries)
        }
        for (file, entries) in parts.reversed() { try visit(entries, of: file, body) }
    }

    private func visit(_ entries: Range<Int>, of number: Int, _ body: (ExecRecord) -> Void) throws(Errno) {
        let file = try FileDescriptor(opening: path(number), O_RDONLY | O_NOFOLLOW)
        for first in stride(from: entries.lowerBound, to: entries.upperBound, by: Self.entriesPerRead) {
            let count = min(Self.entriesPerRead, entries.upperBound - first)
            let bytes = try file.readChunk(
                count * EndedResultEntry.bytes, at: Int64(first * EndedResultEntry.bytes))
            for start in stride(from: 0, to: bytes.count, by: EndedResultEntry.bytes) {
                let entry = bytes[start..<min(start + EndedResultEntry.bytes, bytes.count)]
                if let record = EndedResultEntry.decode(Array(entry)) { body(record) }
            }
        }
    }

    private static let entriesPerRead = 1024

    private func append(_ records: ArraySlice<ExecRecord>, at place: Place) throws(Errno) {
        if place.entry == 0 { try EndedResultIndex.make(indexPath(place.file), of: [], entries: entriesPerFile) }
        let file = try FileDescriptor(opening: path(place.file), O_WRONLY | O_CREAT | O_NOFOLLOW, mode: 0o600)
        let number = file.number
        try Errno.check { lseek(number, off_t(place.entry * EndedResultEntry.bytes), SEEK_SET) }
        try file.writeAll(records.flatMap(EndedResultEntry.encode))
        let index = try index(of: place.file)
        for (offset, record) in records.enumerated() {
            try index.add(EndedResultEntry.id(of: record.exec)[...], entry: place.entry + offset)
        }
    }

    private func prepared(_ end: inout Place?) throws(Errno) -> Place {
        if let end { return end }
        if mkdir(directory, 0o700) < 0, errno != EEXIST { throw Errno.last }
        var place = Place(file: 1, entry: 0)
        if let last = files.last {
            let size = Int(try FileDescriptor(opening: path(last), O_RDONLY | O_NOFOLLOW).status().size)
            place = Place(file: last, entry: size / EndedResultEntry.bytes)
            // An earlier daemon may have ended between an entry and its place in the index, or with the power.
            try makeIndex(of: last)
        }
        end = place
        return place
    }

    private func removeOldest(before next: Int) {
        let present = files.filter { $0 < next }
        let surplus = max(0, present.count + 1 - fileLimit)
        for (index, file) in present.enumerated() where index < surplus || writtenAgo(file) > ageSeconds {
            unlink(path(file))
            unlink(indexPath(file))
        }
    }

    private func writtenAgo(_ file: Int) -> Int {
        var facts = stat()
        guard stat(path(file), &facts) == 0 else { return 0 }
        return Int(WallClock.nowMilliseconds() / 1000) - facts.st_mtim.tv_sec
    }

    /// The entry of a command; `nil` when there is none (any more). It takes a few reads for each file, however many entries that has.
    package func find(_ exec: ExecID) throws(Errno) -> ExecRecord? {
        let files = files
        guard !files.isEmpty else { return nil }
        let id = EndedResultEntry.id(of: exec)
        do throws(Errno) { _ = try end.withLock { end throws(Errno) in try prepared(&end) } } catch {
            // The disk may be too full for an index. Asking must work all the same.
            return try scan(for: id, in: files)
        }
        for number in files.reversed() {
            do throws(Errno) {
                if let record = try find(id, in: number) { return record }
            } catch {
                // The oldest one may go at any time.
                guard error.number == ENOENT else { throw error }
            }
        }
        return nil
    }

    private func find(_ id: [UInt8], in number: Int) throws(Errno) -> ExecRecord? {
        let file = try FileDescriptor(opening: path(number), O_RDONLY | O_NOFOLLOW)
        let candidates: [Int]
        do throws(Errno) { candidates = try index(of: number).candidates(id) } catch {
            guard error.number == ENOENT else { throw error }
            candidates = try end.withLock { _ throws(Errno) in
                try makeIndex(of: number)
                return try index(of: number).candidates(id)
            }
        }
        for entry in candidates.reversed() {
            let bytes = try file.readChunk(EndedResultEntry.bytes, at: Int64(entry * EndedResultEntry.bytes))
            guard EndedResultEntry.id(of: bytes[...]).elementsEqual(id) else { continue }
            if let record = EndedResultEntry.decode(bytes) { return record }
        }
        return nil
    }

    private func scan(for id: [UInt8], in files: [Int]) throws(Errno) -> ExecRecord? {
        for number in files.reversed() {
            let content: [UInt8]
            do throws(Errno) {
                let file = try FileDescriptor(opening: path(number), O_RDONLY | O_NOFOLLOW)
                content = try file.readAll(limit: entriesPerFile * EndedResultEntry.bytes)
            } catch {
                guard error.number == ENOENT else { throw error }
                continue
            }
            for entry in (0..<content.count / EndedResultEntry.bytes).reversed() {
                let bytes = content[(entry * EndedResultEntry.bytes)..<((entry + 1) * EndedResultEntry.bytes)]
                guard EndedResultEntry.id(of: bytes).elementsEqual(id) else { continue }
                if let record = EndedResultEntry.decode(Array(bytes)) { return record }
            }
        }
        return nil
    }

    private func index(of file: Int) throws(Errno) -> EndedResultIndex {
        try EndedResultIndex(opening: indexPath(file), entries: entriesPerFile)
    }

    private func makeIndex(of number: Int) throws(Errno) {
        let file = try FileDescriptor(opening: path(number), O_RDONLY | O_NOFOLLOW)
        let content = try file.readAll(limit: entriesPerFile * EndedResultEntry.bytes)
        try EndedResultIndex.make(indexPath(number), of: content, entries: entriesPerFile)
    }
}
