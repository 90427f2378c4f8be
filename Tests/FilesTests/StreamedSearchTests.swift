import FastableCore
import FoundationEssentials
import NodeFiles
import Synchronization
import TestSupport
import Testing

/// Searches that tell what they find as they find it.
@Suite(.endsInTime) struct StreamedSearchTests {
    private final class Told<Item: Sendable>: Sendable {
        private let parts = Mutex<[[Item]]>([])
        func add(_ items: [Item]) { parts.withLock { $0.append(items) } }
        var all: [Item] { parts.withLock { $0.flatMap(\.self) } }
        var count: Int { parts.withLock { $0.count } }
    }

    private struct Enough: Error {}

    private func tree(files: Int) throws -> Workspace {
        let workspace = try Workspace(inMemory: true)
        // Together the matches are more than a pipe holds.
        let padding = String(repeating: "x", count: 200)
        for index in 0..<files { try workspace.put("needle \(padding)\nhay\n", "d\(index % 7)/f\(index).txt") }
        try workspace.put("build/\n", ".gitignore")
        try workspace.put("needle\n", "build/out.txt")
        return workspace
    }

    @Test func theySayTheSameAsAtOnce() async throws {
        let workspace = try tree(files: 1000)
        for glob in [FileGlob(pattern: "*.txt"), FileGlob(pattern: "*.txt", limit: 300), FileGlob(pattern: "none")] {
            let whole = try await workspace.service.glob(glob)
            let told = Told<String>()
            let end = try await workspace.service.glob(glob) { told.add($0) }
            #expect(end.paths.isEmpty && end.truncated == whole.truncated)
            #expect(told.all.sorted() == whole.paths)
            #expect(told.count >= whole.paths.count / Limits.searchBatchItems)
        }
        for grep in [
            FileGrep(pattern: "needle"), FileGrep(pattern: "needle", limit: 10), FileGrep(pattern: "nothing"),
            FileGrep(pattern: "hay", path: "d3/f3.txt"),
        ] {
            let whole = try await workspace.service.grep(grep)
            let told = Told<FileGrepResult.Match>()
            let end = try await workspace.service.grep(grep) { told.add($0) }
            #expect(end.matches.isEmpty && end.truncated == whole.truncated)
            #expect(end.filesWithMatches == whole.filesWithMatches)
            #expect(told.all == whole.matches)
        }
    }

    @Test func whoHasHeardEnoughEndsThem() async throws {
        let workspace = try tree(files: 3000)
        let paths = Told<String>()
        await #expect(throws: Enough.self) {
            _ = try await workspace.service.glob(FileGlob(pattern: "*")) { found in
                paths.add(found)
                throw Enough()
            }
        }
        #expect(paths.count == 1 && paths.all.count <= Limits.searchBatchItems, "the walk had not ended")
        let matches = Told<FileGrepResult.Match>()
        await #expect(throws: Enough.self) {
            _ = try await workspace.service.grep(FileGrep(pattern: "needle")) { found in
                matches.add(found)
                throw Enough()
            }
        }
        #expect(matches.count == 1 && matches.all.count < 2000, "the search had not ended")
    }

    @Test func cancellingEndsThem() async throws {
        let workspace = try tree(files: 3000)
        let glob = Task {
            try await workspace.service.glob(FileGlob(pattern: "*")) { _ in withUnsafeCurrentTask { $0?.cancel() } }
        }
        await #expect(throws: (any Error).self) { _ = try await glob.value }
        let (heard, hear) = AsyncStream<Void>.makeStream()
        let grep = Task {
            try await workspace.service.grep(FileGrep(pattern: "needle")) { _ in
                hear.yield()
                try await Task.sleep(for: .seconds(600))
            }
        }
        for await _ in heard { break }
        grep.cancel()
        await #expect(throws: (any Error).self) { _ = try await grep.value }
    }

    @Test func aWrongPatternIsToldAsItIs() async throws {
        let workspace = try tree(files: 1)
        let error = try await expectError {
            _ = try await workspace.service.grep(FileGrep(pattern: "(")) { _ in }
        }
        #expect(error.code == .invalid && error.details["field"] == "pattern")
    }
}
