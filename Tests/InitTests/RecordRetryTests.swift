import FastableCore
import Foundation
import Glibc
import NodeSandbox
import TestSupport
import Testing

/// The disk does not take the result of a command, and later it does.
@Suite("Results on a full disk", .enabled(if: InitProcess.available, "needs root and unshare"))
struct RecordRetryTests {
    /// An init whose folder of commands is a disk of one page, with nothing free.
    private func withFullDisk(_ body: (InitProcess, () throws -> Void) async throws -> Void) async throws {
        try await InitProcess.with { process in
            mkdir(process.execs, 0o700)
            try mount(process.execs)
            defer { umount2(process.execs, CInt(MNT_DETACH)) }
            let filler = process.execs + "/filler"
            #expect(FileManager.default.createFile(atPath: filler, contents: Data(count: 4096)))
            try await body(process) { try FileManager.default.removeItem(atPath: filler) }
        }
    }

    private func mount(_ path: String) throws {
        let process = try Process.run(
            URL(fileURLWithPath: "/usr/bin/mount"), arguments: ["-t", "tmpfs", "-o", "size=4k", "tmpfs", path])
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
    }

    private func isRecorded(_ exec: ExecID, _ process: InitProcess) -> Bool {
        access("\(process.execs)/\(exec).json", F_OK) == 0
    }

    @Test func itIsWrittenAsSoonAsThereIsSpace() async throws {
        try await withFullDisk { process, free in
            let table = try await process.table()
            let session = try await table.start(["sh", "-c", "exit 7"])
            // Readers do not wait for the disk.
            #expect(try await session.finish().result.exitCode == 7)
            try await eventually("the disk refused it") { table.recordsRefused == 1 }
            #expect(!isRecorded(session.exec, process))
            try free()
            // No other command ends meanwhile.
            try await eventually("it is stored") { isRecorded(session.exec, process) && table.recordsRefused == 0 }
            await table.close()
            #expect(try await process.readBack(session.exec).finish().result.exitCode == 7)
            let folder = try FileManager.default.contentsOfDirectory(atPath: process.execs)
            #expect(folder == ["\(session.exec).json"], "no half file is left")
        }
    }

    @Test func initKeepsItWhenTheTableIsClosedBefore() async throws {
        try await withFullDisk { process, free in
            let table = try await process.table()
            let session = try await table.start(["sh", "-c", "exit 7"])
            #expect(try await session.finish().result.exitCode == 7)
            try await eventually("the disk refused it") { table.recordsRefused == 1 }
            await table.close()
            #expect(!isRecorded(session.exec, process))
            try free()
            let next = try await process.table()
            try await eventually("the next daemon stored it") { isRecorded(session.exec, process) }
            #expect(try await next.session(session.exec).finish().result.exitCode == 7)
            await next.close()
        }
    }
}
