import Glibc
import NodeLinux

/// Where in a file of entries those of an id are: a table on disk, twice as large as it has entries, in which an id stands at the place
/// that its hash tells, or behind it. One read is enough nearly always, however many entries there are. It can be made again from them.
struct EndedResultIndex: ~Copyable {
    private static let slotBytes = 8
    private static let headBytes = 8
    /// Slots that are read at once.
    private static let window = 16
    private static let pageSlots = 512

    private let file: FileDescriptor
    private let slots: Int
    /// Another one in each file, so that nobody can choose ids that stand at one place.
    private let seed: UInt64

    /// - Throws: `ENOENT` when there is none, or none for so many entries.
    init(opening path: String, entries: Int) throws(Errno) {
        let file = try FileDescriptor(opening: path, O_RDWR | O_NOFOLLOW)
        guard Int(try file.status().size) == Self.headBytes + 2 * entries * Self.slotBytes else { throw Errno(ENOENT) }
        seed = Self.number(try file.readChunk(Self.headBytes, at: 0)[...])
        slots = 2 * entries
        self.file = file
    }

    /// Makes the index of the entries that a file has, in the place of the one that there was.
    static func make(_ path: String, of content: [UInt8], entries: Int) throws(Errno) {
        let seed = UInt64.random(in: .min ... .max)
        let slots = 2 * entries
        // Those that are taken: an index of few entries costs little, however many there may be.
        var table: [Int: UInt64] = [:]
        let count = min(content.count / EndedResultEntry.bytes, entries)
        for entry in 0..<count {
            let hash = Self.hash(EndedResultEntry.id(of: content[(entry * EndedResultEntry.bytes)...]), seed)
            var slot = Int(hash % UInt64(slots))
            while table[slot] != nil { slot = (slot + 1) % slots }
            table[slot] = value(hash, entry)
        }
        let temporary = path + ".new"
        defer { unlink(temporary) }
        let file = try FileDescriptor(opening: temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, mode: 0o600)
        let number = file.number
        try Errno.check { ftruncate(number, off_t(headBytes + slots * slotBytes)) }
        try write([seed], at: 0, to: file)
        // What is empty takes no place on the disk.
        for page in Set(table.keys.map { $0 / pageSlots }).sorted() {
            let places = (page * pageSlots)..<min((page + 1) * pageSlots, slots)
            try write(places.map { table[$0] ?? 0 }[...], at: headBytes + places.lowerBound * slotBytes, to: file)
        }
        // Its name must not be on the disk before its places are.
        if count > 0 { try file.synchronize() }
        try Errno.check { rename(temporary, path) }
    }

    private static func write(
        _ numbers: ArraySlice<UInt64>, at offset: Int, to file: borrowing FileDescriptor
    ) throws(Errno) {
        let bytes = numbers.flatMap(Self.bytes)
        let number = file.number
        let written = try Errno.check { pwrite(number, bytes, bytes.count, off_t(offset)) }
        guard written == bytes.count else { throw Errno(ENOSPC) }
    }

    func add(_ id: ArraySlice<UInt8>, entry: Int) throws(Errno) {
        let hash = Self.hash(id, seed)
        let own = Self.value(hash, entry)
        var free: Int?
        // Its own place, where it was tried before: a disk that is full must not fill the table.
        try visit(from: hash) { slot, value in
            guard value == 0 || value == own else { return true }
            free = slot
            return false
        }
        guard let free else { throw Errno(ENOSPC) }
        try Self.write([own], at: Self.headBytes + free * Self.slotBytes, to: file)
    }

    /// The entries that may be of an id, oldest first: hardly ever one that is not.
    func candidates(_ id: [UInt8]) throws(Errno) -> [Int] {
        let hash = Self.hash(id[...], seed)
        var found: [Int] = []
        try visit(from: hash) { _, value in
            if value != 0, value >> 32 == hash >> 32 { found.append(Int(value & 0xffff_ffff) - 1) }
            return value != 0
        }
        return found
    }

    func synchronize() throws(Errno) { try file.synchronize() }

    /// Goes through the slots from the place of a hash on, as long as `body` wants more.
    private func visit(from hash: UInt64, _ body: (Int, UInt64) -> Bool) throws(Errno) {
        var slot = Int(hash % UInt64(slots))
        var visited = 0
        while visited < slots {
            let count = min(Self.window, slots - slot)
            let bytes = try file.readChunk(count * Self.slotBytes, at: Int64(Self.headBytes + slot * Self.slotBytes))
            guard bytes.count == count * Self.slotBytes else { throw Errno(EIO) }
            for index in 0..<count {
                let start = index * Self.slotBytes
                guard body(slot + index, Self.number(bytes[start..<start + Self.slotBytes])) else { return }
            }
            visited += count
            slot = (slot + count) % slots
        }
    }

    private static func value(_ hash: UInt64, _ entry: Int) -> UInt64 { (hash >> 32) << 32 | UInt64(entry + 1) }

    private static func bytes(_ number: UInt64) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
    }

    private static func number(_ bytes: ArraySlice<UInt8>) -> UInt64 {
        bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// FNV-1a, and the last step of MurmurHash3, which spreads it over all bits.
    private static func hash(_ id: ArraySlice<UInt8>, _ seed: UInt64) -> UInt64 {
        var hash = id.reduce(0xcbf2_9ce4_8422_2325 ^ seed) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        hash = (hash ^ hash >> 33) &* 0xff51_afd7_ed55_8ccd
        hash = (hash ^ hash >> 33) &* 0xc4ce_b9fe_1a85_ec53
        return hash ^ hash >> 33
    }
}
