import FastableArchive
import FastableCore

/// Archives: what is read does not depend on how the bytes were cut, and nothing of it gets out of its directory.
enum TarTarget {
    private struct Contents: Equatable {
        var entries: [TarEntry] = []
        var contents: [[UInt8]] = []
        var error: FastableError.Code?
        var isComplete = false
    }

    static func run(_ bytes: [UInt8]) throws {
        var script = ByteScript(bytes)
        let flags = script.byte()
        let cut = script.number(below: 256) * 5 + 1
        let given = script.rest()
        var archive = repeatHeader(of: given, Int(flags >> 2) * 2)
        // Chance does not find sums; with right ones the fields behind them are reached.
        if flags & 1 == 0 { correctChecksums(&archive) }
        // No header is longer than what was given, and each of three may be held: a name, a target, and what is being read.
        let most = 3 * given.count + TarWriter.blockBytes + Limits.snapshotAttributeBytes
        let whole = try read(archive, cut: max(1, archive.count), holdingAtMost: most)
        let parts = try read(archive, cut: cut, holdingAtMost: most)
        try require(parts == whole, "the cuts of the bytes change the entries")
        if whole.isComplete, whole.error == nil { try checkRoundTrip(whole) }
        if flags & 2 != 0 { try UnpackedTree.check(archive, cut: cut) }
    }

    private static func read(_ archive: [UInt8], cut: Int, holdingAtMost most: Int = .max) throws -> Contents {
        var reader = TarReader()
        var found = Contents()
        var isOpen = false
        do {
            for start in stride(from: 0, to: archive.count, by: cut) {
                try reader.feed(archive[start..<min(start + cut, archive.count)]) { event in
                    switch event {
                    case .entry(let entry):
                        try require(!isOpen, "an entry within another")
                        try require(entry.size >= 0, "a negative size")
                        let names = Set(entry.attributes.map(\.name))
                        try require(names.count == entry.attributes.count, "an attribute twice")
                        isOpen = true
                        found.entries.append(entry)
                        found.contents.append([])
                    case .data(let bytes):
                        try require(isOpen, "content without an entry")
                        found.contents[found.contents.count - 1] += bytes
                    case .entryEnd:
                        try require(isOpen, "an end without an entry")
                        isOpen = false
                        let size = found.entries.last.map { Int($0.size) }
                        try require(found.contents.last?.count == size, "content of another size")
                    }
                }
                try require(reader.heldBytes <= most, "more is held than the headers of one entry")
            }
        } catch let error as FastableError { found.error = error.code }
        found.isComplete = reader.isComplete
        try require(!(found.isComplete && isOpen && found.error == nil), "complete within an entry")
        return found
    }

    /// What was read and is written again reads the same.
    private static func checkRoundTrip(_ found: Contents) throws {
        var archive: [UInt8] = []
        var expected = Contents(error: nil, isComplete: true)
        for (entry, content) in zip(found.entries, found.contents) {
            var entry = entry
            // Such names are refused when they are unpacked, and never packed.
            guard !entry.path.isEmpty, !entry.path.contains(0), !entry.linkTarget.contains(0) else { continue }
            entry.mode &= 0o7777
            if entry.kind == .file || entry.kind == .directory { entry.linkTarget = [] }
            entry.attributes = entry.attributes.filter { !$0.name.contains(UInt8(ascii: "=")) }
            while entry.kind == .directory, entry.path.last == UInt8(ascii: "/") { entry.path.removeLast() }
            archive += TarWriter.header(of: entry) + content + TarWriter.padding(after: entry.size)
            if entry.kind == .directory { entry.path.append(UInt8(ascii: "/")) }
            expected.entries.append(entry)
            expected.contents.append(content)
        }
        let again = try read(archive + TarWriter.end, cut: 1000)
        try require(again == expected, "written and read again it differs")
    }

    /// Lets the extended header that an archive begins with come more than once, each time with another byte for each ‘#’ in it.
    private static func repeatHeader(of archive: [UInt8], _ count: Int) -> [UInt8] {
        let block = TarWriter.blockBytes
        guard count > 0, archive.count > block, "xLK".utf8.contains(archive[156]), archive[135] == 0,
            let size = Int(String(decoding: archive[124..<135], as: UTF8.self), radix: 8), size >= 0
        else { return archive }
        let end = block + (size + block - 1) / block * block
        guard end <= archive.count else { return archive }
        var repeated: [UInt8] = []
        for index in 0..<count {
            let other = UInt8(0x80 | index & 0x7f)
            repeated += archive[..<block]
            repeated += archive[block..<end].map { $0 == UInt8(ascii: "#") ? other : $0 }
        }
        return repeated + archive
    }

    private static func correctChecksums(_ archive: inout [UInt8]) {
        for start in stride(from: 0, to: archive.count - 511, by: 512) {
            guard archive[(start + 257)..<(start + 262)].elementsEqual("ustar".utf8) else { continue }
            for index in 148..<156 { archive[start + index] = UInt8(ascii: " ") }
            let sum = archive[start..<(start + 512)].reduce(0) { $0 + Int($1) }
            for place in 0..<6 { archive[start + 153 - place] = UInt8(ascii: "0") + UInt8(sum >> (3 * place) & 7) }
            archive[start + 154] = 0
        }
    }

    static var seeds: [[UInt8]] {
        func entry(_ path: String, _ kind: TarEntry.Kind, _ content: String = "", link: String = "") -> [UInt8] {
            let bytes = Array(content.utf8)
            return TarWriter.header(
                of: TarEntry(
                    path: Array(path.utf8), kind: kind, size: Int64(bytes.count), linkTarget: Array(link.utf8)))
                + bytes + TarWriter.padding(after: Int64(bytes.count))
        }
        let long = String(repeating: "long/", count: 30) + "name"
        let tree =
            entry("d", .directory) + entry("d/f", .file, "content") + entry("l", .symlink, link: "d/f")
            + entry("h", .hardLink, link: "d/f")
        let escapes =
            entry("e", .symlink, link: "..") + entry("e/f", .file, "x") + entry("out/f", .file, "x")
            + entry("../f", .file, "x")
        let archives: [[UInt8]] = [
            tree + TarWriter.end, entry(long, .file, "x") + entry("l", .symlink, link: long), escapes,
            entry("mine", .file, "mine") + entry("mine", .directory) + entry("mine/f", .file, ""),
            gnuLongName("name/that/is/long") + entry("x", .file, "x"),
        ]
        let repeated: [UInt8] = [254, 100] + attribute("user.#", 5000) + entry("x", .file, "x")
        return archives.map { [2, 100] + $0 } + [repeated]
    }

    /// An extended header alone.
    private static func attribute(_ name: String, _ count: Int) -> [UInt8] {
        var entry = TarEntry(path: Array("x".utf8), kind: .file)
        entry.attributes = [.init(name: Array(name.utf8), value: [UInt8](repeating: 1, count: count))]
        return Array(TarWriter.header(of: entry).dropLast(TarWriter.blockBytes))
    }

    private static func gnuLongName(_ name: String) -> [UInt8] {
        var header = TarWriter.header(
            of: TarEntry(path: Array("././@LongLink".utf8), kind: .file, size: Int64(name.utf8.count)))
        header[156] = UInt8(ascii: "L")
        return header + Array(name.utf8) + TarWriter.padding(after: Int64(name.utf8.count))
    }
}
