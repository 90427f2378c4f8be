import FastableCore
import Glibc
import NodeFiles
import NodeLinux
import Synchronization
import Testing

/// A process of the container swaps directories and files for symbolic links to the outside, all the time, while operations run.
@Suite(.serialized) struct RaceTests {
    /// Runs `attempt` while the directory `d` is now itself, now a link to the outside, and so is the file `f`.
    private func attack(
        _ iterations: Int, _ attempt: @escaping @Sendable (Workspace, Int) async throws -> Void
    ) async throws {
        let workspace = try Workspace(inMemory: true)
        for name in ["d/secret", "d/sub/secret", "f"] { try workspace.put("inside\n", name) }
        try workspace.link(workspace.outside, "evil")
        try workspace.link("../outside/secret", "evil-file")
        let before = try workspace.outsideState()
        let swappers = [
            try await Swapper(workspace.path + "/d", workspace.path + "/evil"),
            try await Swapper(workspace.path + "/f", workspace.path + "/evil-file"),
        ]
        var successes = 0
        var refusals: [FastableError.Code: Int] = [:]
        let deadline = ContinuousClock.now + .seconds(300)
        var iteration = 0
        // The race must be real: both sides have to be met.
        while iteration < iterations || ((successes == 0 || refusals.isEmpty) && .now < deadline) {
            do {
                try await attempt(workspace, iteration)
                successes += 1
            } catch let error as FastableError {
                refusals[error.code, default: 0] += 1
                #expect(!"\(error)".contains(Workspace.canary))
            }
            iteration += 1
            if iteration % 10 == 0 { Self.renew(workspace) }
        }
        for swapper in swappers { try await swapper.stop() }
        #expect(try workspace.outsideState() == before)
        #expect(successes > 0 && !refusals.isEmpty, "\(successes), \(refusals)")
        #expect(refusals[.internal] == nil, "\(refusals)")
    }

    /// A write may have replaced the link itself, which is no harm; the attacker makes a new one. Two links are one too many.
    private static func renew(_ workspace: Workspace) {
        let links = ["f", "evil-file"].count { (try? workspace.status($0).kind) == .symlink }
        guard links != 1 else { return }
        // Made under a name that nobody swaps, then put in place at once: readers never see half of it.
        if links == 0 { try? workspace.link("../outside/secret", "renewed") }
        if links == 2 { try? workspace.put("inside\n", "renewed") }
        rename(workspace.path + "/renewed", workspace.path + "/evil-file")
    }

    @Test(arguments: ["d/secret", "f"]) func read(_ path: String) async throws {
        try await attack(10_000) { workspace, _ in
            let result = try await workspace.service.read(FileRead(path: path))
            #expect(result.text == "inside\n")
        }
    }

    @Test func readDirectory() async throws {
        try await attack(5000) { workspace, _ in
            let result = try await workspace.service.list(FileList(path: "d", depth: 3))
            #expect(!result.entries.contains { $0.sizeBytes == Workspace.canary.utf8.count + 1 })
        }
    }

    @Test func write() async throws {
        try await attack(3000) { workspace, iteration in
            _ = try await workspace.service.write(FileWrite(path: "d/new-\(iteration % 50)", content: "x"))
        }
    }

    @Test(arguments: ["d/sub/secret", "f"]) func writeOver(_ path: String) async throws {
        try await attack(3000) { workspace, iteration in
            _ = try await workspace.service.write(FileWrite(path: path, content: "\(iteration)"))
        }
    }

    @Test func writeWithNewDirectories() async throws {
        try await attack(3000) { workspace, iteration in
            _ = try await workspace.service.write(FileWrite(path: "d/a\(iteration)/b/c", content: "x"))
        }
    }

    @Test(arguments: ["d/secret", "f"]) func edit(_ path: String) async throws {
        try await attack(3000) { workspace, _ in
            func edit(_ old: String, _ new: String) async throws {
                _ = try await workspace.service.edit(
                    FileEdit(path: path, edits: [.init(oldString: old, newString: new)]))
            }
            do {
                try await edit("inside", "changed")
            } catch let error as FastableError where error.details["reason"] == "no_match" {
                try await edit("changed", "inside")
            }
        }
    }

    @Test func delete() async throws {
        try await attack(3000) { workspace, iteration in
            if iteration % 2 == 0 {
                _ = try await workspace.service.write(FileWrite(path: "d/sub/secret", content: "x"))
            } else {
                _ = try await workspace.service.delete(FileDelete(path: "d/sub", recursive: true))
            }
        }
    }

