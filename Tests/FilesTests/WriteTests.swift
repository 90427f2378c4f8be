import FastableCore
import FoundationEssentials
import Glibc
import NodeFiles
import NodeLinux
import TestSupport
import Testing

@Suite struct WriteTests {
    @Test func newFileWithItsDirectories() async throws {
        let workspace = try Workspace()
        let result = try await workspace.service.write(FileWrite(path: "a/b/c.txt", content: "héllo"))
        #expect(
            result
                == FileWriteResult(path: "a/b/c.txt", sha256: sha256(Array("héllo".utf8)), sizeBytes: 6, created: true))
        #expect(try workspace.text("a/b/c.txt") == "héllo")
        for name in ["a", "a/b"] {
            let status = try workspace.status(name)
            #expect(status.mode == 0o755)
            #expect(status.user == workspace.uidBase)
            #expect(status.group == workspace.uidBase)
        }
        let status = try workspace.status("a/b/c.txt")
        #expect(status.mode == 0o644)
        #expect(status.user == workspace.uidBase)
        #expect(try workspace.names("a/b") == ["c.txt"])
    }

    @Test func replacingKeepsModeAndOwner() async throws {
        let workspace = try Workspace()
        try workspace.put("old", "file")
        chmod(workspace.path + "/file", 0o4751)
        if Workspace.isRoot {
            chown(workspace.path + "/file", workspace.uidBase + 1000, workspace.uidBase + 100)
            chmod(workspace.path + "/file", 0o6751)
        }
        let result = try await workspace.service.write(FileWrite(path: "file", content: "new"))
        #expect(!result.created)
        let status = try workspace.status("file")
        // Set-id bits are never kept on content that somebody else wrote.
        #expect(status.mode == 0o751)
        if Workspace.isRoot {
            #expect(status.user == workspace.uidBase + 1000)
            #expect(status.group == workspace.uidBase + 100)
        }
    }

    @Test(.needsRoot) func fileOfTheHostBecomesTheContainers() async throws {
        let workspace = try Workspace()
        try workspace.put("old", "file")
        chown(workspace.path + "/file", 0, 0)
        _ = try await workspace.service.write(FileWrite(path: "file", content: "new"))
        #expect(try workspace.status("file").user == workspace.uidBase)
    }

    @Test func executableBits() async throws {
        let workspace = try Workspace()
        _ = try await workspace.service.write(FileWrite(path: "run", content: "x", executable: true))
        #expect(try workspace.status("run").mode == 0o755)
        _ = try await workspace.service.write(FileWrite(path: "run", content: "y"))
        #expect(try workspace.status("run").mode == 0o755)
        _ = try await workspace.service.write(FileWrite(path: "run", content: "y", executable: false))
        #expect(try workspace.status("run").mode == 0o644)
        chmod(workspace.path + "/run", 0o600)
        _ = try await workspace.service.write(FileWrite(path: "run", content: "y", executable: true))
        #expect(try workspace.status("run").mode == 0o700)
    }

    /// A workspace with a file that has one; `nil` where the file system takes none.
    private static func workspaceWithAttribute() async throws -> Workspace? {
        let workspace = try Workspace()
        try workspace.put("old", "file")
        let set = try await HostCommand(
            "/usr/bin/python3",
            ["-c", "import os,sys; os.setxattr(sys.argv[1], 'user.note', b'kept')", workspace.path + "/file"]
        ).run()
        return set.status.isSuccess ? workspace : nil
    }

    @Test(
        .enabled("needs a temporary directory whose file system takes user attributes") {
            try await workspaceWithAttribute() != nil
        })
    func userAttributesAreKept() async throws {
        let workspace = try #require(try await Self.workspaceWithAttribute())
        _ = try await workspace.service.write(FileWrite(path: "file", content: "new"))
        let get = try await HostCommand(
            "/usr/bin/python3",
            ["-c", "import os,sys; print(os.getxattr(sys.argv[1], 'user.note'))", workspace.path + "/file"]
        ).run()
        #expect(get.text == "b'kept'\n")
    }

    @Test func base64() async throws {
        let workspace = try Workspace()
        let bytes: [UInt8] = [0, 255, 128, 10]
        let text = Data(bytes).base64EncodedString()
        _ = try await workspace.service.write(FileWrite(path: "bin", content: text, encoding: .base64))
        #expect(try workspace.bytes("bin") == bytes)
        let error = try await expectError {
            try await workspace.service.write(FileWrite(path: "bin", content: "!!", encoding: .base64))
        }
        #expect(error.code == .invalid)
        #expect(error.details["field"] == "content")
        #expect(try workspace.bytes("bin") == bytes)
    }

    @Test func emptyContent() async throws {
        let workspace = try Workspace()
        _ = try await workspace.service.write(FileWrite(path: "empty", content: ""))
        #expect(try workspace.bytes("empty").isEmpty)
    }

    @Test func ifMatch() async throws {
        let workspace = try Workspace()
        let service = workspace.service
        let first = try await service.write(FileWrite(path: "file", content: "1", ifMatch: ""))
        let exists = try await expectError {
            try await service.write(FileWrite(path: "file", content: "2", ifMatch: ""))
        }
        #expect(exists.code == .stale)
        #expect(exists.details["sha256"] == .string(first.sha256))
        let second = try await service.write(FileWrite(path: "file", content: "2", ifMatch: first.sha256.uppercased()))
        let stale = try await expectError {
            try await service.write(FileWrite(path: "file", content: "3", ifMatch: first.sha256))
        }
        #expect(stale.code == .stale)
        #expect(stale.details["sha256"] == .string(second.sha256))
        #expect(try workspace.text("file") == "2")
        let missing = try await expectError {
            try await service.write(FileWrite(path: "no/such", content: "3", ifMatch: first.sha256))
        }
        #expect(missing.code == .stale)
        #expect(missing.details["sha256"] == .null)
        #expect(!workspace.exists("no"))
        let malformed = try await expectError {
            try await service.write(FileWrite(path: "file", content: "3", ifMatch: "abc"))
        }
        #expect(malformed.code == .unprocessable)
    }

    /// The tag that a download gives stands for one state of the file, on every write.
    @Test func aVersionIsACondition() async throws {
        let workspace = try Workspace()
        let service = workspace.service
        func version() async throws -> String { try await service.download(FileDownload(path: "file")).head.version }
        let writes: [(String) async throws -> Void] = [
            { _ = try await service.write(FileWrite(path: "file", content: "3", ifMatch: $0)) },
            {
                _ = try await service.edit(
                    FileEdit(path: "file", edits: [.init(oldString: "1", newString: "3")], ifMatch: $0))
            },
            {
                let sink = try await service.upload(FileUpload(path: "file", ifMatch: $0))
                try await sink.write(Array("3".utf8))
                _ = try await sink.finish()
            },
            { _ = try await service.copy(FileCopy(from: "other", to: "file", ifMatch: $0)) },
        ]
        try workspace.put("3", "other")
        for write in writes {
            _ = try await service.write(FileWrite(path: "file", content: "0"))
            let old = try await version()
            _ = try await service.write(FileWrite(path: "file", content: "1"))
            let stale = try await expectError { try await write(old) }
            #expect(stale.code == .stale)
            #expect(try workspace.text("file") == "1")
            try await write(try await version())
            #expect(try workspace.text("file") == "3")
        }
        for text in ["v", "v1-2-3", "v1-2-3-4-5", "v1-2-3-x", "v1-2--4", "v1-2-3-" + String(repeating: "0", count: 17)]
        {
            let error = try await expectError {
                try await service.write(FileWrite(path: "file", content: "3", ifMatch: text))
            }
            #expect(error.code == .unprocessable, "\(text)")
        }
    }

    @Test func directoryIsNotReplaced() async throws {
        let workspace = try Workspace()
        try workspace.put("x", "dir/file")
        for path in ["dir", ".", "/workspace"] {
            let error = try await expectError { try await workspace.service.write(FileWrite(path: path, content: "x")) }
            #expect(error.code == .unprocessable)
        }
        let below = try await expectError {
            try await workspace.service.write(FileWrite(path: "dir/file/below", content: "x"))
        }
        #expect(below.code == .notFound)
        #expect(try workspace.text("dir/file") == "x")
    }

    @Test func tooLarge() async throws {
        let workspace = try Workspace()
        let content = String(repeating: "x", count: Limits.fileWriteBytes + 1)
        let error = try await expectError {
            try await workspace.service.write(FileWrite(path: "file", content: content))
        }
        #expect(error.code == .tooLarge)
        #expect(error.details["limit"] == .integer(Int64(Limits.fileWriteBytes)))
        #expect(!workspace.exists("file"))
    }

    @Test func readersNeverSeeHalfAFile() async throws {
        let workspace = try Workspace()
        let texts = ["a", "b"].map { String(repeating: $0, count: 200_000) }
        _ = try await workspace.service.write(FileWrite(path: "file", content: texts[0]))
        try await withThrowingTaskGroup { group in
            group.addTask {
                for round in 0..<100 {
                    _ = try await workspace.service.write(FileWrite(path: "file", content: texts[round % 2]))
                }
            }
            group.addTask {
                for _ in 0..<300 {
                    let result = try await workspace.service.read(FileRead(path: "file"))
                    #expect(texts.contains(result.text))
                }
            }
            try await group.waitForAll()
        }
        #expect(try workspace.names() == ["file"])
    }
}
