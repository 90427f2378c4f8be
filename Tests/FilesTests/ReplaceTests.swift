import FastableCore
import Glibc
import NodeFiles
import NodeLinux
import TestSupport
import Testing

@Suite struct ReplaceTests {
    private static func archive(_ files: Int = 3) -> [UInt8] {
        Archive.directory("dir/") + (0..<files).flatMap { Archive.file("dir/new\($0)", "new \($0)") }
            + Archive.file("both", "new") + Archive.symlink("link", "both") + Archive.end
    }

    private static func makeOld(_ workspace: Workspace, below directory: String = "") throws {
        try workspace.put("old", directory + "both")
        try workspace.put("old", directory + "dir/old")
        try workspace.put("old", directory + "only/deep/old")
    }

    private static func expectOld(
        _ workspace: Workspace, below directory: String = "", sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        #expect(try workspace.names(directory) == ["both", "dir", "only"], sourceLocation: sourceLocation)
        for name in ["both", "dir/old", "only/deep/old"] {
            #expect(try workspace.text(directory + name) == "old", sourceLocation: sourceLocation)
        }
    }

    private static func expectNew(_ workspace: Workspace, below directory: String = "") throws {
        #expect(try workspace.names(directory) == ["both", "dir", "link"])
        #expect(try workspace.names(directory + "dir") == ["new0", "new1", "new2"])
        #expect(try workspace.text(directory + "both") == "new")
        #expect(try workspace.text(directory + "dir/new2") == "new 2")
        #expect(try workspace.status(directory + "dir").user == workspace.uidBase)
    }

