import FastableCore
import Glibc
import NodeFiles
import NodeLinux
import TestSupport
import Testing

/// Where the watches are, without a kernel.
@Suite struct WatchedDirectoriesTests {
    private func path(_ text: String) -> [UInt8] { Array(text.utf8) }

    private func put(_ watch: CInt, _ place: String, in directories: inout WatchedDirectories) -> Bool {
        directories.put(watch, at: path(place))
    }

    /// `a`, `a/b`, `a/b/c` and `d`, by the watches 2 to 5.
    private func sample() -> WatchedDirectories {
        var directories = WatchedDirectories(top: 1)
        for (index, place) in ["a", "a/b", "a/b/c", "d"].enumerated() {
            let isPut = put(CInt(index) + 2, place, in: &directories)
            #expect(isPut)
        }
        return directories
    }

    private func check(_ directories: WatchedDirectories, _ places: [CInt: String]) {
        #expect(directories.count == places.count)
        for (watch, place) in places {
            #expect(directories.path(of: watch) == path(place))
            #expect(directories.watch(at: path(place)) == watch)
        }
    }

    @Test func aMoveTakesAlongWhatIsBelow() {
        var directories = sample()
        let isMoved = put(2, "d/e", in: &directories)
        #expect(isMoved && !directories.hasDisplaced)
        check(directories, [1: "", 2: "d/e", 3: "d/e/b", 4: "d/e/b/c", 5: "d"])
        #expect(directories.watch(at: path("a")) == nil)
        let isMovedOut = put(4, "c", in: &directories)
        #expect(isMovedOut)
        check(directories, [1: "", 2: "d/e", 3: "d/e/b", 4: "c", 5: "d"])
    }

    @Test func aPlaceThatCannotBeIsRefused() {
        var directories = sample()
        for (watch, place) in [(6, "none/x"), (2, "a/b/c/a"), (2, "a/x"), (2, ""), (1, "x")] as [(CInt, String)] {
            let isPut = put(watch, place, in: &directories)
            #expect(!isPut, "\(watch) at \(place)")
        }
        let isTop = put(1, "", in: &directories)
        #expect(isTop && !directories.contains(6))
        check(directories, [1: "", 2: "a", 3: "a/b", 4: "a/b/c", 5: "d"])
    }

    @Test func whatLosesItsPlaceMayTurnUp() {
        var directories = sample()
        let isMoved = put(5, "a", in: &directories)
        #expect(isMoved && directories.hasDisplaced && directories.count == 5)
        for lost in [2, 3, 4] as [CInt] { #expect(directories.path(of: lost) == nil) }
        #expect(directories.path(of: 5) == path("a"))
        let isFound = put(2, "a/z", in: &directories)
        #expect(isFound && !directories.hasDisplaced)
        check(directories, [1: "", 2: "a/z", 3: "a/z/b", 4: "a/z/b/c", 5: "a"])
        let removed = directories.remove(2)
        #expect(Set(removed) == [2, 3, 4])
        check(directories, [1: "", 5: "a"])
    }

    @Test func whatLosesItsPlaceMayEnd() {
        var directories = sample()
        let isMoved = put(5, "a", in: &directories)
        let removed = directories.remove(2)
        #expect(isMoved && Set(removed) == [2, 3, 4] && !directories.hasDisplaced)
        let again = directories.remove(2)
        #expect(again.isEmpty)
        check(directories, [1: "", 5: "a"])
    }
}

/// What is staged is nobody's business before it has its place; what gets another place is followed there.
@Suite(.endsInTime) struct WatchedTreeTests {
    private static let staged = ".fastable-push-0123456789abcdef"

    /// What is told until now, each change once, without the marks that tell when that is.
    private func told(_ stream: FileWatchStream, _ workspace: Workspace) async throws -> [String] {
        let mark = "mark-\(UInt64.random(in: 0 ... .max))"
        try workspace.put("", mark)
        var events: [FileWatchEvent] = []
        while !events.contains(where: { $0.path == mark || $0.kind == .rescan }), let more = try await stream.next() {
            events += more
        }
        var told: [String] = []
        for event in events where !event.path.hasPrefix("mark-") {
            let text = [event.kind.rawValue, event.from, event.path].compactMap { $0 }.joined(separator: " ")
            if !told.contains(text) { told.append(text) }
        }
        return told
    }

