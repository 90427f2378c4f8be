import FastableCore
import Foundation
import Logging
import NodeSandbox
import TestSupport
import Testing

/// How a command ended is known for days, however many came after it.
@Suite struct EndedResultsTests {
    private static let hits = [
        nil, LimitHit(.memory, limitBytes: 64 << 20, process: "tail"), LimitHit(.pids, limitCount: 32),
        LimitHit(.disk, limitBytes: 1 << 40), LimitHit(.memory, process: String(repeating: "\\x1b", count: 14)),
    ]

    private static func record(_ index: Int) -> ExecRecord {
        let exec = ExecID()
        let isFailure = index % 7 == 3
        let result = ExecResult(
            exec: exec, exitCode: index % 5 == 0 ? nil : Int32(index % 256),
            signal: index % 5 == 0 ? "SIGSTKFLT" : nil, timedOut: index % 10 == 0,
            startedAt: Date(timeIntervalSince1970: 1_700_000_000 + Double(index)), durationMilliseconds: 1.5,
            stdoutBytes: UInt64(index), stderrBytes: 1 << 40, limitHit: hits[index % hits.count])
        return ExecRecord(
            exec: exec, container: ContainerID(), number: index % 2 == 0 ? UInt32(index) : nil,
            result: isFailure ? nil : result,
            failure: isFailure ? FastableError(.notFound, "It could not be found.") : nil,
            stdoutEnd: UInt64(index) + 1, stderrEnd: 1 << 41, isComplete: true,
            writtenMilliseconds: WallClock.nowMilliseconds())
    }

    private func expect(_ found: ExecRecord?, toBe record: ExecRecord) {
        #expect(found?.result == record.result && found?.exec == record.exec && found?.container == record.container)
        #expect((found?.failure == nil) == (record.failure == nil) && found?.number == record.number)
        #expect(found?.stdoutEnd == record.stdoutEnd && found?.stderrEnd == record.stderrEnd)
        #expect(found?.isComplete == true && found?.writtenMilliseconds == record.writtenMilliseconds)
    }

    @Test func recordsThatMakeRoomLeaveHowTheyEnded() throws {
        try withTemporaryDirectory { folder in
            let directory = folder + "/execs"
            func open() throws -> ExecStore {
                let store = ExecStore(directory: directory, recordLimit: 10, logger: .quiet)
                _ = try store.scan(for: ContainerID())
                return store
            }
            let records = (0..<300).map(Self.record)
            let first = try open()
            for record in records[..<150] { try first.write(record) }
            // The next daemon goes on, also behind an entry of which a full disk took a part only.
            let file = try FileHandle(forWritingTo: URL(fileURLWithPath: directory + "/ended/1"))
            try file.seekToEnd()
            try file.write(contentsOf: Data(count: 50))
            try file.close()
            let second = try open()
            for record in records[150...] { try second.write(record) }
            let names = try FileManager.default.contentsOfDirectory(atPath: directory)
            // Why a command did not start has no place in an entry.
            let told = records.suffix(10).filter { $0.failure != nil }.map { "\($0.exec).json" }
            #expect(Set(names) == Set(told + ["ended"]) && told.count == 2)
            let third = try open()
            for record in records { expect(try third.read(record.exec), toBe: record) }
            #expect(try third.read(ExecID()) == nil)
        }
    }