    /// `""` is the workspace itself; a link leads to where it leads.
    @Test(arguments: ["", "app/", "app/site/", "l/", "home/"]) func theNewTreeTakesThePlace(_ below: String)
        async throws
    {
        let workspace = try Workspace()
        let isRoot = below.isEmpty || below == "home/"
        try workspace.put("beside", isRoot ? "gone" : "beside")
        if below == "l/" {
            try workspace.makeDirectories("real/x")
            try workspace.link("real", "l")
        }
        if below == "home/" { try workspace.link("/workspace", "home") }
        if below != "home/" { try Self.makeOld(workspace, below: below) }
        let sink = try await workspace.service.pushTree(TreePush(path: below.isEmpty ? nil : below, replace: true))
        let archive = Self.archive()
        for start in stride(from: 0, to: archive.count, by: 700) {
            try await sink.write(Array(archive[start..<min(start + 700, archive.count)]))
        }
        #expect(try await sink.finish() == TreeResult(files: 5, sizeBytes: 18))
        try Self.expectNew(workspace, below: isRoot ? "" : below)
        if !isRoot { #expect(try workspace.text("beside") == "beside") }
        if below == "l/" { #expect(try workspace.status("l").kind == .symlink) }
        #expect(!(try workspace.names()).contains { $0.hasPrefix(".fastable") })
    }

    /// `If-None-Match: *`: all of it appears where nothing was, or nothing does.
    @Test func aNewTreeReplacesNothing() async throws {
        let workspace = try Workspace()
        let request = TreePush(path: "made/app", ifMatch: "")
        let sink = try await workspace.service.pushTree(request)
        let late = try await workspace.service.pushTree(request)
        for other in [sink, late] { try await other.write(Self.archive()) }
        #expect(!workspace.exists("made"))
        #expect(try await sink.finish() == TreeResult(files: 5, sizeBytes: 18))
        try Self.expectNew(workspace, below: "made/app/")
        try workspace.put("mine", "made/app/mine")
        // Two began when nothing was there.
        #expect(try await expectError { try await late.finish() }.code == .stale)
        #expect(try workspace.text("made/app/mine") == "mine")
        #expect(!(try workspace.names()).contains { $0.hasPrefix(".fastable") })

        try workspace.put("file", "file")
        try workspace.link("nowhere", "link")
        for taken in ["made/app", "file", "link", ".", "made"] {
            let error = try await expectError {
                try await workspace.service.pushTree(TreePush(path: taken, ifMatch: ""))
            }
            #expect(error.code == .stale, "\(taken)")
            let both = try await expectError {
                try await workspace.service.pushTree(TreePush(path: taken, replace: true, ifMatch: ""))
            }
            #expect(both.code == .unprocessable && both.details["field"] == "replace")
        }
        let named = try await expectError {
            try await workspace.service.pushTree(
                TreePush(path: "x", ifMatch: String(repeating: "a", count: 64)))
        }
        #expect(named.code == .unprocessable && named.details["field"] == "ifMatch")
    }

    @Test func aDirectoryThatIsReplacedKeepsItsOwnerAndMode() async throws {
        let workspace = try Workspace()
        try workspace.put("x", "app/x")
        chmod(workspace.path + "/app", 0o750)
        let user = Workspace.isRoot ? workspace.uidBase + 1000 : workspace.uidBase
        if Workspace.isRoot { chown(workspace.path + "/app", user, user) }
        let sink = try await workspace.service.pushTree(TreePush(path: "app", replace: true))
        try await sink.write(Self.archive())
        _ = try await sink.finish()
        #expect(try workspace.status("app").mode == 0o750)
        #expect(try workspace.status("app").user == user)
    }

    @Test(arguments: ["", "app/"]) func aStreamThatBreaksLeavesTheOldTree(_ below: String) async throws {
        let archive = Self.archive()
        for count in [0, 1, 512, 1536, archive.count / 2, archive.count - 1100] {
            let workspace = try Workspace()
            try Self.makeOld(workspace, below: below)
            let request = TreePush(path: below.isEmpty ? nil : below, replace: true)
            let sink = try await workspace.service.pushTree(request)
            try await sink.write(Array(archive.prefix(count)))
            try Self.expectUnseen(workspace)
            #expect(try await Self.listed(workspace).contains { $0.contains("push") } == false)
            await sink.cancel()
            try Self.expectOld(workspace, below: below)
            #expect(try await expectError { try await sink.finish() }.code == .cancelled)
            try Self.expectOld(workspace, below: below)

            // An end that comes too early is no end.
            let again = try await workspace.service.pushTree(request)
            try await again.write(Array(archive.prefix(count)))
            if count % 512 != 0 || count == 0 {
                #expect(try await expectError { try await again.finish() }.code == .invalid, "\(count)")
                try Self.expectOld(workspace, below: below)
            } else {
                await again.cancel()
            }
            try Self.expectUnseen(workspace, after: true)
        }
    }

    /// In the workspace's directory the staged tree stands under its own name, or not at all.
    private static func expectUnseen(_ workspace: Workspace, after: Bool = false) throws {
        let staged = try workspace.names().filter { $0.hasPrefix(".fastable-push-") }
        #expect(staged.count == (after ? 0 : 1))
        guard let name = staged.first else { return }
        #expect(try workspace.status(name).mode == 0o700)
        #expect(try workspace.status(name).user == geteuid())
    }

    /// All names that operations show.
    private static func listed(_ workspace: Workspace) async throws -> [String] {
        let service = workspace.service
        var names = try await service.list(FileList(depth: 64, includeHidden: true)).entries.map(\.name)
        names += try await service.glob(FileGlob(pattern: "**", includeIgnored: true)).paths
        names += try await service.grep(FileGrep(pattern: ".", includeIgnored: true)).matches.map(\.path)
        names += try #require(try await service.read(FileRead(path: ".")).entries).map(\.name)
        let stream = try await service.pullTree(TreePull())
        while let bytes = try await stream.next() { names.append(String(decoding: bytes, as: UTF8.self)) }
        return names
    }

    @Test func anEntryThatIsRefusedLeavesTheOldTree() async throws {
        let workspace = try Workspace()
        try Self.makeOld(workspace)
        let sink = try await workspace.service.pushTree(TreePush(replace: true))
        try await sink.write(Archive.file("both", "new"))
        _ = try await expectError { try await sink.write(Archive.file("../outside/evil", "x")) }
        try Self.expectOld(workspace)
        await sink.cancel()
        try Self.expectOld(workspace)
    }

    @Test func aFileInTheWayIsToldAtOnce() async throws {
        let workspace = try Workspace()
        try workspace.put("x", "file")
        let error = try await expectError {
            try await workspace.service.pushTree(TreePush(path: "file", replace: true))
        }
        #expect(error.code == .unprocessable)
        #expect(try workspace.names() == ["file"])
    }

    /// Readers see the old file or the new one, and never none.
    @Test func noFileIsEverMissing() async throws {
        let workspace = try Workspace(inMemory: true)
        try workspace.put("0", "file")
        try workspace.put("0", "app/file")
        let service = workspace.service
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                while !Task.isCancelled {
                    for path in ["file", "app/file"] {
                        let text = try await service.read(FileRead(path: path)).text
                        #expect(!text.isEmpty)
                    }
                }
            }
            for round in 1...60 {
                for path in [nil, "app"] as [String?] {
                    let sink = try await service.pushTree(TreePush(path: path, replace: true))
                    let text = "\(round)"
                    try await sink.write(
                        Archive.file("file", text) + (path == nil ? Archive.file("app/file", text) : []) + Archive.end)
                    _ = try await sink.finish()
                }
            }
            group.cancelAll()
        }
        #expect(try workspace.text("app/file") == "60")
    }
}

/// What the end of the daemon leaves, and what its next start makes of it.
@Suite struct AbandonedTreeTests {
    private static let name = ".fastable-push-00112233445566ff"

