/// JSON text as it grows, with the objects and arrays that are still open in it.
///
/// Equal values give equal bytes: the members of an object stand in the order of their keys' UTF-8, in whatever order
/// they were written.
struct JSONText {
    private(set) var bytes: [UInt8] = []
    /// The innermost object or array that is open; at first the text itself.
    private var level = Level(number: 0, isObject: false, contentStart: 0, firstMember: 0)
    private var outer: [Level] = []
    private var opened = 0
    /// Members of all open objects, those of the innermost one last, and their keys.
    private var members: [Member] = []
    private var keys: [String] = []
    /// Memory for putting members in order.
    private var ordered: [UInt8] = []

    private struct Level {
        /// No other level has it, also not one that was open at this place before.
        var number: Int
        var isObject: Bool
        var contentStart: Int
        var firstMember: Int
        var entries = 0
        /// Of the last entry, with the comma before it.
        var entryStart = 0
        /// The rank of the last key.
        var rank: UInt64 = 0
        var isInOrder = true
    }

    private struct Member {
        var key: Int
        var rank: UInt64
        var start: Int
        var end = 0
    }

    init() {
        bytes.reserveCapacity(512)
        outer.reserveCapacity(8)
        members.reserveCapacity(24)
        keys.reserveCapacity(24)
    }

    // MARK: objects and arrays

    /// How many objects and arrays are open.
    var depth: Int { outer.count }

    /// Gives the number of the new level, whose depth is one more than that of the text until now.
    @discardableResult
    mutating func open(isObject: Bool) -> Int {
        bytes.append(isObject ? UInt8(ascii: "{") : UInt8(ascii: "["))
        outer.append(level)
        opened += 1
        level = Level(number: opened, isObject: isObject, contentStart: bytes.count, firstMember: members.count)
        return opened
    }

    /// The object, or the array, that began at a byte and is open at a depth.
    func number(at depth: Int, isObject: Bool, from start: Int) -> Int? {
        guard let level = level(at: depth), level.isObject == isObject, level.contentStart == start + 1 else {
            return nil
        }
        return level.number
    }

    func entries(of number: Int, at depth: Int) -> Int {
        guard let level = level(at: depth), level.number == number else { return 0 }
        return level.entries
    }

    private func level(at depth: Int) -> Level? {
        depth == outer.count ? level : depth < outer.count ? outer[depth] : nil
    }

    /// Closes what is open at more than this depth.
    mutating func close(to depth: Int) {
        while outer.count > depth { close() }
    }

    mutating func close() {
        guard let around = outer.popLast() else { return }
        if level.isObject {
            if !level.isInOrder { putMembersInOrder() }
            forgetMembers(from: level.firstMember)
        }
        bytes.append(level.isObject ? UInt8(ascii: "}") : UInt8(ascii: "]"))
        level = around
    }

    /// A level gets one more entry, whose value is written next; what is open in the level is closed. `false` when the
    /// level is closed itself: then nothing can be added to it.
    mutating func beginEntry(_ key: String?, of number: Int, at depth: Int) -> Bool {
        if level.number != number {
            guard depth < outer.count, outer[depth].number == number else { return false }
            close(to: depth)
        }
        if let key { beginMember(key) } else { beginElement() }
        return true
    }

    /// The last entry of a level is gone, as far as it was written.
    mutating func removeEntry(at depth: Int) {
        while outer.count > depth, let around = outer.popLast() { level = around }
        guard outer.count == depth, level.entries > 0 else { return }
        level.entries -= 1
        bytes.removeLast(bytes.count - level.entryStart)
        forgetMembers(from: level.firstMember + (level.isObject ? level.entries : 0))
        // What the rank of the last member is now is not worth remembering.
        level.rank = .max
    }

    mutating func beginElement() {
        level.entryStart = bytes.count
        if level.entries > 0 { bytes.append(UInt8(ascii: ",")) }
        level.entries += 1
    }

    mutating func beginMember(_ key: String) {
        let utf8 = key.utf8.span
        let rank = Self.rank(utf8)
        level.entryStart = bytes.count
        if level.entries > 0 {
            bytes.append(UInt8(ascii: ","))
            if rank <= level.rank { level.isInOrder = false }
        }
        level.entries += 1
        level.rank = rank
        members.append(Member(key: keys.count, rank: rank, start: bytes.count))
        keys.append(key)
        write(utf8)
        bytes.append(UInt8(ascii: ":"))
    }

    /// The first bytes of a key as a number: mostly it tells which of two keys comes first.
    private static func rank(_ utf8: Span<UInt8>) -> UInt64 {
        if utf8.count >= 8 {
            return UInt64(bigEndian: utf8.bytes.unsafeLoadUnaligned(fromByteOffset: 0, as: UInt64.self))
        }
        var rank: UInt64 = 0
        for index in 0..<utf8.count { rank |= UInt64(utf8[index]) << (56 - 8 * index) }
        return rank
    }

    private mutating func putMembersInOrder() {
        let first = level.firstMember
        for index in first..<members.count {
            members[index].end = index + 1 < members.count ? members[index + 1].start - 1 : bytes.count
        }
        let keys = keys
        func precedes(_ left: Member, _ right: Member) -> Bool {
            if left.rank != right.rank { return left.rank < right.rank }
            return keys[left.key].utf8.lexicographicallyPrecedes(keys[right.key].utf8)
        }
        members.withUnsafeMutableBufferPointer { all in
            var own = UnsafeMutableBufferPointer(rebasing: all[first...])
            own.sort { precedes($0, $1) || (!precedes($1, $0) && $0.start < $1.start) }
        }
        // A long object is put together behind what precedes it, and not copied back.
        let start = level.contentStart
        let movesAll = start < bytes.count - start
        ordered.removeAll(keepingCapacity: true)
        if movesAll {
            ordered.reserveCapacity(bytes.capacity)
            ordered.append(contentsOf: bytes[..<start])
        }
        let orderedStart = ordered.count
        for index in first..<members.count {
            let member = members[index]
            // Of a member that was written twice the last one counts.
            if index + 1 < members.count, !precedes(member, members[index + 1]) { continue }
            if ordered.count > orderedStart { ordered.append(UInt8(ascii: ",")) }
            ordered.append(contentsOf: bytes[member.start..<member.end])
        }
        if movesAll { return swap(&bytes, &ordered) }
        bytes.removeLast(bytes.count - start)
        bytes.append(contentsOf: ordered)
    }

    private mutating func forgetMembers(from first: Int) {
        members.removeLast(members.count - first)
        keys.removeLast(keys.count - first)
    }

    /// The way to what is written at the moment.
    var path: [JSONKey] {
        var path: [JSONKey] = []
        for (index, level) in (outer.dropFirst() + [level]).enumerated() where level.entries > 0 && outer.count > 0 {
            let last = index + 2 <= outer.count ? self.level(at: index + 2)?.firstMember : members.count
            path.append(
                level.isObject ? JSONKey(stringValue: keys[(last ?? 1) - 1]) : JSONKey(index: level.entries - 1))
        }
        return path
    }

    // MARK: bytes

    mutating func append(_ byte: UInt8) { bytes.append(byte) }

    mutating func append(_ text: StaticString) { text.withUTF8Buffer { bytes.append(contentsOf: $0) } }

    mutating func append(_ text: Span<UInt8>, _ range: Range<Int>) { bytes.append(copying: text, range) }
}
