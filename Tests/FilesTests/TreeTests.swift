import FastableCore
import FoundationEssentials
import Glibc
import NodeFiles
import NodeLinux
import TestSupport
import Testing

@Suite struct TreeTests {
    private func push(
        _ workspace: Workspace, _ archive: [UInt8], _ request: TreePush = TreePush(), pieces: Int = 100_000
    ) async throws -> TreeResult {
        let sink = try await workspace.service.pushTree(request)
        for start in stride(from: 0, to: archive.count, by: pieces) {
            try await sink.write(Array(archive[start..<min(start + pieces, archive.count)]))
        }
        return try await sink.finish()
    }

    private func pull(_ workspace: Workspace, _ path: String? = nil) async throws -> [UInt8] {
        let stream = try await workspace.service.pullTree(TreePull(path: path))
        var bytes: [UInt8] = []
        while let next = try await stream.next() { bytes += next }
        return bytes
    }

    /// A tree with everything that a project may hold.
    private func makeSample(_ workspace: Workspace) throws {
        try workspace.put("text\n", "plain.txt")
        try workspace.put("#!/bin/sh\n", "bin/run")
        chmod(workspace.path + "/bin/run", 0o755)
        try workspace.put("", "empty")
        try workspace.put((0..<300_000).map { UInt8(truncatingIfNeeded: $0) }, "data/big.bin")
        try workspace.put("ü", "unicode/ünïcödé 漢字.txt")
        try workspace.put("deep", String(repeating: "long-directory-name/", count: 12) + "file")
        try workspace.put("x", "d/" + String(repeating: "n", count: 200))
        try workspace.put("exactly", String(repeating: "e", count: 100))
        try workspace.link("plain.txt", "link")
        try workspace.link("/usr/bin/python3", "absolute-link")
        try workspace.link(String(repeating: "t/", count: 80) + "target", "long-link")
        try workspace.makeDirectories("empty-directory/x")
        utimes(
            workspace.path + "/plain.txt", [timeval(tv_sec: 1, tv_usec: 0), timeval(tv_sec: 1_234_567_890, tv_usec: 0)])
    }

    private func describe(_ path: String) throws -> [String] {
        try FileManager.default.subpathsOfDirectory(atPath: path).sorted().map { name in
            let full = path + "/" + name
            var status = stat()
            lstat(full, &status)
            let type = status.st_mode & S_IFMT
            let content =
                switch type {
                case S_IFLNK: try FileManager.default.destinationOfSymbolicLink(atPath: full)
                case S_IFREG:
                    sha256(try FileDescriptor(opening: full, O_RDONLY).readAll(limit: .max))
                        + " \(status.st_mtim.tv_sec)"
                default: ""
                }
            return "\(name) \(type == S_IFLNK ? 0 : status.st_mode) \(content)"
        }
    }

    @Test(arguments: [1, 511, 512, 513, 65_536, 10_000_000]) func roundTrip(_ pieces: Int) async throws {
        let source = try Workspace()
        try makeSample(source)
        let target = try Workspace()
        var archive = try await pull(source)
        if pieces == 1 { archive = try await smallPull() }
        let result = try await push(target, archive, pieces: pieces)
        if pieces > 1 {
            #expect(try describe(target.path) == describe(source.path))
            #expect(result.files == 11)
            #expect(result.sizeBytes > 300_000)
        } else {
            #expect(result == TreeResult(files: 1, sizeBytes: 5))
        }
    }

    private func smallPull() async throws -> [UInt8] {
        let workspace = try Workspace()
        try workspace.put("small", String(repeating: "p/", count: 60) + "file")
        return try await pull(workspace)
    }

    @Test func systemTarReadsOurs() async throws {
        let source = try Workspace()
        try makeSample(source)
        let target = try Workspace()
        let archive = try await pull(source)
        try await HostCommand(
            "tar", ["-xpf", "-", "--no-same-owner", "-C", target.path], standardInput: Data(archive)
        ).runChecked("unpack")
        #expect(try describe(target.path) == describe(source.path))
    }

    @Test(arguments: ["gnu", "oldgnu", "pax", "ustar", "v7"]) func weReadSystemTar(_ format: String) async throws {
        let source = try Workspace()
        try makeSample(source)
        if format == "ustar" || format == "v7" {
            for name in ["d", "long-link", "long-directory-name", "unicode", String(repeating: "e", count: 100)] {
                _ = try await source.service.delete(FileDelete(path: name, recursive: true))
            }
        }
        let archive = try await HostCommand(
            "tar", ["-cf", "-", "--format=\(format)", "--owner=0", "--group=0", "-C", source.path, "."]
        ).run(outputLimit: 10_000_000)
        #expect(archive.status.isSuccess, "\(archive.errorText)")
        let target = try Workspace()
        _ = try await push(target, Array(archive.stdout), pieces: 10_000)
        #expect(try describe(target.path) == describe(source.path))
    }