    /// A staged tree with an exchange that was noted.
    private func stage(_ workspace: Workspace) throws -> (swap: TreeSwap, tree: String) {
        let directory = workspace.path + "/" + Self.name
        try Errno.check { mkdir(directory, 0o700) }
        try Errno.check { mkdir(directory + "/tree", 0o755) }
        for name in ["a", "b", "c"] { try workspace.put("new", "\(Self.name)/tree/\(name)") }
        for name in ["b", "c", "d", "e"] { try workspace.put("old", name) }
        let swap = try TreeSwap(
            from: FileDescriptor(opening: directory + "/tree", O_RDONLY),
            into: FileDescriptor(opening: workspace.path, O_RDONLY))
        try swap.note(in: FileDescriptor(opening: directory, O_RDONLY))
        return (swap, directory + "/tree")
    }

    private func steps(_ workspace: Workspace, _ tree: String) -> [() throws -> Void] {
        func exchange(_ name: String) throws {
            try FileDescriptor(opening: tree, O_RDONLY).exchangeEntry(
                name, with: FileDescriptor(opening: workspace.path, O_RDONLY), name)
        }
        return [
            { try Errno.check { rename(tree + "/a", workspace.path + "/a") } }, { try exchange("b") },
            { try exchange("c") }, { try Errno.check { rename(workspace.path + "/d", tree + "/d") } },
            { try Errno.check { rename(workspace.path + "/e", tree + "/e") } },
        ]
    }

    @Test(arguments: 0...5) func aSwapThatWasCutShortIsUndone(_ done: Int) throws {
        let workspace = try Workspace()
        let (_, tree) = try stage(workspace)
        for step in steps(workspace, tree).prefix(done) { try step() }
        // The second look comes when the first one's removal was cut short.
        for _ in 0..<2 {
            #expect(try AbandonedTrees(workspace: workspace.path, checkpoints: workspace.checkpoints) != nil)
            #expect(try workspace.names().filter { $0 != Self.name } == ["b", "c", "d", "e"])
            for name in ["b", "c", "d", "e"] { #expect(try workspace.text(name) == "old") }
        }
        try AbandonedTrees(workspace: workspace.path, checkpoints: workspace.checkpoints)?.remove()
        #expect(try workspace.names() == ["b", "c", "d", "e"])
        #expect(try AbandonedTrees(workspace: workspace.path, checkpoints: workspace.checkpoints) == nil)
    }

    @Test func whatAProcessChangedMeanwhileDoesNotKeepTheOldFilesAway() throws {
        let workspace = try Workspace()
        let (_, tree) = try stage(workspace)
        for step in steps(workspace, tree) { try step() }
        try Errno.check { unlink(workspace.path + "/a") }
        try Errno.check { unlink(workspace.path + "/b") }
        try workspace.put("process", "b")
        try Errno.check { unlink(workspace.path + "/c") }
        try workspace.put("process", "d")
        try workspace.put("process", "other")
        try AbandonedTrees(workspace: workspace.path, checkpoints: workspace.checkpoints)?.remove()
        #expect(try workspace.names() == ["b", "c", "d", "e", "other"])
        for name in ["b", "c", "d", "e"] { #expect(try workspace.text(name) == "old") }
    }

    @Test func aNoteThatIsNotWholeWasNotFollowed() throws {
        let workspace = try Workspace()
        _ = try stage(workspace)
        let note = workspace.path + "/\(Self.name)/swap"
        try Errno.check { truncate(note, 5) }
        try AbandonedTrees(workspace: workspace.path, checkpoints: workspace.checkpoints)?.remove()
        #expect(try workspace.names() == ["b", "c", "d", "e"])
    }

    @Test func theNotesFormHolds() throws {
        let workspace = try Workspace()
        let (swap, _) = try stage(workspace)
        #expect(TreeSwap(swap.bytes) == swap)
        for count in 0..<swap.bytes.count { #expect(TreeSwap(Array(swap.bytes.prefix(count))) == nil) }
        for name in ["", ".", "..", "a/b"] { #expect(TreeSwap(Array("12/\(name)\0\0".utf8)) == nil) }
        for text in ["x/a\0\0", "a\0\0", "-1/a\0\0"] { #expect(TreeSwap(Array(text.utf8)) == nil) }
    }

    /// A directory of that name which the container made is its own.
    @Test(.enabled(if: getuid() == 0, "needs root")) func aForgedOneIsLeftAlone() throws {
        let workspace = try Workspace()
        _ = try stage(workspace)
        chown(workspace.path + "/" + Self.name, workspace.uidBase, workspace.uidBase)
        #expect(try AbandonedTrees(workspace: workspace.path, checkpoints: workspace.checkpoints) == nil)
        #expect(workspace.exists(Self.name))
    }
}
