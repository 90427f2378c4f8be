import FastableCore
import Glibc
import NodeFiles
import NodeLinux
import TestSupport
import Testing

@Suite struct CopyMoveTests {
    private func digest(_ text: String) -> String { sha256(Array(text.utf8)) }

    // MARK: stat, mkdir, chmod

    @Test func statTellsWhatAPathIs() async throws {
        let workspace = try Workspace()
        try workspace.put("12345", "dir/file")
        chmod(workspace.path + "/dir/file", 0o640)
        try workspace.link("dir/file", "link")
        let service = workspace.service
        let file = try await service.stat(FileStat(path: "dir/file", digest: true))
        #expect(file.kind == .file && file.sizeBytes == 5 && file.mode == "0640" && file.links == 1)
        #expect(file.sha256 == digest("12345"))
        #expect(file.user == 0)
        let link = try await service.stat(FileStat(path: "link", digest: true))
        #expect(link.kind == .symlink && link.symlinkTarget == "dir/file" && link.sha256 == nil)
        let followed = try await service.stat(FileStat(path: "link", followLink: true, digest: true))
        #expect(followed.kind == .file && followed.sha256 == file.sha256 && followed.symlinkTarget == nil)
        #expect(try await service.stat(FileStat(path: ".")).kind == .directory)
        #expect(try await expectError { try await service.stat(FileStat(path: "none")) }.code == .notFound)
        try Errno.check { mkfifo(workspace.path + "/fifo", 0o600) }
        #expect(try await service.stat(FileStat(path: "fifo", digest: true)).kind == .other)
        if Workspace.isRoot {
            chown(workspace.path + "/dir/file", 0, workspace.uidBase + 1000)
            let foreign = try await service.stat(FileStat(path: "dir/file"))
            #expect(foreign.user == nil && foreign.group == 1000)
        }
    }

    @Test func makesDirectories() async throws {
        let workspace = try Workspace()
        let service = workspace.service
        #expect(try await service.makeDirectory(DirectoryMake(path: "a")).created)
        let taken = try await expectError { try await service.makeDirectory(DirectoryMake(path: "a")) }
        #expect(taken.code == .conflict)
        let missing = try await expectError { try await service.makeDirectory(DirectoryMake(path: "x/y")) }
        #expect(missing.code == .notFound)
        #expect(try await service.makeDirectory(DirectoryMake(path: "x/y/z", parents: true)).created)
        #expect(try await service.makeDirectory(DirectoryMake(path: "x/y/z", parents: true)).created == false)
        for name in ["a", "x", "x/y", "x/y/z"] {
            let status = try workspace.status(name)
            #expect(status.kind == .directory && status.mode == 0o755)
            #expect(status.user == workspace.uidBase && status.group == workspace.uidBase)
        }
        try workspace.put("x", "file")
        let file = try await expectError { try await service.makeDirectory(DirectoryMake(path: "file", parents: true)) }
        #expect(file.code == .conflict)
        #expect(try await service.makeDirectory(DirectoryMake(path: ".", parents: true)).created == false)
    }

    @Test func modesOfWhatWasMeantOnly() async throws {
        let workspace = try Workspace()
        try workspace.put("old", "run")
        chmod(workspace.path + "/run", 0o644)
        try workspace.link("run", "link")
        let service = workspace.service
        func change(_ path: String, _ ifMatch: String) async throws -> FileModeChangeResult {
            try await service.changeMode(FileModeChange(path: path, mode: "755", ifMatch: ifMatch))
        }
        for path in ["run", "link"] {
            let stale = try await expectError { try await change(path, digest("other")) }
            #expect(stale.code == .stale && stale.details["sha256"] == .string(digest("old")))
        }
        #expect(try await expectError { try await change("none", digest("old")) }.code == .stale)
        #expect(try await expectError { try await change("run", "") }.code == .stale)
        #expect(try workspace.status("run").mode == 0o644)
        #expect(try await change("link", digest("old")).mode == "0755")
        #expect(try workspace.status("run").mode == 0o755)
        mkdir(workspace.path + "/dir", 0o700)
        let directory = try await expectError { try await change("dir", digest("old")) }
        #expect(directory.code == .unprocessable && directory.details["field"] == "ifMatch")
    }