    private func push(_ workspace: Workspace, _ request: TreePush, ends: Bool = true) async throws {
        let sink = try await workspace.service.pushTree(request)
        try await sink.write(
            Archive.directory("dir/") + Archive.file("dir/new", "new") + Archive.file("both", "new")
                + Archive.symlink("link", "both") + Archive.end)
        if ends { _ = try await sink.finish() } else { await sink.cancel() }
    }

    private func move(_ workspace: Workspace, _ from: String, _ to: String) throws {
        try Errno.check { rename(workspace.path + "/" + from, workspace.path + "/" + to) }
    }

    // MARK: staged trees

    @Test func aCopyAppearsAsAWhole() async throws {
        let workspace = try Workspace(inMemory: true)
        for name in ["src/a", "src/sub/deep/b"] { try workspace.put("x", name) }
        let stream = try await workspace.service.watch(FileWatch())
        _ = try await workspace.service.copy(FileCopy(from: "src", to: "copy", recursive: true))
        let events = try await told(stream, workspace)
        #expect(
            events == [
                "created copy", "created copy/a", "created copy/sub", "created copy/sub/deep",
                "created copy/sub/deep/b",
            ])
        try workspace.put("y", "copy/sub/deep/b")
        #expect(try await told(stream, workspace) == ["modified copy/sub/deep/b"])
    }

