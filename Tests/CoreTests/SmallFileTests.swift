import FastableCore
import FoundationEssentials
import TestSupport
import Testing

#if canImport(Glibc)
    import Glibc
#endif

/// Files of a daemon's own: written whole or not at all, read with their facts checked.
@Suite struct SmallFileTests {
    private let folder: TemporaryDirectory
    var directory: String { folder.path }

    init() throws { folder = try TemporaryDirectory() }

    var files: [String] { (try? FileManager.default.contentsOfDirectory(atPath: directory).sorted()) ?? [] }

    @Test func writesAndReplaces() throws {
        let path = directory + "/a"
        try AtomicFile.write(path, [1, 2, 3], mode: 0o640)
        #expect(try SmallFile.read(path, atMost: 3) == [1, 2, 3])
        #expect(try mode(of: path) == 0o640)
        let large = (0..<300_000).map { UInt8(truncatingIfNeeded: $0) }
        try AtomicFile.write(path, large)
        #expect(try SmallFile.read(path, atMost: 300_000) == large)
        #expect(try mode(of: path) == 0o600)
        #expect(files == ["a"])
    }

    /// A reader sees the old content or the new one, never a piece.
    @Test func readersSeeWholeFiles() async throws {
        let path = directory + "/a"
        try AtomicFile.write(path, [UInt8](repeating: 0, count: 100_000))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                for round in 1...50 {
                    try AtomicFile.write(path, [UInt8](repeating: UInt8(round), count: 100_000 - round))
                }
            }
            group.addTask {
                for _ in 0..<200 {
                    let bytes = try #require(try SmallFile.read(path, atMost: 100_000))
                    let round = try #require(bytes.first)
                    #expect(bytes.count == 100_000 - Int(round) && bytes.allSatisfy { $0 == round })
                }
            }
            try await group.waitForAll()
        }
        #expect(files == ["a"])
    }

    @Test func createsOnlyOnce() async throws {
        let path = directory + "/key"
        let made = await withTaskGroup(of: Bool.self) { group in
            for writer in 0..<8 {
                group.addTask { (try? AtomicFile.create(path, [UInt8(writer)])) != nil }
            }
            return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
        #expect(made == 1)
        let error = #expect(throws: FastableError.self) { try AtomicFile.create(path, [9]) }
        #expect(error?.code == .conflict)
        #expect(try SmallFile.read(path, atMost: 10)?.first != 9)
        #expect(files == ["key"])
    }

    @Test func aFailedWriteLeavesNothing() throws {
        let missing = #expect(throws: FastableError.self) { try AtomicFile.write(directory + "/no/a", [1]) }
        #expect(missing?.code == .notFound)
        #expect(mkdir(directory + "/folder", 0o700) == 0)
        #expect(throws: FastableError.self) { try AtomicFile.write(directory + "/folder", [1]) }
        #expect(files == ["folder"])
    }

    /// Another program's link must not lead the write elsewhere.
    @Test func replacesALinkAndNotItsTarget() throws {
        try AtomicFile.write(directory + "/target", [1])
        #expect(symlink(directory + "/target", directory + "/link") == 0)
        try AtomicFile.write(directory + "/link", [2])
        #expect(try SmallFile.read(directory + "/target", atMost: 10) == [1])
        #expect(try SmallFile.read(directory + "/link", atMost: 10, followingLinks: false) == [2])
    }

    @Test func readingChecksWhatItReads() throws {
        let path = directory + "/a"
        #expect(try SmallFile.read(path, atMost: 10) == nil)
        try AtomicFile.write(path, [1, 2, 3], mode: 0o604)
        let large = #expect(throws: FastableError.self) { try SmallFile.read(path, atMost: 2) }
        #expect(large?.code == .tooLarge)
        var seen: SmallFile.Facts?
        _ = try SmallFile.read(path, atMost: 3) { seen = $0 }
        #expect(seen?.mode == 0o604 && seen?.owner == geteuid())
        let link = directory + "/link"
        #expect(symlink(path, link) == 0)
        #expect(try SmallFile.read(link, atMost: 3) == [1, 2, 3])
        #expect(throws: FastableError.self) { try SmallFile.read(link, atMost: 3, followingLinks: false) }
        #expect(throws: FastableError.self) { try SmallFile.read(directory, atMost: 3) }
        // A pipe without a writer must not hang the daemon.
        #expect(mkfifo(directory + "/pipe", 0o600) == 0)
        let pipe = #expect(throws: FastableError.self) { try SmallFile.read(directory + "/pipe", atMost: 3) }
        #expect(pipe?.code == .conflict)
    }
}
