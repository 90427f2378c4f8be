import FastableArchive
import FastableCompression
import FastableCore
import Glibc
import NodeFiles
import NodeLinux
import TestSupport
import Testing

@Suite(.needsRoot) struct SnapshotTests {
    struct Taken {
        var bytes: [UInt8]
        var facts: SnapshotFacts

        func request(keepAs: CheckpointID? = nil) -> SnapshotRestore {
            SnapshotRestore(
                entries: facts.entries, contentBytes: facts.contentBytes, archiveBytes: facts.archiveBytes,
                sha256: facts.sha256, keepAs: keepAs)
        }
    }

    /// - Parameter meanwhile: called once, when the first bytes have come.
    static func take(_ workspace: Workspace, meanwhile: () throws -> Void = {}) async throws -> Taken {
        let stream = try workspace.service.readSnapshot()
        var bytes: [UInt8] = []
        var isFirst = true
        while let next = try await stream.next() {
            bytes += next
            if isFirst { try meanwhile() }
            isFirst = false
        }
        return Taken(bytes: bytes, facts: stream.facts)
    }

    @discardableResult
    static func restore(
        _ bytes: [UInt8], _ request: SnapshotRestore, to workspace: Workspace, pieces: Int = 70_000
    ) async throws -> CheckpointID? {
        let sink = try await workspace.service.restoreSnapshot(request, checkpoints: workspace.checkpoints)
        do {
            for start in stride(from: 0, to: bytes.count, by: pieces) {
                try await sink.write(Array(bytes[start..<min(start + pieces, bytes.count)]))
            }
            return try await sink.finish()
        } catch {
            await sink.cancel()
            throw error
        }
    }

    static func listing(_ workspace: Workspace) throws -> [String] {
        try TreeListing.of(workspace.path, uidBase: workspace.uidBase)
    }

    /// Nothing is left of what was begun.
    static func expectClean(_ workspace: Workspace, checkpoints: Int = 0) throws {
        let names = try TreeListing.of(workspace.path, uidBase: 0)
        #expect(!names.contains { $0.contains(".fastable-") })
        #expect(try workspace.checkpoints.list().count == checkpoints)
    }

    // MARK: completeness

    @Test(arguments: [977, 10_000_000]) func everythingComesBack(pieces: Int) async throws {
        let source = try Workspace()
        try await SampleTree.make(in: source)
        let taken = try await Self.take(source)
        #expect(taken.facts.isConsistent && taken.facts.changedFiles == 0 && taken.facts.skipped == 0)
        #expect(taken.facts.archiveBytes == Int64(taken.bytes.count))
        // Another container has other ids on the host.
        let target = try Workspace(uidBase: 1_600_000_000)
        try target.put("old", "bin/tool")
        #expect(try await Self.restore(taken.bytes, taken.request(), to: target, pieces: pieces) == nil)
        #expect(try Self.listing(target) == Self.listing(source))
        #expect(try target.status("z-third").links == 3)
        try Self.expectClean(target)
        // Twice is once.
        let again = try await Self.take(target)
        #expect(again.facts.entries == taken.facts.entries && again.facts.contentBytes == taken.facts.contentBytes)
    }

    @Test func theSystemsTarReadsIt() async throws {
        let source = try Workspace()
        try await SampleTree.make(in: source)
        let file = source.base + "/archive"
        try FileDescriptor(opening: file, O_WRONLY | O_CREAT, mode: 0o600).writeAll(try await Self.take(source).bytes)
        let target = try Workspace()
        try await HostCommand(
            "tar", ["--zstd", "-xpf", file, "-C", target.path, "--numeric-owner", "--same-owner", "--xattrs"]
        )
        .runChecked("unpack")
        let owned = try TreeListing.of(target.path, uidBase: Workspace.isRoot ? 0 : target.uidBase)
        // GNU tar does not set the time of the directory that it unpacks into, and counts owners as the archive does.
        #expect(owned.dropFirst() == (try Self.listing(source)).dropFirst())
    }