    @Test func hardLinksOfAnArchive() async throws {
        let source = try Workspace()
        try source.put("shared", "a")
        try Errno.check { link(source.path + "/a", source.path + "/b") }
        let archive = try await HostCommand("tar", ["-cf", "-", "-C", source.path, "a", "b"]).run()
        let target = try Workspace()
        #expect(try await push(target, Array(archive.stdout)).files == 2)
        #expect(try target.status("a").inode == target.status("b").inode)
        #expect(try target.text("b") == "shared")
    }

    @Test func ownersAndModes() async throws {
        let workspace = try Workspace()
        let archive =
            Archive.file("suid", "x", mode: "0006755") + Archive.file("sticky", "x", mode: "0001600")
            + Archive.directory("dir/") + Archive.symlink("dir/link", "x") + Archive.end
        _ = try await push(workspace, archive)
        #expect(try workspace.status("suid").mode == 0o755)
        #expect(try workspace.status("sticky").mode == 0o600)
        for name in ["suid", "sticky", "dir", "dir/link"] {
            #expect(try workspace.status(name).user == workspace.uidBase)
        }
    }

    @Test func existingFilesAreReplaced() async throws {
        let workspace = try Workspace()
        try workspace.put("old", "file")
        try workspace.put("kept", "kept")
        try workspace.put("target", "target")
        try workspace.link("target", "link")
        try workspace.put("x", "real/x")
        try workspace.link("real", "lib")
        let archive =
            Archive.file("file", "new") + Archive.file("link", "now a file") + Archive.directory("lib/")
            + Archive.file("lib/y", "through the link") + Archive.end
        _ = try await push(workspace, archive)
        #expect(try workspace.text("file") == "new")
        #expect(try workspace.text("kept") == "kept")
        // A link in a file's place is replaced, not followed; one in a directory's place is followed, inside.
        #expect(try workspace.status("link").kind == .regular)
        #expect(try workspace.text("target") == "target")
        #expect(try workspace.text("real/y") == "through the link")
        let blocked = try await expectError { try await push(workspace, Archive.file("real", "x") + Archive.end) }
        #expect(blocked.code == .conflict)
    }

    @Test func intoADirectoryAndReplacing() async throws {
        let workspace = try Workspace()
        try workspace.put("old", "sub/dir/old")
        let archive = Archive.file("new", "n") + Archive.end
        _ = try await push(workspace, archive, TreePush(path: "sub/dir"))
        #expect(try workspace.names("sub/dir") == ["new", "old"])
        _ = try await push(workspace, archive, TreePush(path: "sub/dir", replace: true))
        #expect(try workspace.names("sub/dir") == ["new"])
        _ = try await push(workspace, archive, TreePush(path: "made/on/demand"))
        #expect(try workspace.text("made/on/demand/new") == "n")
        _ = try await push(workspace, archive, TreePush(replace: true))
        #expect(try workspace.names() == ["new"])
    }

    @Test func whatPullLeavesOut() async throws {
        let workspace = try Workspace()
        try workspace.put("x", "file")
        try Errno.check { mkfifo(workspace.path + "/fifo", 0o644) }
        let target = try Workspace()
        #expect(try await push(target, try await pull(workspace)).files == 1)
        #expect(try target.names() == ["file"])
        #expect(try await expectError { try await pull(workspace, "file") }.code == .unprocessable)
        #expect(try await expectError { try await pull(workspace, "none") }.code == .notFound)
    }

    @Test func archiveThatEndsTooEarly() async throws {
        let whole = Archive.file("a", "12345") + Archive.file("b", "12345")
        for count in [1, 511, 512, 513, 517, 1023, 1025, 1536, 1540] {
            let workspace = try Workspace()
            let error = try await expectError { try await push(workspace, Array(whole.prefix(count))) }
            #expect(error.code == .invalid, "\(count)")
            #expect(!workspace.exists("b"))
        }
        // Without the two blocks of zeros it is still whole; after them anything may follow.
        let workspace = try Workspace()
        #expect(try await push(workspace, whole).files == 2)
        #expect(try await push(workspace, whole + Archive.end + [1, 2, 3]).files == 2)
        #expect(try await push(workspace, Archive.end).files == 0)
        #expect(try await expectError { try await push(workspace, []) }.code == .invalid)
    }

    @Test func manyFiles() async throws {
        let workspace = try Workspace()
        var archive: [UInt8] = []
        for index in 0..<10_000 { archive += Archive.file("d\(index % 100)/f\(index).txt", "content \(index)\n") }
        #expect(try await push(workspace, archive + Archive.end, pieces: 256 * 1024).files == 10_000)
        #expect(try workspace.text("d42/f4242.txt") == "content 4242\n")
    }
}