    @Test func movesOnlyWhatWasMeant() async throws {
        let workspace = try Workspace()
        try workspace.put("old", "a")
        try workspace.link("a", "link")
        let service = workspace.service
        func move(_ from: String, _ match: String) async throws -> FileMoveResult {
            try await service.move(FileMove(from: from, to: "b", ifSourceMatch: match))
        }
        #expect(try await expectError { try await move("a", digest("other")) }.code == .stale)
        #expect(try await expectError { try await move("a", "") }.code == .stale)
        let link = try await expectError { try await move("link", digest("old")) }
        #expect(link.code == .unprocessable && link.details["field"] == "ifSourceMatch")
        let nonsense = try await expectError { try await move("a", "x") }
        #expect(nonsense.code == .unprocessable && nonsense.details["field"] == "ifSourceMatch")
        #expect(try workspace.text("a") == "old" && access(workspace.path + "/b", F_OK) != 0)
        _ = try await move("a", digest("old"))
        #expect(try workspace.text("b") == "old" && access(workspace.path + "/a", F_OK) != 0)
    }

    @Test func changesModes() async throws {
        let workspace = try Workspace()
        try workspace.put("x", "run")
        try workspace.link("run", "link")
        let service = workspace.service
        #expect(try await service.changeMode(FileModeChange(path: "link", mode: "755")).mode == "0755")
        #expect(try workspace.status("run").mode == 0o755)
        _ = try await service.changeMode(FileModeChange(path: "run", mode: "0000"))
        #expect(try workspace.status("run").mode == 0)
        for mode in ["4755", "1777", "888", "7", "+x", "07777", "-755"] {
            let error = try await expectError {
                try await service.changeMode(FileModeChange(path: "run", mode: mode))
            }
            #expect(error.code == .unprocessable && error.details["field"] == "mode", "\(mode)")
        }
        try Errno.check { mkfifo(workspace.path + "/fifo", 0o600) }
        let special = try await expectError {
            try await service.changeMode(FileModeChange(path: "fifo", mode: "777"))
        }
        #expect(special.code == .unprocessable)
    }

    // MARK: move

    @Test func movesFilesAndTrees() async throws {
        let workspace = try Workspace()
        try workspace.put("one", "a/file")
        chmod(workspace.path + "/a/file", 0o751)
        let service = workspace.service
        let result = try await service.move(FileMove(from: "a/file", to: "b/c/file"))
        #expect(result == FileMoveResult(from: "a/file", to: "b/c/file", replaced: false))
        #expect(try workspace.status("b/c/file").mode == 0o751)
        #expect(try workspace.status("b/c").user == workspace.uidBase)
        _ = try await service.move(FileMove(from: "b", to: "a/b"))
        #expect(try workspace.text("a/b/c/file") == "one")
        #expect(try workspace.names() == ["a"])
        let into = try await expectError { try await service.move(FileMove(from: "a", to: "a/b/a")) }
        #expect(into.code == .unprocessable && into.message.contains("itself"))
        let none = try await expectError { try await service.move(FileMove(from: "none", to: "x")) }
        #expect(none.code == .notFound && none.details["path"] == "none")
        for (from, to) in [(".", "x"), ("a", "."), ("a", "/workspace")] {
            let error = try await expectError { try await service.move(FileMove(from: from, to: to)) }
            #expect(error.code == .unprocessable)
        }
    }

