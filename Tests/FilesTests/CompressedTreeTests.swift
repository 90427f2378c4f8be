import FastableCompression
import FastableCore
import FoundationEssentials
import NodeFiles
import NodeLinux
import TestSupport
import Testing

@Suite struct CompressedTreeTests {
    private func push(
        _ workspace: Workspace, _ archive: [UInt8], replace: Bool = false, pieces: Int = 100_000
    ) async throws -> TreeResult {
        let sink = try await workspace.service.pushTree(TreePush(replace: replace, compression: .zstd))
        do {
            for start in stride(from: 0, to: archive.count, by: pieces) {
                try await sink.write(Array(archive[start..<min(start + pieces, archive.count)]))
            }
            return try await sink.finish()
        } catch {
            await sink.cancel()
            throw error
        }
    }

    private func pull(_ workspace: Workspace) async throws -> [UInt8] {
        let stream = try await workspace.service.pullTree(TreePull(compression: .zstd))
        var bytes: [UInt8] = []
        while let next = try await stream.next() { bytes += next }
        return bytes
    }

    private func zstd(_ bytes: [UInt8]) throws -> [UInt8] {
        var encoder = try ZstdEncoder()
        var output: [UInt8] = []
        try bytes.withUnsafeBytes { try encoder.compress($0, into: &output) }
        try encoder.finish(into: &output)
        return output
    }

    private func makeSample() throws -> Workspace {
        let workspace = try Workspace()
        for index in 0..<300 { try workspace.put("content \(index)\n", "d\(index % 10)/f\(index)") }
        try workspace.put((0..<900_000).map { UInt8(truncatingIfNeeded: $0 / 7) }, "large")
        return workspace
    }

    private func expectSample(_ workspace: Workspace) throws {
        #expect(try workspace.text("d7/f297") == "content 297\n")
        #expect(try workspace.bytes("large") == (0..<900_000).map { UInt8(truncatingIfNeeded: $0 / 7) })
    }

    @Test(arguments: [100, 4000, 10_000_000]) func thereAndBack(pieces: Int) async throws {
        let archive = try await pull(try makeSample())
        #expect(archive.count < 200_000, "the content compresses well")
        let target = try Workspace()
        #expect(try await push(target, archive, pieces: pieces).files == 301)
        try expectSample(target)
    }

    @Test func withTheSystemsPrograms() async throws {
        let source = try makeSample()
        let ours = try Workspace()
        try await HostCommand(
            "tar", ["--zstd", "-xf", "-", "-C", ours.path], standardInput: Data(try await pull(source))
        )
        .runChecked("unpack")
        try expectSample(ours)
        let archive = try await HostCommand("tar", ["--zstd", "-cf", "-", "-C", source.path, "."])
            .run(outputLimit: 10_000_000).checked("pack")
        let theirs = try Workspace()
        #expect(try await push(theirs, Array(archive.stdout)).files == 301)
        try expectSample(theirs)
    }

    @Test func whatIsNotWholeReplacesNothing() async throws {
        let workspace = try Workspace()
        try workspace.put("old", "kept")
        let tar = Archive.file("new", "x") + Archive.end
        let whole = try zstd(tar)
        var damaged = whole
        damaged[whole.count - 2] ^= 1
        for (bytes, code) in [
            (Array(whole.dropLast()), .invalid), (Array(whole.prefix(3)), .invalid), ([], .invalid),
            (damaged, .invalid),
            (whole + [1, 2, 3, 4, 5], .invalid), (tar, .invalid), (try zstd([]), .invalid),
            (try zstd(Array(tar.prefix(513))), .invalid), (try zstd(Archive.file("../x", "x")), .forbidden),
        ] as [([UInt8], FastableError.Code)] {
            for pieces in [1, 100_000] {
                let error = try await expectError {
                    try await push(workspace, bytes, replace: true, pieces: pieces)
                }
                #expect(error.code == code, "\(error)")
                #expect(try workspace.names() == ["kept"])
            }
        }
        #expect(try await push(workspace, whole, replace: true).files == 1)
        #expect(try workspace.names() == ["new"])
    }

