import FastableCore
import Foundation
import Glibc
import NodeSandbox
import TestSupport
import Testing

/// Output for which the disk has no room.
@Suite("Output on a full disk", .enabled(if: InitProcess.available, "needs root and unshare"))
struct FullDiskOutputTests {
    private static let total = 12 << 20
    /// Numbered lines: a byte at a wrong place shows.
    private static let print = "seq -f %015.0f \(total / 16)"

    /// An init whose folder of commands has room for 4 MiB; `grow` gives it more.
    private func withSmallDisk(_ body: (InitProcess, () throws -> Void) async throws -> Void) async throws {
        try await InitProcess.with { process in
            mkdir(process.execs, 0o700)
            try Self.mount(["-t", "tmpfs", "-o", "size=4m", "tmpfs", process.execs])
            defer { umount2(process.execs, CInt(MNT_DETACH)) }
            try await body(process) { try Self.mount(["-o", "remount,size=64m", process.execs]) }
        }
    }

    private static func mount(_ arguments: [String]) throws {
        let process = try Process.run(URL(fileURLWithPath: "/usr/bin/mount"), arguments: arguments)
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
    }

    private static func check(_ bytes: Data, from offset: Int) {
        let skipped = (16 - offset % 16) % 16
        let whole = bytes.dropFirst(skipped)
        let wrong = stride(from: 0, to: whole.count / 16, by: 7).first { line in
            let number = (offset + skipped) / 16 + line + 1
            let expected = Array((String(repeating: "0", count: 15) + String(number)).suffix(15).utf8) + [10]
            let start = whole.startIndex + line * 16
            return !whole[start..<start + 16].elementsEqual(expected)
        }
        #expect(wrong == nil, "wrong bytes behind \(offset)")
    }

    @Test(.endsInTime) func aFollowedCommandWaitsForRoom() async throws {
        try await withSmallDisk { process, grow in
            let table = try await process.table()
            let session = try await table.shell(Self.print)
            let reader = session.events()
            try await eventually("the disk is full") { session.status.stdoutBytes >= 3 << 20 }
            try await Task.sleep(for: .milliseconds(500))
            #expect(session.status.running && session.status.stdoutBytes < 6 << 20)
            try grow()
            let done = try await reader.finish()
            #expect(done.gaps.isEmpty && done.stdout.count == Self.total && done.result.exitCode == 0)
            Self.check(done.stdout, from: 0)
            await table.close()
            let again = try await process.readBack(session.exec).finish()
            #expect(again.gaps.isEmpty && again.stdout == done.stdout)
        }
    }

    /// Nobody needs its output, so it is not held up; what is lost is told, and never shown as other bytes, by this daemon or the next.
    @Test(.endsInTime, arguments: [false, true])
    func lostBytesAreAGap(daemonDies: Bool) async throws {
        try await withSmallDisk { process, grow in
            let exec = ExecID()
            var table = try await process.table()
            let gate = process.folder + "/gate"
            let second =
                "until [ -e \(gate) ]; do sleep 0.02; done; seq -f %015.0f \(Self.total / 16 + 1) \(Self.total / 8)"
            let session = try await table.shell("\(Self.print); \(second)", exec: exec, overflow: .drop)
            try await eventually("the first half went through") { session.status.stdoutBytes == UInt64(Self.total) }
            try grow()
            if daemonDies {
                table.abandon()
                table = try await process.table()
            }
            #expect(FileManager.default.createFile(atPath: gate, contents: nil))
            try await eventually("it has ended") { try await table.status(exec).result != nil }
            for reads in ["the daemon", "the next one"] {
                let done = try await table.session(exec).finish()
                var lost = 0
                for gap in done.gaps { if case .gap(1, let from, let to) = gap { lost += Int(to - from) } }
                #expect(done.gaps.count == 1 && lost > 0 && lost < 2 * Self.total, "\(reads): \(done.gaps)")
                #expect(lost + done.stdout.count == 2 * Self.total)
                Self.check(done.stdout, from: lost)
                try await eventually("its record is complete") { process.isRecorded(exec) }
                await table.close()
                table = try await process.table()
            }
            await table.close()
        }
    }
}