    @Test func moveReplacesOnlyWhatItMay() async throws {
        let workspace = try Workspace()
        let service = workspace.service
        for name in ["new", "old", "dir/x"] { try workspace.put(name, name) }
        let taken = try await expectError { try await service.move(FileMove(from: "new", to: "old")) }
        #expect(taken.code == .conflict && taken.message.contains("overwrite"))
        let stale = try await expectError {
            try await service.move(FileMove(from: "new", to: "old", ifMatch: digest("other")))
        }
        #expect(stale.code == .stale && stale.details["sha256"] == .string(digest("old")))
        let absent = try await expectError { try await service.move(FileMove(from: "new", to: "old", ifMatch: "")) }
        #expect(absent.code == .stale)
        let missing = try await expectError {
            try await service.move(FileMove(from: "new", to: "no/where", ifMatch: digest("old")))
        }
        #expect(missing.code == .stale && !workspace.exists("no"))
        for (from, to) in [("new", "dir"), ("dir", "new")] {
            let error = try await expectError { try await service.move(FileMove(from: from, to: to, overwrite: true)) }
            #expect(error.code == .conflict && !error.message.contains("recursive"))
        }
        #expect(try workspace.text("old") == "old")
        #expect(try await service.move(FileMove(from: "new", to: "old", ifMatch: digest("old"))).replaced)
        #expect(try workspace.text("old") == "new")
        #expect(!workspace.exists("new"))
        // Two names of one file become one, as they do for any other file.
        try Errno.check { Glibc.link(workspace.path + "/old", workspace.path + "/second") }
        #expect(try await service.move(FileMove(from: "second", to: "old", overwrite: true)).replaced)
        #expect(try workspace.names() == ["dir", "old"])
        // A file onto itself stays.
        _ = try await service.move(FileMove(from: "old", to: "./old", overwrite: true))
        #expect(try workspace.text("old") == "new")
    }