    @Test(arguments: ["d/secret", "f"]) func download(_ path: String) async throws {
        try await attack(3000) { workspace, _ in
            let stream = try await workspace.service.download(FileDownload(path: path))
            var bytes: [UInt8] = []
            while let next = try await stream.next() { bytes += next }
            #expect(String(decoding: bytes, as: UTF8.self) == "inside\n")
        }
    }

    @Test func upload() async throws {
        try await attack(2000) { workspace, iteration in
            let sink = try await workspace.service.upload(FileUpload(path: "d/sub/up-\(iteration % 20)"))
            try await sink.write([1, 2, 3])
            _ = try await sink.finish()
        }
    }

    @Test func pushTree() async throws {
        let archive = Archive.file("d/pushed", "x") + Archive.file("d/sub/secret", "y") + Archive.end
        try await attack(1500) { workspace, _ in
            let sink = try await workspace.service.pushTree(TreePush())
            try await sink.write(archive)
            _ = try await sink.finish()
        }
    }

    @Test func pullTree() async throws {
        try await attack(3000) { workspace, _ in
            let stream = try await workspace.service.pullTree(TreePull(path: "d"))
            var bytes: [UInt8] = []
            while let next = try await stream.next() { bytes += next }
            #expect(!String(decoding: bytes, as: UTF8.self).contains(Workspace.canary))
        }
    }

    /// ripgrep itself opens by name, so here the swapped directory is met on its way down.
    @Test func grepAndGlob() async throws {
        let found = Mutex(0)
        let workspace = try Workspace(inMemory: true)
        try workspace.put("inside\n", "d/secret")
        try workspace.link(workspace.outside, "evil")
        let swapper = try await Swapper(workspace.path + "/d", workspace.path + "/evil")
        for _ in 0..<400 {
            let grep = try await workspace.service.grep(FileGrep(pattern: "canary|inside"))
            #expect(!grep.matches.contains { $0.text.contains(Workspace.canary) })
            let glob = try await workspace.service.glob(FileGlob(pattern: "**/*"))
            #expect(!glob.paths.contains { $0.hasSuffix("sub/secret") })
            found.withLock { $0 += grep.matches.count + glob.paths.count }
        }
        try await swapper.stop()
        #expect(found.withLock { $0 } > 0)
    }

    @Test func deleteTreeWhileItsDirectoriesTurnIntoLinks() async throws {
        let workspace = try Workspace(inMemory: true)
        let before = try workspace.outsideState()
        var removed = 0
        for _ in 0..<150 {
            for index in 0..<10 {
                try workspace.put("x", "tree/\(index)/d/sub/file")
                try workspace.link(workspace.outside, "tree/\(index)/evil")
            }
            var swappers: [Swapper] = []
            for index in [0, 5] {
                let directory = workspace.path + "/tree/\(index)"
                swappers.append(try await Swapper(directory + "/d", directory + "/evil"))
            }
            let result = try? await workspace.service.delete(FileDelete(path: "tree", recursive: true))
            removed += result?.removed ?? 0
            for swapper in swappers { try await swapper.stop() }
            _ = try? await workspace.service.delete(FileDelete(path: "tree", recursive: true))
        }
        #expect(try workspace.outsideState() == before)
        #expect(removed > 0)
    }

    @Test func twoEditorsWithTheSameVersion() async throws {
        let workspace = try Workspace(inMemory: true)
        for round in 0..<100 {
            let first = try await workspace.service.write(FileWrite(path: "file", content: "start \(round)"))
            let outcomes = await withTaskGroup(of: Bool.self) { group in
                for writer in 0..<4 {
                    group.addTask {
                        let request = FileWrite(path: "file", content: "by \(writer)", ifMatch: first.sha256)
                        return (try? await workspace.service.write(request)) != nil
                    }
                }
                return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
            }
            #expect(outcomes == 1, "exactly one change may win")
        }
    }

    @Test func concurrentEditsAreAllKept() async throws {
        let workspace = try Workspace(inMemory: true)
        try workspace.put((0..<20).map { "line \($0);\n" }.joined(), "file")
        try await withThrowingTaskGroup { group in
            for index in 0..<20 {
                group.addTask {
                    let edit = FileEdit(
                        path: "file", edits: [.init(oldString: "line \(index);", newString: "done \(index);")])
                    for _ in 0..<50 {
                        do {
                            _ = try await workspace.service.edit(edit)
                            return
                        } catch let error as FastableError where error.code == .conflict {}
                    }
                    Issue.record("edit \(index) never came through")
                }
            }
            try await group.waitForAll()
        }
        #expect(try workspace.text("file") == (0..<20).map { "done \($0);\n" }.joined())
    }
}
