/// One file, directory or link of a tar archive.
package struct TarEntry: Sendable, Equatable {
    package enum Kind: Sendable, Equatable { case file, directory, symlink, hardLink }

    /// An extended attribute, as GNU tar and others keep it.
    package struct Attribute: Sendable, Equatable {
        /// Whole, as in `user.mime_type`; without `=`, which no pax header can tell.
        package var name: [UInt8]
        package var value: [UInt8]

        package init(name: [UInt8], value: [UInt8]) {
            self.name = name
            self.value = value
        }
    }

    package var path: [UInt8]
    package var kind: Kind
    package var size: Int64
    /// Permission bits; set-id and sticky bits as they stand in the archive.
    package var mode: UInt32
    /// Seconds since 1970.
    package var modified: Int64
    /// What comes on top of them: 0 ..< 1,000,000,000.
    package var modifiedNanoseconds: Int64
    /// 0 is root; at most `ownerAtMost`.
    package var user: UInt32
    package var group: UInt32
    package var linkTarget: [UInt8]
    package var attributes: [Attribute] = []

    package init(
        path: [UInt8], kind: Kind, size: Int64 = 0, mode: UInt32 = 0o644, modified: Int64 = 0,
        modifiedNanoseconds: Int64 = 0, user: UInt32 = 0, group: UInt32 = 0, linkTarget: [UInt8] = []
    ) {
        self.path = path
        self.kind = kind
        self.size = size
        self.mode = mode
        self.modified = modified
        self.modifiedNanoseconds = modifiedNanoseconds
        self.user = user
        self.group = group
        self.linkTarget = linkTarget
    }

    /// The largest owner that a header's field holds.
    package static let ownerAtMost: UInt32 = 0o777_7777
    /// Who owns a file that belongs to nobody in particular.
    package static let nobody: UInt32 = 65_534
}

/// The 512 bytes before each entry: POSIX ustar, as GNU tar and others write it.
struct TarHeader {
    static let blockBytes = 512
    /// The largest number of 11 octal digits.
    static let numberAtMost: Int64 = (1 << 33) - 1

    private(set) var bytes = [UInt8](repeating: 0, count: blockBytes)

    /// A header to read; its length is `blockBytes`.
    init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// A header to write.
    init(path: [UInt8], type: UInt8, size: Int64, entry: TarEntry, linkTarget: [UInt8] = []) {
        put(path.prefix(100), at: 0)
        putOctal(Int64(entry.mode), at: 100, digits: 7)
        putOctal(Int64(min(entry.user, TarEntry.ownerAtMost)), at: 108, digits: 7)
        putOctal(Int64(min(entry.group, TarEntry.ownerAtMost)), at: 116, digits: 7)
        putOctal(size, at: 124, digits: 11)
        putOctal(min(max(0, entry.modified), Self.numberAtMost), at: 136, digits: 11)
        bytes[156] = type
        put(linkTarget.prefix(100), at: 157)
        put(Array("ustar\u{0}00".utf8)[...], at: 257)
        // A name would count more than the number when it is unpacked as root.
        if entry.user == 0 { put(Array("root".utf8)[...], at: 265) }
        if entry.group == 0 { put(Array("root".utf8)[...], at: 297) }
        putOctal(checksum, at: 148, digits: 6)
        bytes[155] = UInt8(ascii: " ")
    }

    private mutating func put(_ field: ArraySlice<UInt8>, at offset: Int) {
        bytes.replaceSubrange(offset..<(offset + field.count), with: field)
    }

    private mutating func putOctal(_ value: Int64, at offset: Int, digits: Int) {
        var value = value
        for index in stride(from: offset + digits - 1, through: offset, by: -1) {
            bytes[index] = UInt8(ascii: "0") + UInt8(value & 7)
            value >>= 3
        }
    }

    /// The sum of all bytes, the checksum's own field taken as spaces.
    private var checksum: Int64 {
        var sum = 8 * Int64(UInt8(ascii: " "))
        for (index, byte) in bytes.enumerated() where !(148..<156).contains(index) { sum += Int64(byte) }
        return sum
    }

    /// The checksum as some old programs make it, over signed bytes.
    private var signedChecksum: Int64 {
        var sum = 8 * Int64(UInt8(ascii: " "))
        for (index, byte) in bytes.enumerated() where !(148..<156).contains(index) {
            sum += Int64(Int8(bitPattern: byte))
        }
        return sum
    }

    var isZero: Bool { bytes.allSatisfy { $0 == 0 } }
    var isGzip: Bool { bytes.starts(with: [0x1f, 0x8b]) }
    var isZstd: Bool { bytes.starts(with: [0x28, 0xb5, 0x2f, 0xfd]) }
    var hasValidChecksum: Bool {
        guard let stored = number(at: 148, count: 8) else { return false }
        return stored == checksum || stored == signedChecksum
    }

    var type: UInt8 { bytes[156] }
    var size: Int64? { number(at: 124, count: 12) }
    var mode: UInt32? { number(at: 100, count: 8).map { UInt32(truncatingIfNeeded: $0) } }
    var modified: Int64? { number(at: 136, count: 12) }
    var user: UInt32 { owner(at: 108) }
    var group: UInt32 { owner(at: 116) }
    var linkTarget: [UInt8] { text(at: 157, count: 100) }

    /// Name and, in POSIX archives, the prefix before it.
    var path: [UInt8] {
        let name = text(at: 0, count: 100)
        guard bytes[257..<263].elementsEqual("ustar\u{0}".utf8) else { return name }
        let prefix = text(at: 345, count: 155)
        return prefix.isEmpty ? name : prefix + [UInt8(ascii: "/")] + name
    }

    private func text(at offset: Int, count: Int) -> [UInt8] {
        Array(bytes[offset..<(offset + count)].prefix { $0 != 0 })
    }

    /// Archives of other programs have odd things in these fields, which are no reason to refuse them.
    private func owner(at offset: Int) -> UInt32 {
        let value = number(at: offset, count: 8) ?? 0
        return value <= Int64(TarEntry.ownerAtMost) ? UInt32(truncatingIfNeeded: value) : TarEntry.nobody
    }

    /// Octal digits, or for large numbers GNU's binary form; `nil` when it is neither, or negative.
    private func number(at offset: Int, count: Int) -> Int64? {
        let field = bytes[offset..<(offset + count)]
        if field[offset] & 0x80 != 0 {
            guard field[offset] == 0x80, field.dropFirst().dropLast(8).allSatisfy({ $0 == 0 }) else { return nil }
            let value = field.suffix(min(8, count - 1)).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            return Int64(exactly: value)
        }
        var value: Int64 = 0
        for byte in field.drop(while: { $0 == UInt8(ascii: " ") }) {
            if byte == 0 || byte == UInt8(ascii: " ") { break }
            guard (UInt8(ascii: "0")...UInt8(ascii: "7")).contains(byte) else { return nil }
            value = value << 3 | Int64(byte - UInt8(ascii: "0"))
        }
        return value
    }
}