    @Test func ofManyMovesToOneNameOneWins() async throws {
        let workspace = try Workspace(inMemory: true)
        let service = workspace.service
        for index in 0..<20 { try workspace.put("\(index)", "f\(index)") }
        let winners = await withTaskGroup { group in
            for index in 0..<20 {
                group.addTask { (try? await service.move(FileMove(from: "f\(index)", to: "target"))) != nil }
            }
            return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
        #expect(winners == 1)
        #expect(try workspace.names().count == 20)
    }

    // MARK: copy

    @Test func copiesFiles() async throws {
        let workspace = try Workspace()
        let service = workspace.service
        try workspace.put("content", "file")
        chmod(workspace.path + "/file", 0o6751)
        let result = try await service.copy(FileCopy(from: "file", to: "deep/er/copy"))
        #expect(result == FileCopyResult(from: "file", to: "deep/er/copy", copied: 1, sizeBytes: 7))
        let status = try workspace.status("deep/er/copy")
        #expect(status.mode == 0o751 && status.user == workspace.uidBase && status.group == workspace.uidBase)
        #expect(try workspace.text("deep/er/copy") == "content")
        #expect(try workspace.text("file") == "content")
        // What was there keeps its mode.
        try workspace.put("old", "old")
        chmod(workspace.path + "/old", 0o600)
        let taken = try await expectError { try await service.copy(FileCopy(from: "file", to: "old")) }
        #expect(taken.code == .conflict && taken.message.contains("overwrite"))
        let stale = try await expectError {
            try await service.copy(FileCopy(from: "file", to: "old", ifMatch: digest("x")))
        }
        #expect(stale.code == .stale)
        #expect(try await service.copy(FileCopy(from: "file", to: "old", ifMatch: digest("old"))).replaced)
        #expect(try workspace.status("old").mode == 0o600)
        #expect(try workspace.text("old") == "content")
        let directory = try await expectError {
            try await service.copy(FileCopy(from: "file", to: "deep", overwrite: true))
        }
        #expect(directory.code == .conflict)
    }

    @Test func holesStayHoles() async throws {
        let workspace = try Workspace()
        let size = 3 << 30
        let file = try FileDescriptor(opening: workspace.path + "/sparse", O_RDWR | O_CREAT, mode: 0o644)
        let original = file.number
        for offset in [0, 1 << 30, size - 4] {
            try Errno.check { pwrite(original, "data", 4, offset) }
        }
        let result = try await workspace.service.copy(FileCopy(from: "sparse", to: "copy"))
        #expect(result.sizeBytes == Int64(size))
        let copy = try FileDescriptor(opening: workspace.path + "/copy", O_RDONLY)
        var status = stat()
        let number = copy.number
        try Errno.check { fstat(number, &status) }
        #expect(status.st_size == size && status.st_blocks < 4096)
        for offset in [0, 1 << 30, size - 4] { #expect(try copy.readChunk(4, at: Int64(offset)) == Array("data".utf8)) }
        try Errno.check { ftruncate(original, off_t(Limits.copyBytes) + 1) }
        let tooLarge = try await expectError { try await workspace.service.copy(FileCopy(from: "sparse", to: "no")) }
        #expect(tooLarge.code == .tooLarge)
    }

    @Test func copiesTrees() async throws {
        let workspace = try Workspace()
        let service = workspace.service
        for name in ["src/a", "src/sub/b", "src/sub/deep/c", "src/.hidden/d"] { try workspace.put(name, name) }
        try workspace.makeDirectories("src/empty/x")
        try workspace.link("../a", "src/sub/link")
        try Errno.check { mkfifo(workspace.path + "/src/fifo", 0o600) }
        chmod(workspace.path + "/src/sub/deep", 0o555)
        let plain = try await expectError { try await service.copy(FileCopy(from: "src", to: "copy")) }
        #expect(plain.code == .unprocessable && plain.details["field"] == "recursive")
        let result = try await service.copy(FileCopy(from: "src", to: "to/copy", recursive: true))
        #expect(result.copied == 10 && result.skipped == 1 && result.sizeBytes == 41)
        for name in ["a", "sub/b", "sub/deep/c", ".hidden/d"] {
            #expect(try workspace.text("to/copy/" + name) == "src/" + name)
        }
        #expect(try workspace.status("to/copy/sub/link").kind == .symlink)
        #expect(try workspace.status("to/copy/sub/deep").mode == 0o555)
        #expect(try workspace.status("to/copy/sub").user == workspace.uidBase)
        #expect(try workspace.names("to") == ["copy"])
        for path in ["to/copy", "src/a"] {
            let taken = try await expectError {
                try await service.copy(FileCopy(from: "src", to: path, recursive: true, overwrite: true))
            }
            #expect(taken.code == .conflict)
        }
        for from in ["src", "."] {
            let into = try await expectError {
                try await service.copy(FileCopy(from: from, to: "src/sub/again", recursive: true))
            }
            #expect(into.code == .unprocessable && into.message.contains("itself"))
        }
        #expect(try workspace.names("src/sub") == ["b", "deep", "link"])
        chmod(workspace.path + "/src/sub/deep", 0o755)
        chmod(workspace.path + "/to/copy/sub/deep", 0o755)
    }

    /// What the daemon's end leaves of a copy is the node's alone, is not seen, and goes at the next start.
    @Test func aCopyIsMadeOutOfSight() async throws {
        let workspace = try Workspace(inMemory: true)
        for index in 0..<5000 { try workspace.put("x", "src/d\(index % 50)/f\(index)") }
        let service = workspace.service
        // A busy machine may not look while one is made.
        for attempt in 0..<50 {
            let to = "copy\(attempt)"
            async let copied = service.copy(FileCopy(from: "src", to: to, recursive: true)).copied
            var staged: [String] = []
            while staged.isEmpty, try !workspace.names().contains(to) {
                staged = try workspace.names().filter { $0.hasPrefix(".") }
                // The copy needs a thread as well.
                try await Task.sleep(for: .milliseconds(1))
            }
            let isAbandoned = try AbandonedTrees(workspace: workspace.path, checkpoints: workspace.checkpoints) != nil
            let mode = staged.first.flatMap { try? workspace.status($0) }
            #expect(try await copied == 5051)
            #expect(try !workspace.names().contains { $0.hasPrefix(".") }, "nothing hidden is left")
            guard let name = staged.first, let mode else { continue }
            #expect(staged.count == 1 && name.hasPrefix(".fastable-push-"))
            #expect(mode.mode == 0o700 && mode.user == geteuid())
            // A daemon that started now would take it for what another one left.
            if isAbandoned { return }
        }
        Issue.record("no copy was seen being made")
    }

    @Test func whoeverGivesUpEndsTheCopy() async throws {
        let workspace = try Workspace(inMemory: true)
        for index in 0..<2000 { try workspace.put("x", "src/d\(index % 50)/f\(index)") }
        let service = workspace.service
        // On a busy machine one may be over before it is given up.
        var names: Set = ["src"]
        for attempt in 0..<20 {
            let to = "copy\(attempt)"
            let copy = Task { try await service.copy(FileCopy(from: "src", to: to, recursive: true)) }
            copy.cancel()
            guard case .failure(let error) = await copy.result else {
                names.insert(to)
                continue
            }
            #expect((error as? FastableError)?.code == .cancelled, "\(error)")
            #expect(try Set(workspace.names()) == names)
            return
        }
        Issue.record("no copy was given up")
    }
}
