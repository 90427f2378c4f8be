import FastableCompression
import FastableCore
import Foundation
import NodeFiles
import NodeLinux
import TestSupport
import Testing

/// Every operation on every kind of path, while a process of the container swaps what the path leads through, or ends in, for links
/// to the outside, without a pause.
@Suite(.serialized, .timeLimit(.minutes(20))) struct SwapBatteryTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var attempt: Attempt
        var path: String
        /// Both sides of the race must have been met: it came through, and it was refused.
        var meetsBoth: Bool
        var testDescription: String { "\(attempt.name) \(path)" }
    }

    /// Through the directory that is swapped, and to what is swapped itself.
    private static let paths = ["d/secret", "d/sub", "d", "f"]
    private static let workOnFiles: Set = [
        "read", "write", "edit", "download", "upload", "stat", "chmod", "delete", "stat link", "move from", "move to",
        "copy from", "copy to",
    ]
    static let cases = paths.flatMap { path in
        (Attempt.all + Attempt.onTheEntry).map {
            Case(attempt: $0, path: path, meetsBoth: path == "d/secret" && workOnFiles.contains($0.name))
        }
    }

    @Test func thereAreEnoughCases() { #expect(Self.cases.count >= 40) }

    private static let leak = "canary-name"

    /// A directory with the names that are swapped. It is only made before they are, and by names that lead nowhere else.
    private static func makeStage(_ number: Int, in workspace: Workspace) async throws -> [Swapper] {
        let stage = "s\(number)"
        for name in ["d/secret", "d/sub/secret", "f"] { try workspace.put("inside\n", "\(stage)/\(name)") }
        // By a path of the host, and by one that goes up.
        try workspace.link(number % 2 == 0 ? workspace.outside : "../../outside", "\(stage)/evil")
        try workspace.link("../../outside/secret", "\(stage)/evil-file")
        for (name, text) in [("file", "moved\n"), ("dir/file", "moved\n")] { try workspace.put(text, name) }
        let path = "\(workspace.path)/\(stage)"
        return [
            try await Swapper(path + "/d", path + "/evil"), try await Swapper(path + "/f", path + "/evil-file"),
        ]
    }

    @Test(arguments: cases) func nothingOutsideIsSeenOrTouched(_ test: Case) async throws {
        let workspace = try Workspace(inMemory: true)
        try Data().write(to: URL(fileURLWithPath: "\(workspace.outside)/\(Self.leak)"))
        try workspace.put(Workspace.canary + "\n", "same")
        let digest = try #require(
            try await workspace.service.stat(FileStat(path: "same", digest: true)).sha256, "of the file outside")
        _ = try await workspace.service.delete(FileDelete(path: "same"))
        let before = try workspace.outsideState()
        var successes = 0
        var refusals: [FastableError.Code: Int] = [:]
        let deadline = ContinuousClock.now + .seconds(300)
        var number = 0
        while number < 60 || (test.meetsBoth && (successes == 0 || refusals.isEmpty) && .now < deadline) {
            let swappers = try await Self.makeStage(number, in: workspace)
            let seen: String
            do {
                seen = try await test.attempt.run(workspace.service, "s\(number)/\(test.path)")
                successes += 1
            } catch let error as FastableError {
                refusals[error.code, default: 0] += 1
                seen = "\(error)"
            }
            for swapper in swappers { try await swapper.stop() }
            // A link tells where it leads, which is no secret.
            for secret in [Workspace.canary, Self.leak, digest] { #expect(!seen.contains(secret), "\(seen)") }
            number += 1
        }
        #expect(try workspace.outsideState() == before)
        #expect(refusals[.internal] == nil, "\(refusals)")
        if test.meetsBoth { #expect(successes > 0 && !refusals.isEmpty, "\(successes), \(refusals)") }
    }

    // MARK: the whole workspace

    enum Whole: CaseIterable { case snapshot, restore, checkpoint, rollback }

    @Test(.needsRoot, arguments: Whole.allCases) func wholeWorkspacesTakeNothingFromOutside(_ what: Whole) async throws
    {
        let workspace = try Workspace(inMemory: true)
        try workspace.put("inside\n", "kept")
        let taken = try await SnapshotTests.take(workspace)
        let first = CheckpointID()
        _ = try await Self.checkpoint(workspace, first)
        let before = try workspace.outsideState()
        var successes = 0
        for number in 0..<40 {
            // What came back in its place has none of the others.
            let swappers = try await Self.makeStage(number, in: workspace)
            do {
                switch what {
                case .snapshot:
                    let archive = try Self.expanded(try await SnapshotTests.take(workspace).bytes)
                    #expect(!archive.contains(Workspace.canary))
                case .restore: try await SnapshotTests.restore(taken.bytes, taken.request(), to: workspace)
                case .checkpoint: _ = try await Self.checkpoint(workspace, CheckpointID())
                case .rollback:
                    _ = try await workspace.service.rollBack(
                        CheckpointRollback(id: first, keepAs: CheckpointID()), in: workspace.checkpoints,
                        reserveBytes: 0, work: TreeWork())
                }
                successes += 1
            } catch let error as FastableError {
                #expect(error.code != .internal && !"\(error)".contains(Workspace.canary), "\(error)")
            }
            for swapper in swappers { try await swapper.stop() }
        }
        #expect(try workspace.outsideState() == before)
        #expect(successes > 0)
        let copies = workspace.base + "/checkpoints"
        for name in FileManager.default.subpaths(atPath: copies) ?? [] {
            #expect(!name.contains(Self.leak))
            var isDirectory: ObjCBool = false
            let path = copies + "/" + name
            let isLink = (try? FileManager.default.destinationOfSymbolicLink(atPath: path)) != nil
            guard !isLink, FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory),
                !isDirectory.boolValue
            else { continue }
            let text = String(decoding: try Data(contentsOf: URL(fileURLWithPath: path)), as: UTF8.self)
            #expect(!text.contains(Workspace.canary), "\(name)")
        }
    }

    private static func checkpoint(_ workspace: Workspace, _ id: CheckpointID) async throws {
        _ = try await workspace.service.checkpoint(
            CheckpointCreate(id: id, note: ""), in: workspace.checkpoints, reserveBytes: 0, work: TreeWork())
    }

    private static func expanded(_ bytes: [UInt8]) throws -> String {
        var decoder = try ZstdDecoder()
        decoder.append(bytes)
        var text: [UInt8] = []
        while let part = try decoder.next() { text += part }
        return String(decoding: text, as: UTF8.self)
    }
}
