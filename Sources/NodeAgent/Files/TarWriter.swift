/// Writes a tar archive: POSIX ustar, with pax headers where a field is too short.
package struct TarWriter {
    /// The header of an entry; the content and `padding` follow.
    package static func header(of entry: TarEntry) -> [UInt8] {
        var path = entry.path
        if entry.kind == .directory { path.append(UInt8(ascii: "/")) }
        var records: [UInt8] = []
        if path.count > 100 { records += record("path", path) }
        if entry.linkTarget.count > 100 { records += record("linkpath", entry.linkTarget) }
        if entry.size >= 1 << 33 { records += record("size", Array("\(entry.size)".utf8)) }
        let header = TarHeader(
            path: path, type: type(of: entry.kind), size: entry.size >= 1 << 33 ? 0 : entry.size, mode: entry.mode,
            modified: entry.modified, linkTarget: entry.linkTarget)
        guard !records.isEmpty else { return header.bytes }
        let extended = TarHeader(
            path: Array("PaxHeaders/entry".utf8), type: UInt8(ascii: "x"), size: Int64(records.count), mode: 0o644,
            modified: entry.modified, linkTarget: [])
        return extended.bytes + records + padding(after: Int64(records.count)) + header.bytes
    }

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
    private static func record(_ key: String, _ value: [UInt8]) -> [UInt8] {
        let rest = [UInt8(ascii: " ")] + Array(key.utf8) + [UInt8(ascii: "=")] + value + [0x0a]
        var length = rest.count + 1
        while "\(length)".utf8.count + rest.count != length { length += 1 }
        return Array("\(length)".utf8) + rest
    }
}
