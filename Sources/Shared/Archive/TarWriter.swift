/// Writes a tar archive: POSIX ustar, with pax headers where a field is too short.
package struct TarWriter {
    /// The header of an entry; the content and `padding` follow.
    package static func header(of entry: TarEntry) -> [UInt8] {
        var path = entry.path
        if entry.kind == .directory { path.append(UInt8(ascii: "/")) }
        var records: [UInt8] = []
        if path.count > 100 { records += record("path", path) }
        if entry.linkTarget.count > 100 { records += record("linkpath", entry.linkTarget) }
        let isLarge = entry.size > TarHeader.numberAtMost
        if isLarge { records += record("size", Array("\(entry.size)".utf8)) }
        if entry.modifiedNanoseconds != 0 || !(0...TarHeader.numberAtMost).contains(entry.modified) {
            records += record("mtime", Array(PaxTime(entry).text.utf8))
        }
        for attribute in entry.attributes where !attribute.name.contains(UInt8(ascii: "=")) {
            records += record(Array(attributePrefix.utf8) + attribute.name, attribute.value)
        }
        let header = TarHeader(
            path: path, type: type(of: entry.kind), size: isLarge ? 0 : entry.size, entry: entry,
            linkTarget: entry.linkTarget)
        guard !records.isEmpty else { return header.bytes }
        let extended = TarHeader(
            path: Array("PaxHeaders/entry".utf8), type: UInt8(ascii: "x"), size: Int64(records.count),
            entry: TarEntry(path: [], kind: .file, modified: entry.modified))
        return extended.bytes + records + padding(after: Int64(records.count)) + header.bytes
    }

    static let attributePrefix = "SCHILY.xattr."

    package static let blockBytes = TarHeader.blockBytes

    package static func padding(after size: Int64) -> [UInt8] {
        [UInt8](repeating: 0, count: Int((512 - size % 512) % 512))
    }

    package static let end = [UInt8](repeating: 0, count: 1024)

    private static func type(of kind: TarEntry.Kind) -> UInt8 {
        switch kind {
        case .file: UInt8(ascii: "0")
        case .hardLink: UInt8(ascii: "1")
        case .symlink: UInt8(ascii: "2")
        case .directory: UInt8(ascii: "5")
        }
    }

    /// A line ‘length key=value’ whose length counts its own digits.
    private static func record(_ key: String, _ value: [UInt8]) -> [UInt8] { record(Array(key.utf8), value) }

    private static func record(_ key: [UInt8], _ value: [UInt8]) -> [UInt8] {
        let rest = [UInt8(ascii: " ")] + key + [UInt8(ascii: "=")] + value + [0x0a]
        var length = rest.count + 1
        while "\(length)".utf8.count + rest.count != length { length += 1 }
        return Array("\(length)".utf8) + rest
    }
}
