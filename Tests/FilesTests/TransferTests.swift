import FastableCore
import Glibc
import NodeFiles
import NodeLinux
import TestSupport
import Testing

@Suite struct TransferTests {
    private func download(_ workspace: Workspace, _ request: FileDownload) async throws -> [UInt8] {
        let stream = try await workspace.service.download(request)
        var bytes: [UInt8] = []
        while let next = try await stream.next() { bytes += next }
        #expect(Int64(bytes.count) == stream.head.length)
        return bytes
    }

    @Test func ranges() async throws {
        let workspace = try Workspace()
        let content = (0..<700_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        try workspace.put(content, "file")
        #expect(try await download(workspace, FileDownload(path: "file")) == content)
        for (offset, length) in [(0, 1), (0, 0), (699_999, 1), (700_000, 0), (256 * 1024 - 1, 3), (100, 500_000)] {
            let bytes = try await download(
                workspace, FileDownload(path: "file", offset: Int64(offset), length: Int64(length)))
            #expect(bytes == Array(content[offset..<(offset + length)]))
        }
        let beyond = try await workspace.service.download(FileDownload(path: "file", offset: 699_990, length: .max))
        #expect(beyond.head.length == 10)
        #expect(beyond.head.sizeBytes == 700_000)
        for (offset, length) in [(Int64(-1), Int64(1)), (700_001, 1), (0, -1)] {
            let error = try await expectError {
                try await workspace.service.download(FileDownload(path: "file", offset: offset, length: length))
            }
            #expect(error.code == .unprocessable)
        }
    }

    @Test func fileThatShrinks() async throws {
        let workspace = try Workspace()
        try workspace.put([UInt8](repeating: 1, count: 600_000), "file")
        let stream = try await workspace.service.download(FileDownload(path: "file"))
        _ = try await stream.next()
        truncate(workspace.path + "/file", 300_000)
        let error = try await expectError { while try await stream.next() != nil {} }
        #expect(error.code == .conflict)
    }

    @Test func uploads() async throws {
        let workspace = try Workspace()
        let content = (0..<500_000).map { UInt8(truncatingIfNeeded: $0 &* 13) }
        let sink = try await workspace.service.upload(FileUpload(path: "a/b", executable: true))
        for start in stride(from: 0, to: content.count, by: 60_000) {
            try await sink.write(Array(content[start..<min(start + 60_000, content.count)]))
            #expect(!workspace.exists("a/b"))
        }
        let result = try await sink.finish()
        #expect(result == FileWriteResult(path: "a/b", sha256: sha256(content), sizeBytes: 500_000, created: true))
        #expect(try workspace.bytes("a/b") == content)
        #expect(try workspace.status("a/b").mode == 0o755)
        #expect(try workspace.names("a") == ["b"])
    }

    @Test func anUploadKeepsModeAndOwnerOfTheFileItReplaces() async throws {
        let workspace = try Workspace()
        try workspace.put("old", "file")
        if Workspace.isRoot { chown(workspace.path + "/file", workspace.uidBase + 1000, workspace.uidBase + 100) }
        chmod(workspace.path + "/file", 0o4751)
        let sink = try await workspace.service.upload(FileUpload(path: "file"))
        try await sink.write(Array("new".utf8))
        #expect(try await !sink.finish().created)
        let status = try workspace.status("file")
        // Set-id bits are never kept on content that somebody else wrote.
        #expect(status.mode == 0o751)
        if Workspace.isRoot {
            #expect(status.user == workspace.uidBase + 1000 && status.group == workspace.uidBase + 100)
        }
        #expect(try workspace.text("file") == "new")
    }

    @Test func droppedUploadLeavesNothing() async throws {
        let workspace = try Workspace()
        try workspace.put("old", "file")
        do {
            let sink = try await workspace.service.upload(FileUpload(path: "file"))
            try await sink.write([1, 2, 3])
        }
        let cancelled = try await workspace.service.upload(FileUpload(path: "new"))
        try await cancelled.write([1])
        cancelled.cancel()
        let error = try await expectError { try await cancelled.finish() }
        #expect(error.code == .invalid)
        #expect(try workspace.names() == ["file"])
        #expect(try workspace.text("file") == "old")
    }

    @Test func uploadIsStaleWhenTheFileChangedMeanwhile() async throws {
        let workspace = try Workspace()
        let first = try await workspace.service.write(FileWrite(path: "file", content: "1"))
        let early = try await expectError {
            try await workspace.service.upload(FileUpload(path: "file", ifMatch: String(repeating: "0", count: 64)))
        }
        #expect(early.code == .stale)
        let sink = try await workspace.service.upload(FileUpload(path: "file", ifMatch: first.sha256))
        try await sink.write([1])
        let second = try await workspace.service.write(FileWrite(path: "file", content: "2"))
        let late = try await expectError { try await sink.finish() }
        #expect(late.code == .stale)
        #expect(late.details["sha256"] == .string(second.sha256))
        let new = try await workspace.service.upload(FileUpload(path: "other", ifMatch: ""))
        try workspace.put("made meanwhile", "other")
        #expect(try await expectError { try await new.finish() }.code == .stale)
        #expect(try workspace.text("other") == "made meanwhile")
    }
}
