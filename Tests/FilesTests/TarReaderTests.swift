import FastableArchive
import FastableCore
import TestSupport
import Testing

/// What an archive of headers costs whoever reads it.
@Suite struct TarReaderTests {
    private static let attribute = "SCHILY.xattr.user."

    private func entries(_ archive: [UInt8], keepsAttributes: Bool = true) throws -> [TarEntry] {
        var reader = TarReader(keepsAttributes: keepsAttributes)
        var entries: [TarEntry] = []
        try reader.feed(archive[...]) { event in
            if case .entry(let entry) = event { entries.append(entry) }
        }
        return entries
    }

    private func attributes(_ entry: TarEntry?) -> [String] {
        (entry?.attributes ?? []).map {
            String(decoding: $0.name, as: UTF8.self) + "=" + String(decoding: $0.value, as: UTF8.self)
        }
    }

    @Test func aNameThatComesAgainReplacesItsValue() throws {
        let name = Self.attribute
        let archive =
            Archive.pax([(name + "a", "1"), (name + "b", "longer"), (name + "a", "3")])
            + Archive.pax([(name + "b", ""), (name + "c", "5")]) + Archive.file("one", "x") + Archive.file("two", "y")
        let found = try entries(archive)
        #expect(attributes(found.first) == ["user.a=3", "user.b=", "user.c=5"])
        #expect(found.count == 2 && attributes(found.last) == [])
        let without = try entries(archive, keepsAttributes: false)
        #expect(without.count == 2 && without.allSatisfy { $0.attributes.isEmpty })
    }

    /// How many of these are read before it is refused; what is held meanwhile is little.
    private func readUntilRefused(
        keepsAttributes: Bool, _ header: (Int) -> [UInt8]
    ) throws -> (count: Int, error: FastableError?) {
        var reader = TarReader(keepsAttributes: keepsAttributes)
        for index in 0..<1000 {
            do {
                try reader.feed(header(index)[...]) { _ in }
            } catch let error as FastableError { return (index, error) }
            #expect(reader.heldBytes <= Limits.snapshotAttributeBytes + Limits.tarHeaderBytes)
        }
        return (1000, nil)
    }

    @Test func headersWithoutAnEntryAreRefusedEarly() throws {
        let value = String(repeating: "v", count: 10_000)
        func attribute(_ index: Int) -> [UInt8] { Archive.pax([("\(Self.attribute)\(index)", value)]) }
        let kept = try readUntilRefused(keepsAttributes: true, attribute)
        #expect(kept.count == Limits.snapshotAttributeBytes / 10_020 && kept.error?.code == .tooLarge)
        #expect(kept.error?.details["limit"] == .integer(Int64(Limits.snapshotAttributeBytes)))
        let headers: [(Int) -> [UInt8]] = [
            attribute, { _ in Archive.longName(String(repeating: "n", count: 1000)) },
            { _ in Archive.longName("target", type: "K") }, { _ in Archive.pax([("comment", value)], type: "g") },
            { _ in Archive.pax([]) },
        ]
        for (index, header) in headers.enumerated() {
            let refused = try readUntilRefused(keepsAttributes: false, header)
            #expect(refused.count == Limits.tarHeadersPerEntry && refused.error?.code == .tooLarge, "\(index)")
        }
    }

    /// The counts begin anew with each entry.
    @Test func manyEntriesMayHaveThem() throws {
        let value = String(repeating: "v", count: 200_000)
        let one = Archive.pax([(Self.attribute + "a", value)]) + Archive.longName("long") + Archive.file("short", "x")
        let found = try entries((0..<20).flatMap { _ in one })
        #expect(found.count == 20)
        #expect(found.allSatisfy { $0.attributes.count == 1 && $0.path == Array("long".utf8) })
    }
}
