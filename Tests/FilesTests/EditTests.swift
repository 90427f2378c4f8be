import FastableCore
import Glibc
import NodeFiles
import NodeLinux
import TestSupport
import Testing

/// `fs.edit` on real files; what it does to the text is in `EditEngineTests`.
@Suite struct EditTests {
    @Test func answersWhatWasDone() async throws {
        let workspace = try Workspace()
        try workspace.put((1...20).map { "line \($0)\n" }.joined(), "file")
        let result = try await workspace.service.edit(
            FileEdit(path: "file", edits: [.init(oldString: "line 10\n", newString: "ten\n")]))
        let expected = (1...20).map { $0 == 10 ? "ten\n" : "line \($0)\n" }.joined()
        #expect(try workspace.text("file") == expected)
        #expect(
            result
                == FileEditResult(
                    path: "file", sha256: sha256(Array(expected.utf8)), replacements: 1, firstLine: 10,
                    snippet: "line 6\nline 7\nline 8\nline 9\nten\nline 11\nline 12\nline 13\nline 14\n"))
    }

    @Test func modeOwnerAndFinalNewlineStay() async throws {
        let workspace = try Workspace()
        try workspace.put("\u{feff}a\nb", "file")
        chmod(workspace.path + "/file", 0o750)
        if Workspace.isRoot { chown(workspace.path + "/file", workspace.uidBase + 5, workspace.uidBase + 6) }
        _ = try await workspace.service.edit(FileEdit(path: "file", edits: [.init(oldString: "a", newString: "c")]))
        #expect(try workspace.text("file") == "\u{feff}c\nb")
        let status = try workspace.status("file")
        #expect(status.mode == 0o750)
        if Workspace.isRoot { #expect(status.user == workspace.uidBase + 5 && status.group == workspace.uidBase + 6) }
    }

    @Test func refusals() async throws {
        let workspace = try Workspace()
        try workspace.put("text\n", "file")
        try workspace.put([0x61, 0, 0x62], "nul")
        try workspace.put([0x61, 0xff], "latin")
        try workspace.makeDirectories("dir/x")
        truncate(workspace.path + "/nul-large", 0)
        try workspace.put("x", "large")
        truncate(workspace.path + "/large", off_t(Limits.fileEditBytes) + 1)
        let cases: [(String, FastableError.Code)] = [
            ("missing", .notFound), ("nul", .binary), ("latin", .binary), ("dir", .unprocessable), ("large", .tooLarge),
            (".", .unprocessable),
        ]
        for (path, code) in cases {
            let error = try await expectError {
                try await workspace.service.edit(FileEdit(path: path, edits: [.init(oldString: "a", newString: "b")]))
            }
            #expect(error.code == code, "\(path): \(error)")
        }
    }

    @Test func ifMatch() async throws {
        let workspace = try Workspace()
        try workspace.put("one", "file")
        let current = sha256(Array("one".utf8))
        let edit = FileEdit.Replacement(oldString: "one", newString: "two")
        let stale = try await expectError {
            try await workspace.service.edit(
                FileEdit(path: "file", edits: [edit], ifMatch: String(repeating: "0", count: 64)))
        }
        #expect(stale.code == .stale)
        #expect(stale.details["sha256"] == .string(current))
        #expect(try workspace.text("file") == "one")
        _ = try await workspace.service.edit(FileEdit(path: "file", edits: [edit], ifMatch: current))
        #expect(try workspace.text("file") == "two")
        let absent = try await expectError {
            try await workspace.service.edit(FileEdit(path: "file", edits: [edit], ifMatch: ""))
        }
        #expect(absent.code == .stale)
    }

    @Test func allOrNone() async throws {
        let workspace = try Workspace()
        try workspace.put("a b c", "file")
        let inode = try workspace.status("file").inode
        let error = try await expectError {
            try await workspace.service.edit(
                FileEdit(
                    path: "file",
                    edits: [
                        .init(oldString: "a", newString: "1"), .init(oldString: "zzz", newString: "2"),
                        .init(oldString: "c", newString: "3"),
                    ]))
        }
        #expect(error.code == .notFound)
        #expect(error.details["index"] == 1)
        #expect(error.message.hasPrefix("Edit 2 of 3: "))
        #expect(try workspace.text("file") == "a b c")
        #expect(try workspace.status("file").inode == inode)
    }
}
