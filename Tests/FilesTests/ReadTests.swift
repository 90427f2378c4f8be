import Crypto
import FastableCore
import FoundationEssentials
import Glibc
import NodeFiles
import TestSupport
import Testing

@Suite struct ReadTests {
    @Test func wholeFile() async throws {
        let workspace = try Workspace()
        try workspace.put("one\ntwo\nthrée", "a/b.txt")
        let result = try await workspace.service.read(FileRead(path: "/workspace/a//./b.txt"))
        #expect(
            result
                == FileReadResult(
                    path: "a/b.txt", kind: .file, content: "one\ntwo\nthrée", encoding: .utf8,
                    sha256: sha256(Array("one\ntwo\nthrée".utf8)), sizeBytes: 14, firstLine: 1, lineCount: 3,
                    totalLines: 3,
                    truncated: false, entries: nil))
    }

    struct Window: Sendable {
        var offset: Int?
        var limit: Int?
        var text: String
        var lines: Int
        var truncated: Bool
    }

    @Test(arguments: [
        Window(offset: 1, limit: 2, text: "1\n2\n", lines: 2, truncated: true),
        Window(offset: 2, limit: 1, text: "2\n", lines: 1, truncated: true),
        Window(offset: 3, limit: 1, text: "3\n", lines: 1, truncated: true),
        Window(offset: 4, limit: 1, text: "4", lines: 1, truncated: false),
        Window(offset: 3, limit: 2, text: "3\n4", lines: 2, truncated: false),
        Window(offset: 3, limit: 100, text: "3\n4", lines: 2, truncated: false),
        Window(offset: 5, limit: 1, text: "", lines: 0, truncated: false),
        Window(offset: 100, limit: nil, text: "", lines: 0, truncated: false),
        Window(offset: nil, limit: 1, text: "1\n", lines: 1, truncated: true),
    ]) func windows(_ window: Window) async throws {
        let workspace = try Workspace()
        try workspace.put("1\n2\n3\n4", "file")
        let result = try await workspace.service.read(
            FileRead(path: "file", offset: window.offset, limit: window.limit))
        #expect(result.text == window.text)
        #expect(result.lineCount == window.lines)
        #expect(result.totalLines == 4)
        #expect(result.firstLine == window.offset ?? 1)
        #expect(result.truncated == window.truncated)
        #expect(result.sha256 == sha256(Array("1\n2\n3\n4".utf8)))
    }

    @Test(arguments: [("", 0), ("\n", 1), ("a", 1), ("a\n", 1), ("a\n\n", 2), ("\r\n\r\n", 2), ("\u{feff}a\n", 1)])
    func lineCounts(_ text: String, _ lines: Int) async throws {
        let workspace = try Workspace()
        try workspace.put(text, "file")
        let result = try await workspace.service.read(FileRead(path: "file"))
        #expect(result.content == text)
        #expect(result.totalLines == lines)
        #expect(result.lineCount == lines)
        #expect(!result.truncated)
    }

    @Test func longTextIsReadInParts() async throws {
        let workspace = try Workspace()
        let lines = (0..<60_000).map { "zeile \($0) äöü 漢字 🙂\n" }
        let text = lines.joined()
        try workspace.put(text, "file")
        var collected = ""
        var offset = 1
        var parts = 0
        while true {
            let part = try await workspace.service.read(FileRead(path: "file", offset: offset))
            #expect(part.text.utf8.count <= Limits.fileReadBytes)
            #expect(part.totalLines == lines.count)
            #expect(part.sha256 == sha256(Array(text.utf8)))
            collected += part.text
            offset += part.lineCount ?? 0
            parts += 1
            if !part.truncated { break }
        }
        #expect(collected == text)
        #expect(parts > 1)
    }

    @Test func oneLongLineIsCutBetweenCharacters() async throws {
        let workspace = try Workspace()
        for shift in 0..<4 {
            let text = String(repeating: "a", count: shift) + String(repeating: "🙂", count: 400_000)
            try workspace.put(text, "file")
            let result = try await workspace.service.read(FileRead(path: "file"))
            #expect(result.encoding == .utf8)
            #expect(text.hasPrefix(result.text))
            #expect((Limits.fileReadBytes - 3...Limits.fileReadBytes).contains(result.text.utf8.count))
            #expect(result.lineCount == 1)
            #expect(result.truncated)
        }
    }

    @Test(
        arguments: [
            [0xff], [0xc3], [0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xc0, 0xaf], [0xe0, 0x80, 0xaf],
            [0x61, 0x00, 0x62], [0xf0, 0x9f, 0x99], [0x00], [0xf5, 0x80, 0x80, 0x80],
        ] as [[UInt8]]) func binaryIsBase64(_ bytes: [UInt8]) async throws
    {
        let workspace = try Workspace()
        // At the end of a small file, of a large one, and across the border of its pieces.
        for before in [0, 5, 300_000, 1024 * 1024 - 1] {
            let content = [UInt8](repeating: 0x61, count: before) + bytes
            try workspace.put(content, "file")
            let result = try await workspace.service.read(FileRead(path: "file"))
            #expect(result.encoding == .base64)
            #expect(result.sizeBytes == content.count)
            #expect(result.sha256 == sha256(content))
            let head = content.prefix(Limits.fileReadBytes / 4 * 3)
            #expect(result.content.flatMap { Data(base64Encoded: $0) } == Data(head))
            #expect(result.truncated == (head.count < content.count))
        }
    }

    @Test func charactersAcrossPiecesStayText() async throws {
        let workspace = try Workspace()
        for shift in 0..<4 {
            let text = String(repeating: "x", count: 1024 * 1024 - shift) + "🙂\nend\n"
            try workspace.put(text, "file")
            let result = try await workspace.service.read(FileRead(path: "file", offset: 2))
            #expect(result.text == "end\n")
            #expect(result.encoding == .utf8)
        }
    }

    @Test func directoryGivesEntries() async throws {
        let workspace = try Workspace()
        try workspace.put("x", "dir/.hidden")
        try workspace.put("xyz", "dir/sub/deeper")
        try workspace.link("sub", "dir/link")
        let result = try await workspace.service.read(FileRead(path: "dir"))
        #expect(result.kind == .directory)
        #expect(result.content == nil)
        #expect(result.entries?.map(\.name) == [".hidden", "link", "sub"])
        #expect(result.entries?.map(\.kind) == [.file, .symlink, .directory])
        #expect(result.entries?[1].symlinkTarget == "sub")
        for root in [".", "/workspace", "/workspace/", "./"] {
            let result = try await workspace.service.read(FileRead(path: root))
            #expect(result.path == ".")
            #expect(result.entries?.map(\.name) == ["dir"])
        }
    }

    @Test func missingFileIsNamed() async throws {
        let workspace = try Workspace()
        try workspace.put("x", "file")
        for path in ["no/such", "file/below"] {
            let error = try await expectError { try await workspace.service.read(FileRead(path: path)) }
            #expect(error.code == .notFound)
            #expect(error.message.contains(path))
            #expect(error.details["path"] == .string(path))
        }
    }

    @Test func wrongWindowsAreRefused() async throws {
        let workspace = try Workspace()
        try workspace.put("x", "file")
        for (offset, limit, field) in [(0, 1, "offset"), (-1, 1, "offset"), (1, 0, "limit"), (1, -5, "limit")] {
            let error = try await expectError {
                try await workspace.service.read(FileRead(path: "file", offset: offset, limit: limit))
            }
            #expect(error.code == .unprocessable)
            #expect(error.details["field"] == .string(field))
        }
    }

    @Test func hugeFileIsReadFromItsBeginningOnly() async throws {
        let workspace = try Workspace()
        try workspace.put("first\nsecond\n", "huge")
        truncate(workspace.path + "/huge", off_t(Limits.fileScanBytes) * 4)
        let result = try await workspace.service.read(FileRead(path: "huge", offset: 2, limit: 1))
        // What follows is zeros, which is not text.
        #expect(result.encoding == .base64)
        #expect(result.sha256 == nil)
        #expect(result.truncated)
    }
}

func sha256(_ bytes: [UInt8]) -> String {
    SHA256.hash(data: bytes).map { byte in
        let text = String(byte, radix: 16)
        return text.count == 1 ? "0" + text : text
    }.joined()
}