    @Test func specialFilesAreLeftOutAndCounted() async throws {
        let source = try Workspace()
        try source.put("x", "file")
        try Errno.check { mkfifo(source.path + "/fifo", 0o644) }
        let taken = try await Self.take(source)
        #expect(taken.facts.skipped == 1 && taken.facts.entries == 2 && taken.facts.isConsistent)
    }

    @Test func anEmptyWorkspaceIsKnownAndStillAnArchive() async throws {
        let source = try Workspace()
        #expect(try await source.service.isEmpty())
        let taken = try await Self.take(source)
        #expect(taken.facts.entries == 1 && taken.facts.contentBytes == 0)
        let target = try Workspace()
        try target.put("x", "old")
        #expect(try await !target.service.isEmpty())
        try await Self.restore(taken.bytes, taken.request(), to: target)
        #expect(try target.names() == [])
    }

    // MARK: change meanwhile

    /// Large and not to be compressed, so that the reader stays in it for a while.
    private static func noise(_ count: Int) -> [UInt8] {
        var generator = SeededGenerator(seed: 1)
        return (0..<count / 8).flatMap { _ in withUnsafeBytes(of: generator.next()) { Array($0) } }
    }

    @Test func whatChangesMeanwhileIsToldAndTheArchiveStaysWhole() async throws {
        let source = try Workspace()
        try source.put(Self.noise(8_000_000), "a")
        for name in ["b", "c", "d/e"] { try source.put("content of \(name)\n", name) }
        let taken = try await Self.take(source) {
            try Errno.check { truncate(source.path + "/a", 4_000_000) }
            try Errno.check { unlink(source.path + "/c") }
            try source.put("more and longer content\n", "b")
        }
        #expect(taken.facts.changedFiles == 2)
        #expect(!taken.facts.isConsistent)
        let target = try Workspace()
        try await Self.restore(taken.bytes, taken.request(), to: target)
        #expect(try target.names() == ["a", "b", "d"])
        #expect(try target.status("a").size == 8_000_000)
        #expect(try Array(target.bytes("a").suffix(4_000_000)) == [UInt8](repeating: 0, count: 4_000_000))
        #expect(try target.text("b") == "more and longer content\n")
    }

    @Test func growingFilesAreCutWhereTheyWere() async throws {
        let source = try Workspace()
        try source.put(Self.noise(4_000_000), "a")
        let taken = try await Self.take(source) {
            let file = try FileDescriptor(opening: source.path + "/a", O_WRONLY | O_APPEND)
            try file.writeAll(Self.noise(1_000_000))
        }
        #expect(taken.facts.changedFiles == 1 && !taken.facts.isConsistent)
        #expect(taken.facts.contentBytes == 4_000_000)
        let target = try Workspace()
        try await Self.restore(taken.bytes, taken.request(), to: target)
        #expect(try target.bytes("a") == Self.noise(4_000_000))
    }

    @Test(arguments: ["made", "removed behind", "touched behind"])
    func changesThatNoReaderSawAreNoticedToo(_ change: String) async throws {
        let source = try Workspace()
        try source.put("x", "0/file")
        try source.put(Self.noise(4_000_000), "a")
        let taken = try await Self.take(source) {
            switch change {
            case "made": try source.put("new", "0/new")
            case "removed behind": try Errno.check { unlink(source.path + "/0/file") }
            default: try Errno.check { chmod(source.path + "/0/file", 0o600) }
            }
        }
        #expect(taken.facts.changedFiles == 0 && !taken.facts.isConsistent)
    }

    // MARK: what is not restored

