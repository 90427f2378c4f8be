import FastableCore
import Glibc
import NodeFiles
import NodeLinux
import TestSupport
import Testing

@Suite struct ListDeleteTests {
    @Test func listsByDepthSorted() async throws {
        let workspace = try Workspace()
        for name in ["b/2/x", "b/1", "a", ".git/config", "c"] { try workspace.put("x", name) }
        let service = workspace.service
        #expect(try await service.list(FileList()).entries.map(\.name) == ["a", "b", "c"])
        #expect(try await service.list(FileList(depth: 2)).entries.map(\.name) == ["a", "b", "b/1", "b/2", "c"])
        #expect(try await service.list(FileList(path: "b", depth: 5)).entries.map(\.name) == ["1", "2", "2/x"])
        let hidden = try await service.list(FileList(depth: 2, includeHidden: true))
        #expect(hidden.entries.map(\.name) == [".git", ".git/config", "a", "b", "b/1", "b/2", "c"])
        #expect(!hidden.truncated)
    }

    @Test func tellsAboutEntries() async throws {
        let workspace = try Workspace()
        try workspace.put("12345", "file")
        chmod(workspace.path + "/file", 0o4755)
        utimes(
            workspace.path + "/file",
            [timeval(tv_sec: 1000, tv_usec: 234_000), timeval(tv_sec: 1000, tv_usec: 234_000)])
        try workspace.link("/nowhere", "link")
        try Errno.check { mkfifo(workspace.path + "/pipe", 0o600) }
        let entries = try await workspace.service.list(FileList()).entries
        try #require(entries.count == 3)
        #expect(
            entries[0]
                == FileEntry(
                    name: "file", kind: .file, sizeBytes: 5, mode: "4755", modifiedMilliseconds: 1_000_234,
                    symlinkTarget: nil))
        #expect(entries[1].kind == .symlink && entries[1].symlinkTarget == "/nowhere")
        #expect(entries[2].kind == .other && entries[2].mode == "0600")
    }

    @Test func limits() async throws {
        let workspace = try Workspace()
        try await makeFiles(Limits.listEntries + 5, in: workspace.path)
        let result = try await workspace.service.list(FileList())
        #expect(result.entries.count == Limits.listEntries)
        #expect(result.truncated)
        for depth in [0, -1, Limits.listDepth + 1] {
            let error = try await expectError { try await workspace.service.list(FileList(depth: depth)) }
            #expect(error.code == .unprocessable)
        }
    }

    @Test func notADirectory() async throws {
        let workspace = try Workspace()
        try workspace.put("x", "file")
        #expect(
            try await expectError { try await workspace.service.list(FileList(path: "file")) }.code == .unprocessable)
        #expect(try await expectError { try await workspace.service.list(FileList(path: "none")) }.code == .notFound)
        #expect(try await expectError { try await workspace.service.list(FileList(path: "file/x")) }.code == .notFound)
    }

    @Test func namesThatAreNotText() async throws {
        let workspace = try Workspace()
        let name: [CChar] = Array(workspace.path.utf8CString.dropLast()) + [47, -1, 97, 0]
        close(creat(name, 0o644))
        #expect(try await workspace.service.list(FileList()).entries.map(\.name) == ["\u{fffd}a"])
        _ = try await workspace.service.write(FileWrite(path: "dir/x", content: ""))
        #expect(rename(name, workspace.path + "/dir/moved") == 0)
    }

    @Test func deletesOnlyTheFileThatWasMeant() async throws {
        let workspace = try Workspace()
        let service = workspace.service
        try workspace.put("content", "file")
        try workspace.put("x", "dir/x")
        let digest = sha256(Array("content".utf8))
        let version = try await service.download(FileDownload(path: "file")).head.version
        // Another size: the clock of a file system may be too coarse to tell both apart.
        try workspace.put("changed since", "file")
        for old in [digest, version] {
            let stale = try await expectError { try await service.delete(FileDelete(path: "file", ifMatch: old)) }
            #expect(stale.code == .stale && stale.details["sha256"] == .string(sha256(Array("changed since".utf8))))
        }
        for path in ["dir", "link"] {
            if path == "link" { try workspace.link("file", path) }
            let error = try await expectError {
                try await service.delete(FileDelete(path: path, recursive: true, ifMatch: digest))
            }
            #expect(error.code == .unprocessable)
        }
        let gone = try await expectError { try await service.delete(FileDelete(path: "none", ifMatch: digest)) }
        #expect(gone.code == .stale)
        let now = try await service.download(FileDownload(path: "file")).head.version
        #expect(now != version)
        #expect(try await service.delete(FileDelete(path: "file", ifMatch: now)).removed == 1)
        try workspace.put("content", "file")
        #expect(try await service.delete(FileDelete(path: "file", ifMatch: digest)).removed == 1)
        #expect(!workspace.exists("file"))
    }

    @Test func deletes() async throws {
        let workspace = try Workspace()
        try workspace.put("x", "file")
        try workspace.put("x", "dir/a/b")
        try workspace.put("x", "dir/c")
        try workspace.makeDirectories("empty/x")
        let service = workspace.service
        #expect(try await service.delete(FileDelete(path: "file")) == FileDeleteResult(path: "file", removed: 1))
        #expect(try await service.delete(FileDelete(path: "empty")).removed == 1)
        let full = try await expectError { try await service.delete(FileDelete(path: "dir")) }
        #expect(full.code == .conflict)
        #expect(full.message.contains("recursive"))
        #expect(try await service.delete(FileDelete(path: "dir", recursive: true)).removed == 4)
        #expect(try workspace.names() == [])
        #expect(try await expectError { try await service.delete(FileDelete(path: "file")) }.code == .notFound)
        for root in [".", "/workspace"] {
            let error = try await expectError { try await service.delete(FileDelete(path: root, recursive: true)) }
            #expect(error.code == .unprocessable)
        }
    }

    @Test func deepTree() async throws {
        let workspace = try Workspace()
        let depth = 10_000
        try await makeDeepTree(depth, in: workspace.path)
        // Too deep for a path, so it cannot be listed to its end or packed, but it can be removed.
        #expect(try await workspace.service.list(FileList(depth: Limits.listDepth)).entries.count == Limits.listDepth)
        let pull = try await workspace.service.pullTree(TreePull())
        let error = try await expectError { while try await pull.next() != nil {} }
        #expect(error.code == .tooLarge)
        let result = try await workspace.service.delete(FileDelete(path: "d", recursive: true))
        #expect(result.removed == depth + 1)
        #expect(try workspace.names() == [])
    }

    @Test func wideTree() async throws {
        let workspace = try Workspace()
        for directory in 0..<20 {
            try workspace.makeDirectories("tree/\(directory)/x")
            try await makeFiles(300, in: workspace.path + "/tree/\(directory)")
        }
        let result = try await workspace.service.delete(FileDelete(path: "tree", recursive: true))
        #expect(result.removed == 20 * 301 + 1)
    }

    private func makeFiles(_ count: Int, in directory: String) async throws {
        try await BlockingPool.shared.run {
            for index in 0..<count { close(creat("\(directory)/f\(index)", 0o644)) }
        }
    }

    /// `d/d/d/…` with a file at its end.
    private func makeDeepTree(_ depth: Int, in directory: String) async throws {
        try await BlockingPool.shared.run {
            var current = try FileDescriptor(opening: directory, O_RDONLY | O_DIRECTORY)
            for _ in 0..<depth {
                current = try current.makeDirectory("d", mode: 0o755, owner: geteuid())
            }
            _ = try current.openEntry("leaf", O_CREAT | O_WRONLY, mode: 0o644)
        }
    }
}
