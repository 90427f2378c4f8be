import FastableCore
import FoundationEssentials
import Glibc
import NodeFiles
import NodeLinux
import TestSupport
import Testing

/// What a batch joins.
@Suite struct WatchBatchTests {
    private func told(_ body: (inout WatchBatch) -> Void) -> [String] {
        var batch = WatchBatch { String(decoding: $0, as: UTF8.self) }
        body(&batch)
        return batch.take().map { event in
            [event.kind.rawValue, event.from, event.path].compactMap { $0 }.joined(separator: " ")
        }
    }

    private func path(_ text: String) -> [UInt8] { Array(text.utf8) }

    @Test func changesOfOneFileAreOne() {
        let (a, b, c) = (path("a"), path("b"), path("c"))
        #expect(
            told {
                $0.created(a, isDirectory: false)
                $0.modified(a, isDirectory: false)
                $0.modified(a, isDirectory: false)
            } == ["created a"])
        #expect(
            told {
                $0.created(a, isDirectory: false)
                $0.deleted(a, isDirectory: false)
            } == [])
        #expect(
            told {
                $0.modified(b, isDirectory: false)
                $0.deleted(b, isDirectory: false)
                $0.created(b, isDirectory: false)
            } == ["modified b"])
        #expect(
            told {
                $0.moved(a, to: b, isDirectory: false)
                $0.modified(b, isDirectory: false)
                $0.moved(b, to: c, isDirectory: false)
            } == ["moved a c", "modified c"])
        #expect(
            told {
                $0.moved(a, to: b, isDirectory: false)
                $0.deleted(b, isDirectory: false)
            } == ["deleted b", "deleted a"])
    }

    /// As editors save: a new file takes the place of the old one.
    @Test func aReplacedFileIsModified() {
        #expect(
            told {
                $0.created(path("new"), isDirectory: false)
                $0.moved(path("new"), to: path("file"), isDirectory: false)
            } == ["modified file"])
    }

    /// Of a directory the old content is known to be gone; a file has another content.
    @Test func whatIsReplacedIsTold() {
        let (a, b) = (path("a"), path("b"))
        #expect(
            told {
                $0.created(b, isDirectory: false)
                $0.replaced(b, isDirectory: false)
                $0.replaced(a, isDirectory: true)
                $0.created(path("a/x"), isDirectory: false)
                $0.modified(a, isDirectory: true)
            } == ["modified b", "deleted a", "created a", "created a/x"])
        #expect(told { $0.replaced(b, isDirectory: false) } == ["modified b"])
        #expect(
            told {
                $0.created(a, isDirectory: true)
                $0.replaced(a, isDirectory: true)
            } == ["created a"])
        #expect(
            told {
                $0.moved(a, to: b, isDirectory: false)
                $0.replaced(b, isDirectory: false)
            } == ["moved a b", "modified b"])
    }

    @Test func whatHappenedBelowADirectoryStaysBeforeItsMove() {
        #expect(
            told {
                $0.created(path("d/x"), isDirectory: false)
                $0.moved(path("d"), to: path("e"), isDirectory: true)
                $0.modified(path("e/x"), isDirectory: false)
            } == ["created d/x", "moved d e", "modified e/x"])
    }
}

@Suite(.endsInTime) struct WatchTests {
    /// Collects until `enough`; a watch that says nothing fails by the time limit of the suite.
    private func collect(
        _ stream: FileWatchStream, until enough: ([FileWatchEvent]) -> Bool
    ) async throws -> [FileWatchEvent] {
        var all: [FileWatchEvent] = []
        while !enough(all), let events = try await stream.next() { all += events }
        return all
    }

    private func until(_ kind: FileWatchEvent.Kind, _ path: String) -> ([FileWatchEvent]) -> Bool {
        { events in events.contains { $0.kind == kind && $0.path == path } }
    }

