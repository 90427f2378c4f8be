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
        var archive = script.rest()
        // Chance does not find sums; with right ones the fields behind them are reached.
        if flags & 1 == 0 { correctChecksums(&archive) }
        let whole = try read(archive, cut: max(1, archive.count))
        try require(try read(archive, cut: cut) == whole, "the cuts of the bytes change the entries")
        if whole.isComplete, whole.error == nil { try checkRoundTrip(whole) }
        if flags & 2 != 0 { try UnpackedTree.check(archive, cut: cut) }
    }

    private static func read(_ archive: [UInt8], cut: Int) throws -> Contents {
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
        return [
            tree + TarWriter.end, entry(long, .file, "x") + entry("l", .symlink, link: long), escapes,
            entry("mine", .file, "mine") + entry("mine", .directory) + entry("mine/f", .file, ""),
            gnuLongName("name/that/is/long") + entry("x", .file, "x"),
        ].map { [2, 100] + $0 }
    }

    private static func gnuLongName(_ name: String) -> [UInt8] {
        var header = TarWriter.header(
            of: TarEntry(path: Array("././@LongLink".utf8), kind: .file, size: Int64(name.utf8.count)))
        header[156] = UInt8(ascii: "L")
        return header + Array(name.utf8) + TarWriter.padding(after: Int64(name.utf8.count))
    }
}
