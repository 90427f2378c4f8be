import FastableCore
import FoundationEssentials
import Glibc
import NodeFiles
import NodeLinux
import Synchronization
import TestSupport
import Testing

/// What one project asks of its files is at nobody else's expense.
@Suite(.endsInTime) struct NeighbourTests {
    private final class Count: Sendable {
        private let state = Atomic(0)
        var value: Int { state.load(ordering: .relaxed) }
        func add() { state.add(1, ordering: .relaxed) }
    }

    /// What ended, in that order.
    private final class Order: Sendable {
        private let state = Mutex<[Int]>([])
        var all: [Int] { state.withLock { $0 } }
        func add(_ number: Int) { state.withLock { $0.append(number) } }
    }

    private static func use(_ project: Workspace, round: Int) async throws {
        let service = project.service
        _ = try await service.write(FileWrite(path: "d/file", content: "needle \(round)\n"))
        #expect(try await service.read(FileRead(path: "d/file")).text == "needle \(round)\n")
        #expect(try await service.list(FileList()).entries.map(\.name) == ["d"])
        #expect(try await service.glob(FileGlob(pattern: "*")).paths == ["d/file"])
        #expect(try await service.grep(FileGrep(pattern: "needle")).matches.count == 1)
        let sink = try await service.pushTree(TreePush(path: "d"))
        try await sink.write(Archive.file("file", "pushed\n") + Archive.end)
        _ = try await sink.finish()
        let stream = try await service.pullTree(TreePull(path: "d"))
        while try await stream.next() != nil {}
    }

    private static func change(_ service: FileService, _ number: Int) async throws {
        guard number.isMultiple(of: 2) else {
            _ = try await service.write(FileWrite(path: "\(number)", content: "x"))
            return
        }
        let sink = try await service.pushTree(TreePush())
        try await sink.write(Archive.file("\(number)", "x") + Archive.end)
        _ = try await sink.finish()
    }

    /// More projects than there are threads for, on a disk on which every change waits. Another project's files are elsewhere.
    @Test(.needsRoot) func aStuckDiskHoldsUpNobodyElse() async throws {
        try await CutDisk.with { disk in
            let services = try (0..<2 * Limits.blockingFileThreads / Limits.fileJobsPerProject).map { index in
                mkdir("\(disk.path)/\(index)", 0o755)
                return try Workspace(service: "\(disk.path)/\(index)").service
            }
            let neighbour = try Workspace()
            let asked = Count()
            let answered = Count()
            try await HostCommand("fsfreeze", ["--freeze", disk.path]).runChecked("freeze the disk")
            let flood = (0..<40).flatMap { number in
                services.map { service in
                    Task {
                        asked.add()
                        defer { answered.add() }
                        try await Self.change(service, number)
                    }
                }
            }
            do {
                try await eventually("all have asked") { asked.value == flood.count }
                try await eventually("they have all threads that there are for files") {
                    try FileManager.default.contentsOfDirectory(atPath: "/proc/self/task").count
                        >= Limits.blockingFileThreads
                }
                for round in 0..<10 { try await Self.use(neighbour, round: round) }
                #expect(answered.value == 0)
            } catch {
                try await HostCommand("fsfreeze", ["--unfreeze", disk.path]).runChecked("thaw the disk")
                throw error
            }
            try await HostCommand("fsfreeze", ["--unfreeze", disk.path]).runChecked("thaw the disk")
            for change in flood { try await change.value }
        }
    }

    /// They are read on Swift's own few threads, where whoever comes next would be behind all of them.
    @Test func manySmallReadsLetOthersBetween() async throws {
        let (greedy, modest) = (try Workspace(inMemory: true), try Workspace(inMemory: true))
        for project in [greedy, modest] { try project.put(String(repeating: "a line\n", count: 20_000), "file") }
        let order = Order()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0...512 {
                let project = index == 512 ? modest : greedy
                group.addTask {
                    _ = try await project.service.read(FileRead(path: "file"))
                    order.add(index)
                }
            }
            try await group.waitForAll()
        }
        let before = try #require(order.all.firstIndex(of: 512))
        #expect(before < 256, "it came behind \(before) reads of the other project")
    }
}