    /// The next changes, up to the wanted one. A file is written in several steps, so the one that was written before may be told as
    /// modified once more.
    private func changes(
        _ stream: FileWatchStream, _ kind: FileWatchEvent.Kind, _ path: String, before: String? = nil
    ) async throws -> [FileWatchEvent] {
        try await collect(stream, until: until(kind, path)).filter { $0.kind != .modified || $0.path != before }
    }

    @Test func tellsWhatChanges() async throws {
        let workspace = try Workspace()
        for name in ["old", "dir/file", "dir/sub/deep"] { try workspace.put("x", name) }
        let stream = try await workspace.service.watch(FileWatch())
        try workspace.put("new", "fresh")
        #expect(try await changes(stream, .created, "fresh") == [.init(kind: .created, path: "fresh")])
        try workspace.put("longer", "dir/sub/deep")
        #expect(
            try await changes(stream, .modified, "dir/sub/deep", before: "fresh")
                == [.init(kind: .modified, path: "dir/sub/deep")])
        rename(workspace.path + "/old", workspace.path + "/dir/moved")
        #expect(
            try await changes(stream, .moved, "dir/moved", before: "dir/sub/deep")
                == [.init(kind: .moved, path: "dir/moved", from: "old")])
        unlink(workspace.path + "/dir/moved")
        #expect(try await changes(stream, .deleted, "dir/moved") == [.init(kind: .deleted, path: "dir/moved")])
        _ = try await workspace.service.write(FileWrite(path: "dir/file", content: "saved"))
        let saved = try await collect(stream) { $0.contains { $0.path == "dir/file" } }
        // On a busy machine a long time may pass between the two steps in which a new file takes the place of an old one.
        let isInSteps =
            saved.first?.kind == .created && saved.last?.kind == .moved
            && saved.dropFirst().dropLast().allSatisfy { $0.kind == .modified }
        #expect(saved == [.init(kind: .modified, path: "dir/file")] || isInSteps, "\(saved)")
        chmod(workspace.path + "/fresh", 0o700)
        #expect(
            try await changes(stream, .modified, "fresh", before: "dir/file") == [.init(kind: .modified, path: "fresh")]
        )
    }

    @Test func followsDirectoriesWhereverTheyGo() async throws {
        let workspace = try Workspace()
        try workspace.put("x", "a/sub/file")
        let stream = try await workspace.service.watch(FileWatch())
        rename(workspace.path + "/a", workspace.path + "/b")
        #expect(
            try await changes(stream, .moved, "b")
                == [.init(kind: .moved, path: "b", from: "a", isDirectory: true)])
        try workspace.put("y", "b/sub/file")
        #expect(try await changes(stream, .modified, "b/sub/file").count == 1)
        // What leaves is not followed; what comes in is.
        try Errno.check { rename(workspace.path + "/b", workspace.base + "/elsewhere") }
        #expect(
            try await changes(stream, .deleted, "b", before: "b/sub/file")
                == [.init(kind: .deleted, path: "b", isDirectory: true)])
        close(creat(workspace.base + "/elsewhere/sub/unseen", 0o644))
        try Errno.check { rename(workspace.base + "/elsewhere", workspace.path + "/c") }
        let back = try await changes(stream, .created, "c/sub/unseen")
        #expect(Set(back.map(\.path)) == ["c", "c/sub", "c/sub/file", "c/sub/unseen"])
        try workspace.put("z", "c/sub/file")
        #expect(try await changes(stream, .modified, "c/sub/file").count == 1)
    }

    /// Directories appear faster than watches are set: nothing in them may be missed.
    @Test func newTreesAreSeenWhole() async throws {
        let workspace = try Workspace(inMemory: true)
        let stream = try await workspace.service.watch(FileWatch())
        var expected: Set<String> = []
        for index in 0..<300 {
            let name = "t\(index % 7)/u\(index % 11)/v\(index)/file"
            try workspace.put("x", name)
            var parts = name.split(separator: "/")
            while !parts.isEmpty {
                expected.insert(parts.joined(separator: "/"))
                parts.removeLast()
            }
        }
        let events = try await collect(stream) { expected.isSubset(of: $0.map(\.path)) }
        #expect(events.allSatisfy { $0.kind == .created || $0.kind == .modified })
    }

    @Test func aDirectoryOfItsOwnAndItsEnd() async throws {
        let workspace = try Workspace()
        try workspace.put("x", "dir/file")
        let stream = try await workspace.service.watch(FileWatch(path: "dir"))
        try workspace.put("x", "beside")
        try workspace.put("y", "dir/file")
        #expect(try await collect(stream, until: until(.modified, "dir/file")).map(\.path) == ["dir/file"])
        _ = try await workspace.service.delete(FileDelete(path: "dir", recursive: true))
        _ = try await collect(stream, until: until(.deleted, "dir/file"))
        let gone = try await expectError { while try await stream.next() != nil {} }
        #expect(gone.code == .gone)
        let error = try await expectError { try await workspace.service.watch(FileWatch(path: "beside")) }
        #expect(error.code == .unprocessable)
    }

    @Test func lostChangesGiveARescanMarker() async throws {
        let queued = try String(
            decoding: FileDescriptor(
                opening: "/proc/sys/fs/inotify/max_queued_events", O_RDONLY
            ).readAll(limit: 100), as: UTF8.self)
        let limit = try #require(Int(queued.split(separator: "\n").first ?? ""))
        let workspace = try Workspace(inMemory: true)
        let stream = try await workspace.service.watch(FileWatch())
        // Nobody reads meanwhile.
        for index in 0..<(limit / 2 + 100) {
            let path = workspace.path + "/f\(index % 2)"
            close(creat(path, 0o644))
            unlink(path)
        }
        try workspace.put("x", "made/while/lost")
        let events = try await collect(stream) { $0.contains { $0.kind == .rescan } }
        #expect(events.first { $0.kind == .rescan }?.path == ".")
        // Directories that came while events were lost are watched now.
        try workspace.put("y", "made/while/lost")
        let later = try await collect(stream, until: until(.modified, "made/while/lost"))
        #expect(!later.isEmpty)
    }

    /// A tree that comes as a whole has too many entries to tell each of them.
    @Test func moreThanCanBeToldIsOneRescanMarker() async throws {
        let workspace = try Workspace(inMemory: true)
        for index in 0..<(Limits.watchBatchEvents + 100) { try workspace.put("", "tree/d\(index % 10)/f\(index)") }
        try Errno.check { rename(workspace.path + "/tree", workspace.base + "/elsewhere") }
        let stream = try await workspace.service.watch(FileWatch())
        try Errno.check { rename(workspace.base + "/elsewhere", workspace.path + "/tree") }
        let events = try #require(try await stream.next())
        #expect(events.map(\.kind) == [.rescan] && events.first?.path == ".")
        // What came is watched all the same.
        try workspace.put("x", "tree/d3/late")
        #expect(try await changes(stream, .created, "tree/d3/late").allSatisfy { $0.path == "tree/d3/late" })
    }

    @Test func watchesAreLimitedAndEndAtOnce() async throws {
        let workspace = try Workspace()
        var streams: [FileWatchStream] = []
        for _ in 0..<Limits.watchesPerProject { streams.append(try await workspace.service.watch(FileWatch())) }
        let error = try await expectError { try await workspace.service.watch(FileWatch()) }
        #expect(error.code == .limit)
        let last = try #require(streams.last)
        let waiting = Task { try await last.next() }
        last.cancel()
        #expect(try await waiting.value == nil)
        #expect(try await last.next() == nil)
        streams = []
        try await eventually { (try? await workspace.service.watch(FileWatch())) != nil }
    }

    @Test func linksAreNotFollowed() async throws {
        let workspace = try Workspace()
        try workspace.link(workspace.outside, "out")
        let stream = try await workspace.service.watch(FileWatch())
        try workspace.link("../outside", "late")
        close(creat(workspace.outside + "/new", 0o644))
        try workspace.put("x", "end")
        let events = try await collect(stream, until: until(.created, "end"))
        #expect(Set(events.map(\.path)) == ["late", "end"])
    }
}