    @Test func aNewTreeAppearsAsAWhole() async throws {
        let workspace = try Workspace(inMemory: true)
        let stream = try await workspace.service.watch(FileWatch())
        try await push(workspace, TreePush(path: "app", ifMatch: ""), ends: false)
        #expect(try await told(stream, workspace) == [])
        try await push(workspace, TreePush(path: "app", ifMatch: ""))
        let events = try await told(stream, workspace)
        #expect(
            events == [
                "created app", "created app/both", "created app/dir", "created app/dir/new", "created app/link",
            ])
    }

    @Test func aTreeThatReplacesAnotherIsTold() async throws {
        let workspace = try Workspace(inMemory: true)
        for name in ["app/both", "app/dir/old", "app/only/deep/old"] { try workspace.put("old", name) }
        let stream = try await workspace.service.watch(FileWatch())
        for _ in 0..<2 {
            try await push(workspace, TreePush(path: "app", replace: true))
            let events = try await told(stream, workspace)
            #expect(
                events == [
                    "deleted app", "created app", "created app/both", "created app/dir", "created app/dir/new",
                    "created app/link",
                ])
            try workspace.put("longer", "app/dir/new")
            #expect(try await told(stream, workspace) == ["modified app/dir/new"])
        }
    }

    @Test func aWorkspaceThatIsReplacedIsTold() async throws {
        let workspace = try Workspace(inMemory: true)
        for name in ["both", "dir/old", "gone"] { try workspace.put("old", name) }
        let stream = try await workspace.service.watch(FileWatch())
        try await push(workspace, TreePush(replace: true))
        // The order in which entries are exchanged is the disk's. That a file has come may be told before it is clear what it replaced.
        let events = try await told(stream, workspace).filter { $0 != "created both" }
        #expect(
            events.sorted() == [
                "created dir", "created dir/new", "created link", "deleted dir", "deleted gone", "modified both",
            ])
        try workspace.put("longer", "dir/new")
        #expect(try await told(stream, workspace) == ["modified dir/new"])
    }

    /// Whatever a process does with such a name.
    @Test func whatComesOutHasAppearedAndWhatGoesInIsGone() async throws {
        let workspace = try Workspace(inMemory: true)
        for name in ["\(Self.staged)/tree/file", "dir/file"] { try workspace.put("x", name) }
        let stream = try await workspace.service.watch(FileWatch())
        try workspace.put("y", "\(Self.staged)/tree/file")
        #expect(try await told(stream, workspace) == [])
        try move(workspace, "\(Self.staged)/tree", "out")
        #expect(try await told(stream, workspace) == ["created out", "created out/file"])
        try move(workspace, "dir", "\(Self.staged)/dir")
        #expect(try await told(stream, workspace) == ["deleted dir"])
        try move(workspace, Self.staged, "mine")
        let mine = try await told(stream, workspace)
        #expect(mine == ["created mine", "created mine/dir", "created mine/dir/file"])
        try move(workspace, "mine", Self.staged)
        #expect(try await told(stream, workspace) == ["deleted mine"])
        try workspace.put("z", "\(Self.staged)/dir/file")
        try workspace.put("z", "\(Self.staged)/dir/new/file")
        #expect(try await told(stream, workspace) == [])
    }

    // MARK: moves

    @Test func whatTakesThePlaceOfWhatLeftIsTold() async throws {
        let workspace = try Workspace(inMemory: true)
        for name in ["dir/old", "file"] { try workspace.put("old", name) }
        let stream = try await workspace.service.watch(FileWatch())
        for name in ["dir", "file"] {
            try Errno.check { rename(workspace.path + "/" + name, workspace.base + "/" + name) }
        }
        for name in ["dir/new", "file"] { try workspace.put("new", name) }
        let events = try await told(stream, workspace).filter { $0 != "created file" }
        #expect(events.sorted() == ["created dir", "created dir/new", "deleted dir", "modified file"])
        try workspace.put("longer", "dir/new")
        #expect(try await told(stream, workspace) == ["modified dir/new"])
    }

    @Test func movesOneAfterTheOtherAreFollowed() async throws {
        let workspace = try Workspace(inMemory: true)
        for name in ["a/one", "b/two"] { try workspace.put("x", name) }
        let stream = try await workspace.service.watch(FileWatch())
        for (from, to) in [("a", "t"), ("b", "a"), ("t", "b")] { try move(workspace, from, to) }
        #expect(try await told(stream, workspace) == ["moved a t", "moved b a", "moved t b"])
        for name in ["a/two", "b/one"] { try workspace.put("longer", name) }
        #expect(try await told(stream, workspace) == ["modified a/two", "modified b/one"])
        // A directory takes the place of an empty one.
        try workspace.makeDirectories("empty/x")
        #expect(try await told(stream, workspace).first == "created empty")
        try move(workspace, "b", "empty")
        #expect(try await told(stream, workspace) == ["moved b empty"])
        try workspace.put("longest", "empty/one")
        #expect(try await told(stream, workspace) == ["modified empty/one"])
    }

    /// Which of both is where now cannot be told from what the kernel says.
    @Test func exchangedDirectoriesAreLookedUp() async throws {
        let workspace = try Workspace(inMemory: true)
        for name in ["a/one", "b/two"] { try workspace.put("x", name) }
        let stream = try await workspace.service.watch(FileWatch())
        let root = try FileDescriptor(opening: workspace.path, O_RDONLY | O_DIRECTORY)
        try root.exchangeEntry("a", with: root, "b")
        #expect(try await told(stream, workspace) == ["rescan ."])
        for name in ["a/two", "b/one"] { try workspace.put("longer", name) }
        #expect(try await told(stream, workspace) == ["modified a/two", "modified b/one"])
    }

    @Test func aTreeOfManyDirectoriesIsFollowed() async throws {
        let workspace = try Workspace(inMemory: true)
        for index in 0..<500 { try workspace.put("x", "t0/u\(index % 10)/v\(index)/file") }
        let stream = try await workspace.service.watch(FileWatch())
        for round in 0..<300 { try move(workspace, "t\(round)", "t\(round + 1)") }
        let moves = try await told(stream, workspace)
        #expect(moves == (0..<300).map { "moved t\($0) t\($0 + 1)" })
        try workspace.put("longer", "t300/u7/v477/file")
        #expect(try await told(stream, workspace) == ["modified t300/u7/v477/file"])
    }
}
