import FastableCore
import Glibc
import NodeFiles
import NodeLinux
import TestSupport
import Testing

@Suite struct HostileArchiveTests {
    struct Hostile: Sendable, CustomTestStringConvertible {
        var name: String
        var bytes: [UInt8]
        var code: FastableError.Code
        var testDescription: String { name }
        init(_ name: String, _ code: FastableError.Code, _ bytes: [UInt8]) {
            self.name = name
            self.bytes = bytes + Archive.end
            self.code = code
        }
    }

    private static let big = [0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff] as [UInt8]
    private static let negative = [UInt8](repeating: 0xff, count: 12)

    static let archives: [Hostile] = [
        Hostile("parent", .forbidden, Archive.file("../outside/evil", "x")),
        Hostile("parent within", .forbidden, Archive.file("a/../../outside/evil", "x")),
        Hostile("absolute", .forbidden, Archive.file("/tmp/fastable-evil", "x")),
        Hostile("absolute below the mount point", .forbidden, Archive.file("/workspace/evil", "x")),
        Hostile("absolute directory", .forbidden, Archive.directory("/tmp/fastable-evil/")),
        Hostile("parent directory", .forbidden, Archive.directory("../evil/")),
        Hostile("through a link", .forbidden, Archive.symlink("l", "../outside") + Archive.file("l/evil", "x")),
        Hostile(
            "through an absolute link", .forbidden, Archive.symlink("l", "/tmp") + Archive.file("l/fastable-evil", "x")),
        Hostile("directory through a link", .forbidden, Archive.symlink("l", "..") + Archive.directory("l/evil/")),
        Hostile(
            "through two links", .forbidden,
            Archive.symlink("a", "b/..") + Archive.symlink("b", "../outside") + Archive.file("a/evil", "x")),
        Hostile("existing link", .forbidden, Archive.file("out/evil", "x")),
        Hostile("hard link outside", .forbidden, Archive.hardLink("h", "../outside/secret")),
        Hostile("hard link absolute", .forbidden, Archive.hardLink("h", "/etc/passwd")),
        Hostile("hard link through a link", .forbidden, Archive.hardLink("h", "out/secret")),
        Hostile("hard link to a link", .forbidden, Archive.symlink("s", "/etc/passwd") + Archive.hardLink("h", "s")),
        Hostile("hard link to a file that was there", .forbidden, Archive.hardLink("h", "mine")),
        Hostile("hard link to nothing", .notFound, Archive.hardLink("h", "none")),
        Hostile("character device", .unprocessable, Archive.header("null", type: "3")),
        Hostile("block device", .unprocessable, Archive.header("disk", type: "4")),
        Hostile("FIFO", .unprocessable, Archive.header("fifo", type: "6")),
        Hostile("sparse", .unprocessable, Archive.header("sparse", type: "S")),
        Hostile("multi-volume", .unprocessable, Archive.header("more", type: "M")),
        Hostile("pax path", .forbidden, Archive.pax([("path", "../outside/evil")]) + Archive.file("innocent", "x")),
        Hostile("pax link", .forbidden, Archive.pax([("linkpath", "../outside/secret")]) + Archive.hardLink("h", "x")),
        Hostile("pax NUL", .invalid, Archive.pax([("path", "a\0b")]) + Archive.file("innocent", "x")),
        Hostile("pax size", .invalid, Archive.pax([("size", "-1")]) + Archive.file("innocent", "x")),
        Hostile("pax sparse", .unprocessable, Archive.pax([("GNU.sparse.major", "1")]) + Archive.file("s", "x")),
        Hostile("long name", .forbidden, Archive.longName("../outside/evil") + Archive.file("innocent", "x")),
        Hostile("long link", .forbidden, Archive.longName("/etc/passwd", type: "K") + Archive.hardLink("h", "x")),
        Hostile(
            "too long a name", .invalid, Archive.longName(String(repeating: "x", count: 300)) + Archive.file("i", "x")),
        Hostile("huge size", .tooLarge, Archive.header("huge", type: "0", sizeField: big)),
        Hostile("huge header", .tooLarge, Archive.header("x", type: "x", sizeField: big)),
        Hostile("huge long name", .tooLarge, Archive.header("x", type: "L", sizeField: big)),
        Hostile("headers without an entry", .tooLarge, manyHeaders() + Archive.file("innocent", "x")),
        Hostile("negative size", .invalid, Archive.header("n", type: "0", sizeField: negative)),
        Hostile("size with letters", .invalid, Archive.header("n", type: "0", sizeField: Array("zzzzzzzzzzz".utf8))),
        Hostile("empty name", .invalid, Archive.file("", "x")),
        Hostile("empty link", .invalid, Archive.symlink("l", "")),
        Hostile("not UTF-8", .unprocessable, Archive.withChecksum(withName([0xff, 0xfe]))),
        Hostile("file below a file", .notFound, Archive.file("mine/below", "x")),
        Hostile("gzip", .invalid, [0x1f, 0x8b] + [UInt8](repeating: 7, count: 600)),
        Hostile("noise", .invalid, (0..<2048).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ 11) }),
        Hostile("bad checksum", .invalid, damagedChecksum()),
    ]

    private static func withName(_ name: [UInt8]) -> [UInt8] {
        var header = Archive.header("xx", type: "0")
        header.replaceSubrange(0..<name.count, with: name)
        return header
    }

    private static func manyHeaders() -> [UInt8] {
        (0...Limits.tarHeadersPerEntry).flatMap { Archive.pax([("SCHILY.xattr.user.\($0)", "value")]) }
    }

    private static func damagedChecksum() -> [UInt8] {
        var header = Archive.header("x", type: "0")
        header[0] = UInt8(ascii: "y")
        return header
    }

    private func push(_ workspace: Workspace, _ archive: [UInt8], pieces: Int) async throws {
        let sink = try await workspace.service.pushTree(TreePush())
        for start in stride(from: 0, to: archive.count, by: pieces) {
            try await sink.write(Array(archive[start..<min(start + pieces, archive.count)]))
        }
        _ = try await sink.finish()
    }

    @Test(arguments: archives) func isRefused(_ archive: Hostile) async throws {
        for pieces in [37, 1_000_000] {
            let workspace = try Workspace()
            try workspace.put("mine", "mine")
            try workspace.link("../outside", "out")
            let before = try workspace.outsideState()
            let error = try await expectError { try await push(workspace, archive.bytes, pieces: pieces) }
            #expect(error.code == archive.code, "\(error)")
            #expect(try workspace.outsideState() == before)
            #expect(try workspace.text("mine") == "mine")
            #expect(!workspace.exists("../evil"))
            #expect(access("/tmp/fastable-evil", F_OK) != 0)
            #expect(!workspace.exists("innocent"))
        }
    }

    @Test func aFailedPushStaysFailed() async throws {
        let workspace = try Workspace()
        let sink = try await workspace.service.pushTree(TreePush())
        _ = try await expectError { try await sink.write(Archive.file("../x", "x")) }
        let again = try await expectError { try await sink.write(Archive.file("fine", "x") + Archive.end) }
        #expect(again.code == .forbidden)
        #expect(try await expectError { try await sink.finish() }.code == .forbidden)
        #expect(!workspace.exists("fine"))
    }

    @Test func noiseNeverCrashes() async throws {
        let workspace = try Workspace(inMemory: true)
        let before = try workspace.outsideState()
        var generator = SeededGenerator()
        let parts = Self.archives.map(\.bytes) + [Archive.file("ok", "content"), Archive.symlink("ok-link", "ok")]
        for _ in 0..<400 {
            var archive = (0..<3).flatMap { _ in parts.randomElement(using: &generator) ?? [] }
            for _ in 0..<Int.random(in: 0...8, using: &generator) where !archive.isEmpty {
                archive[Int.random(in: 0..<min(archive.count, 2000), using: &generator)] = UInt8.random(
                    in: 0...255, using: &generator)
            }
            // A header whose own sum is right gets further in.
            if Bool.random(using: &generator), archive.count > 512 {
                archive.replaceSubrange(0..<512, with: Archive.withChecksum(Array(archive[..<512])))
            }
            do {
                try await push(workspace, archive, pieces: Int.random(in: 1...3000, using: &generator))
            } catch is FastableError {}
        }
        #expect(try workspace.outsideState() == before, "seed \(generator.seed)")
    }
}
