import FastableCore
import Foundation
import Glibc
import NodeSandbox
import TestSupport
import Testing

/// The disk does not take the result of a command, and later it does.
@Suite("Results on a full disk", .enabled(if: InitProcess.available, "needs root and unshare"))
struct RecordRetryTests {
    /// An init whose folder of commands is a disk of a few pages, with nothing free.
    private func withFullDisk(_ body: (InitProcess, () throws -> Void) async throws -> Void) async throws {
        try await InitProcess.with { process in
            mkdir(process.execs, 0o700)
            try mount(process.execs)
            defer { umount2(process.execs, CInt(MNT_DETACH)) }
            let filler = process.execs + "/filler"
            #expect(FileManager.default.createFile(atPath: filler, contents: Data(count: 16384)))
            try await body(process) { try FileManager.default.removeItem(atPath: filler) }
        }
    }

    private func mount(_ path: String) throws {
        let process = try Process.run(
            URL(fileURLWithPath: "/usr/bin/mount"), arguments: ["-t", "tmpfs", "-o", "size=16k", "tmpfs", path])
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
    }

    @Test func itIsWrittenAsSoonAsThereIsSpace() async throws {
        try await withFullDisk { process, free in
            let table = try await process.table()
            let session = try await table.start(["sh", "-c", "exit 7"])
            // Readers do not wait for the disk.
            #expect(try await session.finish().result.exitCode == 7)
            try await eventually("the disk refused it") { table.recordsRefused == 1 }
            #expect(!process.isRecorded(session.exec))
            try free()
            // No other command ends meanwhile.
            try await eventually("it is stored") { process.isRecorded(session.exec) && table.recordsRefused == 0 }
            await table.close()
            #expect(try await process.readBack(session.exec).finish().result.exitCode == 7)
            let folder = try FileManager.default.contentsOfDirectory(atPath: process.execs)
            #expect(Set(folder) == ["ended"], "no half file is left")
        }
    }

    @Test func howACommandEndedIsOnTheDiskItselfInAMoment() async throws {
        try await InitProcess.withTable { table, process in
            let session = try await table.shell("exit 7")
            #expect(try await session.finish().result.exitCode == 7)
            try await eventually("it is written and saved") {
                process.isRecorded(session.exec) && process.recordsAreSaved
            }
        }
    }

    @Test func initKeepsItWhenTheTableIsClosedBefore() async throws {
        try await withFullDisk { process, free in
            let table = try await process.table()
            let session = try await table.start(["sh", "-c", "exit 7"])
            #expect(try await session.finish().result.exitCode == 7)
            try await eventually("the disk refused it") { table.recordsRefused == 1 }
            await table.close()
            #expect(!process.isRecorded(session.exec))
            try free()
            let next = try await process.table()
            try await eventually("the next daemon stored it") { process.isRecorded(session.exec) }
            #expect(try await next.session(session.exec).finish().result.exitCode == 7)
            await next.close()
        }
    }
}