    /// Without saying so nothing is expanded, and the error tells how to say it.
    @Test func compressionHasToBeTold() async throws {
        let workspace = try Workspace()
        let sink = try await workspace.service.pushTree(TreePush())
        let archive = try zstd(Archive.file("f", String(repeating: "öä", count: 1000)) + Archive.end)
        let padded = archive + [UInt8](repeating: 0, count: 512)
        let error = try await expectError { try await sink.write(padded) }
        #expect(error.code == .invalid && error.message.contains("application/zstd"), "\(error)")
    }

    /// What an archive holds counts, and not what was sent: half a megabyte that stands for more than the most.
    @Test func aBombHitsTheLimit() async throws {
        let workspace = try Workspace(inMemory: true)
        let sink = try await workspace.service.pushTree(TreePush(compression: .zstd))
        try await sink.write(try zstd(Archive.end))
        let frame = try zstd([UInt8](repeating: 0, count: 64 << 20))
        let count = Limits.treeBytes / (64 << 20) + 1
        let error = try await expectError { for _ in 0..<count { try await sink.write(frame) } }
        #expect(error.code == .tooLarge && error.details["limit"] == .integer(Int64(Limits.treeBytes)), "\(error)")
        await sink.cancel()
    }

    /// A piece that stands for gigabytes is given up as soon as nobody wants it any more.
    @Test func expandingCanBeCancelled() async throws {
        let workspace = try Workspace(inMemory: true)
        let sink = try await workspace.service.pushTree(TreePush(compression: .zstd))
        try await sink.write(try zstd(Archive.end))
        let frame = try zstd([UInt8](repeating: 0, count: 64 << 20))
        let bomb = Array(repeatElement(frame, count: 200).joined())
        let writing = Task { try await sink.write(bomb) }
        writing.cancel()
        await #expect(throws: CancellationError.self) { try await writing.value }
        await sink.cancel()
    }

    /// In a process of its own: all turns of this one would be missing in the tests that run beside it.
    @Test(.endsInTime) func onlySoManyAtATime() async {
        await #expect(processExitsWith: .success) { try await CompressedTreeTests().takeAllTurns() }
    }

    private func takeAllTurns() async throws {
        let workspaces = try (0..<Limits.zstdTreesPerNode / Limits.zstdTreesPerProject).map { _ in try makeSample() }
        let workspace = try makeSample()
        var sinks: [TreePushSink] = []
        var streams: [TreePullStream] = []
        for (index, project) in workspaces.enumerated() {
            // Each of them may have a part only, so that there is some for the next one.
            for _ in 0..<Limits.zstdTreesPerProject - (index == 0 ? 1 : 0) {
                sinks.append(try await project.service.pushTree(TreePush(replace: true, compression: .zstd)))
            }
            if index == 0 { streams.append(try await project.service.pullTree(TreePull(compression: .zstd))) }
            let own = try await expectError { try await project.service.pullTree(TreePull(compression: .zstd)) }
            #expect(own.code == .limit && own.retryAfterSeconds != nil)
        }
        let refused = try await expectError {
            try await workspace.service.pushTree(TreePush(replace: true, compression: .zstd))
        }
        #expect(refused.code == .limit && refused.retryAfterSeconds != nil)
        #expect(
            try await expectError { try await workspace.service.pullTree(TreePull(compression: .zstd)) }.code == .limit)
        _ = try await workspace.service.pullTree(TreePull())
        #expect(streams.count == 1, "it was kept until here")
        for sink in sinks { await sink.cancel() }
        sinks = []
        streams = []
        let left = try workspace.names().filter { $0.hasPrefix(".fastable") }
        #expect(left.isEmpty, "a push that was refused left something behind")
        #expect(try await pull(workspace).count > 0)
    }
}