    @Test func damagedArchivesChangeNothing() async throws {
        let source = try Workspace()
        try await SampleTree.make(in: source)
        let taken = try await Self.take(source)
        let target = try Workspace()
        try target.put("precious", "old/file")
        let before = try Self.listing(target)
        var flipped = taken.bytes
        flipped[flipped.count / 2] ^= 1
        var other = taken.request()
        other.sha256 = String(repeating: "0", count: 64)
        var more = taken.request()
        more.entries += 1
        var fewer = taken.request()
        fewer.contentBytes -= 1
        let attempts: [([UInt8], SnapshotRestore)] = [
            (flipped, taken.request()), (Array(taken.bytes.dropLast()), taken.request()),
            (Array(taken.bytes.prefix(1000)), taken.request()), ([], taken.request()),
            (taken.bytes + [0], taken.request()), (taken.bytes, other), (taken.bytes, more), (taken.bytes, fewer),
        ]
        for (index, (bytes, request)) in attempts.enumerated() {
            var request = request
            request.keepAs = CheckpointID()
            let error = try await expectError { try await Self.restore(bytes, request, to: target) }
            #expect(error.code == .invalid, "\(index): \(error)")
            #expect(try Self.listing(target) == before, "\(index)")
            try Self.expectClean(target)
        }
    }

    /// Archives with right sums that hold what no packer of ours makes.
    @Test func hostileArchivesStayInside() async throws {
        func entry(_ path: String, _ kind: TarEntry.Kind, _ content: String = "", link: String = "") -> [UInt8] {
            let bytes = Array(content.utf8)
            return TarWriter.header(
                of: TarEntry(
                    path: Array(path.utf8), kind: kind, size: Int64(bytes.count), mode: 0o7777, user: 70_000,
                    group: TarEntry.ownerAtMost, linkTarget: Array(link.utf8)))
                + bytes + TarWriter.padding(after: Int64(bytes.count))
        }
        let top = entry(".", .directory)
        let hostile: [[UInt8]] = [
            top + entry("../outside/new", .file, "x"), top + entry("/tmp/fastable-hostile", .file, "x"),
            top + entry("a", .directory) + entry("a/../../outside/secret", .file, "x"),
            top + entry("out", .symlink, link: "../outside") + entry("out/secret", .file, "x"),
            top + entry("out", .symlink, link: "../outside") + entry("h", .hardLink, link: "out/secret"),
            top + entry("h", .hardLink, link: "../outside/secret"), top + entry("a//b", .file, "x"),
            top + entry("f", .file, "1") + entry("f", .file, "2"), top + entry("f", .file, "1") + entry("f/x", .file),
            top + entry("", .file, "x"), top + entry(".", .file, "x"), entry("f", .file, "x"),
            top + entry(String(repeating: "n", count: 256), .file, "x"), top + entry("d", .symlink),
        ]
        for (index, archive) in hostile.enumerated() {
            let target = try Workspace()
            try target.put("precious", "old")
            let before = try target.outsideState()
            let (bytes, request) = try Self.honestSums(of: archive + TarWriter.end)
            await #expect(throws: FastableError.self, "\(index)") {
                try await Self.restore(bytes, request, to: target)
            }
            #expect(try target.outsideState() == before, "\(index)")
            #expect(try target.names() == ["old"], "\(index)")
        }
        // Owners beyond the container's are nobody, and never anybody of the host.
        guard Workspace.isRoot else { return }
        let target = try Workspace()
        let (bytes, request) = try Self.honestSums(of: top + entry("f", .file, "x") + TarWriter.end)
        try await Self.restore(bytes, request, to: target)
        #expect(try target.status("f").user == target.uidBase + 65_534)
        #expect(try target.status("f").group == target.uidBase + 65_534)
    }

    private static func honestSums(of archive: [UInt8]) throws -> ([UInt8], SnapshotRestore) {
        var encoder = try ZstdEncoder()
        var bytes: [UInt8] = []
        try archive.withUnsafeBytes { try encoder.compress($0, into: &bytes) }
        try encoder.finish(into: &bytes)
        var reader = TarReader()
        var entries = 0
        var content: Int64 = 0
        try reader.feed(archive[...]) { event in
            guard case .entry(let entry) = event else { return }
            entries += 1
            content += entry.size
        }
        return (
            bytes,
            SnapshotRestore(
                entries: entries, contentBytes: content, archiveBytes: Int64(bytes.count), sha256: sha256(bytes),
                keepAs: nil)
        )
    }
}