    @Test func theOldestGoWhenThereAreTooMany() throws {
        try withTemporaryDirectory { folder in
            let results = EndedResults(directory: folder + "/results", entriesPerFile: 10, fileLimit: 3)
            let records = (0..<45).map(Self.record)
            for record in records { try results.append([record]) }
            for (index, record) in records.enumerated() {
                let found = try results.find(record.exec)
                if index < 20 { #expect(found == nil) } else { expect(found, toBe: record) }
            }
            let names = try FileManager.default.contentsOfDirectory(atPath: folder + "/results")
            #expect(names.sorted() == ["3", "3.index", "4", "4.index", "5", "5.index"])
        }
    }

    @Test func theOldestOutputGoesFirstAndHowItEndedStays() throws {
        try withTemporaryDirectory { folder in
            let store = ExecStore(directory: folder, spoolLimit: 100, logger: .quiet)
            _ = try store.scan(for: ContainerID())
            var records = [1, 2, 4].map(Self.record)
            for index in records.indices {
                records[index].stdoutEnd = 40
                records[index].stderrEnd = 0
                let output = "\(folder)/\(records[index].exec)"
                try FileManager.default.createDirectory(atPath: output, withIntermediateDirectories: false)
                try Data(count: 40).write(to: URL(fileURLWithPath: output + "/stdout"))
                try store.write(records[index])
            }
            func hasOutput(_ record: ExecRecord) -> Bool {
                FileManager.default.fileExists(atPath: "\(folder)/\(record.exec)/stdout")
            }
            #expect(records.map(hasOutput) == [false, true, true])
            for record in records { expect(try store.read(record.exec), toBe: record) }
            // A daemon that finds too much does the same.
            try store.save()
            let next = ExecStore(directory: folder, spoolLimit: 50, logger: .quiet)
            _ = try next.scan(for: ContainerID())
            #expect(records.map(hasOutput) == [false, false, true])
            for record in records { expect(try next.read(record.exec), toBe: record) }
        }
    }

    /// A loss of power must not put bytes of an earlier round in the place of the last ones, of which the result says that they are there.
    @Test(.needsRoot, .endsInTime, arguments: [true, false])
    func outputThatWentRoundIsOnTheDiskBeforeItsResult(wentRound: Bool) async throws {
        try await CutDisk.with { disk in
            let store = ExecStore(directory: disk.path + "/execs", logger: .quiet)
            _ = try store.scan(for: ContainerID())
            var record = Self.record(1)
            record.stdoutEnd = UInt64(Limits.execOutputKeptBytes) + (wentRound ? 1 : 0)
            record.stderrEnd = 0
            let folder = "\(disk.path)/execs/\(record.exec)"
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            let output = Data(repeating: 7, count: 1 << 20)
            try output.write(to: URL(fileURLWithPath: folder + "/stdout"))
            try store.write(record)
            try store.save()
            try await disk.afterLoss { path in
                let later = ExecStore(directory: path + "/execs", logger: .quiet)
                _ = try later.scan(for: ContainerID())
                #expect(try later.read(record.exec)?.stdoutEnd == record.stdoutEnd)
                let found = FileManager.default.contents(atPath: "\(path)/execs/\(record.exec)/stdout")
                // What did not go round may be missing, and then it is told so.
                #expect(found == output || !wentRound && found?.isEmpty != false)
            }
        }
    }

    /// A file goes once the youngest entry in it is older than the time for which results are promised.
    @Test func whatIsOldGoes() throws {
        try withTemporaryDirectory { folder in
            let results = EndedResults(directory: folder + "/results", entriesPerFile: 10)
            let records = (0..<40).map(Self.record)
            try results.append(Array(records[..<30]))
            for (file, days) in [(1, 7.1), (2, 6.9)] {
                try FileManager.default.setAttributes(
                    [.modificationDate: Date(timeIntervalSinceNow: -days * 24 * 3600)],
                    ofItemAtPath: "\(folder)/results/\(file)")
            }
            for record in records[..<30] { expect(try results.find(record.exec), toBe: record) }
            try results.append(Array(records[30...]))
            for record in records[..<10] { #expect(try results.find(record.exec) == nil) }
            for record in records[10...] { expect(try results.find(record.exec), toBe: record) }
        }
    }

    /// As after the death of a daemon, or a loss of power: entries are there of which the index knows nothing.
    @Test func anIndexThatLagsBehindIsMadeAgain() throws {
        try withTemporaryDirectory { folder in
            func open() -> EndedResults {
                EndedResults(directory: folder + "/results", entriesPerFile: 10, fileLimit: 5)
            }
            let records = (0..<25).map(Self.record)
            try open().append(records)
            try FileManager.default.removeItem(atPath: folder + "/results/1.index")
            let index = try FileHandle(forWritingTo: URL(fileURLWithPath: folder + "/results/3.index"))
            try index.write(contentsOf: Data(count: 8 + 20 * 8))
            try index.close()
            let next = open()
            for record in records { expect(try next.find(record.exec), toBe: record) }
            #expect(try next.find(ExecID()) == nil)
            try next.append([records[0]])
            expect(try next.find(records[0].exec), toBe: records[0])
        }
    }

    /// However many results there are: what a lookup reads is what the process is told to have read.
    @Test func aLookupReadsLittle() throws {
        try withTemporaryDirectory { folder in
            let results = EndedResults(directory: folder + "/results", entriesPerFile: 1024, fileLimit: 8)
            let records = (0..<5_000).map(Self.record)
            try results.append(records)
            #expect(try results.find(ExecID()) == nil, "whatever is done once is done")
            let before = try Self.bytesReadByThisThread()
            for record in records.prefix(100) { expect(try results.find(record.exec), toBe: record) }
            let each = try (Self.bytesReadByThisThread() - before) / 100
            #expect(each < 8 * 1024, "\(each) bytes a lookup")
        }
    }

    private static func bytesReadByThisThread() throws -> Int {
        let text = try String(contentsOfFile: "/proc/thread-self/io", encoding: .utf8)
        let line = try #require(text.split(separator: "\n").first { $0.hasPrefix("rchar: ") })
        return try #require(Int(line.dropFirst(7)))
    }

    /// As a daemon leaves it that ends while it writes, or with the power.
    @Test func whatAnEntryTellsIsTheLastWord() throws {
        try withTemporaryDirectory { folder in
            let container = ContainerID()
            let store = ExecStore(directory: folder, logger: .quiet)
            _ = try store.scan(for: container)
            let records = [1, 2, 4].map(Self.record)
            var running = records[0]
            running.isComplete = false
            running.stdoutEnd = 0
            try store.write(running)
            let file = "\(folder)/\(running.exec).json"
            let early = try Data(contentsOf: URL(fileURLWithPath: file))
            #expect(try store.read(running.exec)?.isComplete == false)
            for record in records { try store.write(record) }
            try store.save()
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["ended"])
            // A file that should have gone, one without content, and a folder of output.
            try early.write(to: URL(fileURLWithPath: file))
            try Data().write(to: URL(fileURLWithPath: "\(folder)/\(records[1].exec).json"))
            let output = "\(folder)/\(records[2].exec)"
            try FileManager.default.createDirectory(atPath: output, withIntermediateDirectories: false)
            try Data("4".utf8).write(to: URL(fileURLWithPath: output + "/stdout"))
            let next = ExecStore(directory: folder, logger: .quiet)
            let contents = try next.scan(for: container)
            #expect(contents.incomplete.isEmpty && contents.complete == Set(records.map(\.exec)))
            for record in records { expect(try next.read(record.exec), toBe: record) }
            let left = try FileManager.default.contentsOfDirectory(atPath: folder)
            #expect(Set(left) == ["ended", "\(records[2].exec)"])
        }
    }

    /// An earlier release wrote a file for each command. They are taken in, also where the disk takes nothing more.
    @Test func filesOfCommandsThatEndedAreTakenIn() throws {
        try withTemporaryDirectory { folder in
            let records = (0..<20).map(Self.record)
            for record in records {
                try JSON.encode(record).write(to: URL(fileURLWithPath: "\(folder)/\(record.exec).json"))
            }
            // In the place of the folder of entries: nothing can be written below it.
            let entries = URL(fileURLWithPath: folder + "/ended")
            try Data().write(to: entries)
            let full = try ExecStore(directory: folder, logger: .quiet).scan(for: ContainerID())
            #expect(full.complete == Set(records.map(\.exec)) && full.incomplete.isEmpty)
            try FileManager.default.removeItem(at: entries)
            let store = ExecStore(directory: folder, logger: .quiet)
            let contents = try store.scan(for: records[4].container)
            #expect(contents.complete == full.complete && contents.highestNumber == records[4].number)
            for record in records { expect(try store.read(record.exec), toBe: record) }
            let failures = records.filter { $0.failure != nil }.map { "\($0.exec).json" }
            let left = try FileManager.default.contentsOfDirectory(atPath: folder)
            #expect(Set(left) == Set(failures + ["ended"]))
            #expect(try store.read(records[3].exec)?.failure == records[3].failure)
        }
    }

    /// As after a loss of power: the file is there, and nothing in it.
    @Test func aDamagedRecordIsNone() throws {
        try withTemporaryDirectory { folder in
            let store = ExecStore(directory: folder, logger: .quiet)
            let exec = ExecID()
            try Data().write(to: URL(fileURLWithPath: "\(folder)/\(exec).json"))
            #expect(try store.read(exec) == nil)
            #expect(try store.scan(for: ContainerID()).incomplete == [exec])
        }
    }
}
