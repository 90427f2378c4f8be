import FastableCore
import Foundation
import Glibc
import NIOCore
import NodeSandbox
import TestSupport
import Testing

/// What becomes of more output than is kept, with a real init and daemons that die.
@Suite("Too much output", .enabled(if: InitProcess.available, "needs root and unshare"))
struct OverflowTests {
    private static let megabytes = 48
    /// Numbered lines, so that what is wrong tells where it came from.
    private static let print = "seq -f %015.0f \(megabytes << 16)"
    private static let total = megabytes << 20

    private static func isHeld(_ session: ExecSession) async throws {
        let kept = UInt64(Limits.execOutputKeptBytes)
        try await eventually("as much as is kept was printed") {
            session.status.stdoutBytes >= kept - UInt64(Limits.initRingBytes)
        }
        try await Task.sleep(for: .milliseconds(300))
        #expect(session.status.running && session.status.stdoutBytes <= kept + UInt64(Limits.initRingBytes))
    }

    /// Reads up to `count` bytes and vanishes.
    private static func read(_ session: ExecSession, from offset: Int, _ count: Int) async throws -> Data {
        let reader = session.events(stdoutFrom: UInt64(offset))
        var bytes = Data()
        while bytes.count < count, let chunk = try await reader.next() {
            if case .gap = chunk { Issue.record("bytes were lost: \(chunk)") }
            if case .data(1, let part) = chunk { bytes.append(contentsOf: part.readableBytesView) }
        }
        return bytes
    }

    private static func check(_ bytes: Data, from offset: Int = 0) {
        // Missing bytes would move all lines behind them.
        let first = stride(from: 0, to: bytes.count / 16, by: 61).first { line in
            let expected = String(repeating: "0", count: 15) + String(offset / 16 + line + 1)
            return !bytes[(line * 16)..<(line * 16 + 16)].elementsEqual(Array(expected.suffix(15).utf8) + [10])
        }
        #expect(first == nil, "the line at \(offset + (first ?? 0) * 16) is wrong")
    }

    @Test(.endsInTime) func aCommandWaitsForWhoStartedIt() async throws {
        try await InitProcess.withTable { table, _ in
            let session = try await table.shell(Self.print)
            try await Self.isHeld(session)
            let done = try await session.finish()
            #expect(done.gaps.isEmpty && done.stdout.count == Self.total && done.result.exitCode == 0)
            Self.check(done.stdout)
        }
    }

    @Test(.endsInTime) func itWaitsForAReaderThatVanished() async throws {
        try await InitProcess.withTable { table, _ in
            let session = try await table.shell(Self.print)
            let first = try await Self.read(session, from: 0, 30 << 20)
            try await eventually("it is held back") { session.status.stdoutBytes >= UInt64(40 << 20) }
            try await Task.sleep(for: .milliseconds(300))
            #expect(session.status.running)
            // The last megabytes were still on their way to it.
            let arrived = first.count / 16 * 16 - (12 << 20)
            let rest = try await session.finish(stdoutFrom: UInt64(arrived))
            #expect(rest.gaps.isEmpty && arrived + rest.stdout.count == Self.total)
            Self.check(first.prefix(arrived) + rest.stdout)
        }
    }

    /// Daemons die again and again, each at another place; what a reader has not got is there in the next one.
    @Test(.endsInTime) func itWaitsAlsoInTheNextDaemon() async throws {
        try await InitProcess.with { process in
            let exec = ExecID()
            var table = try await process.table()
            var session = try await table.shell(Self.print, exec: exec)
            var bytes = Data()
            for piece in [20, 2, 9, 14] {
                bytes += try await Self.read(session, from: bytes.count, piece << 20)
                // As with a reader that never got the last of it.
                bytes = bytes.prefix(bytes.count / 16 * 16 - (3 << 20))
                try await Task.sleep(for: .milliseconds(200))
                table.abandon()
                table = try await process.table()
                session = try await table.session(exec)
                try await Task.sleep(for: .milliseconds(200))
            }
            let rest = try await session.finish(stdoutFrom: UInt64(bytes.count))
            #expect(rest.gaps.isEmpty && bytes.count + rest.stdout.count == Self.total)
            Self.check(bytes + rest.stdout)
            await table.close()
        }
    }

    /// Two followers of a command die with the daemon; the one that comes back first takes nothing from the other.
    @Test(.endsInTime) func afterARestartTheFirstDoesNotTakeFromTheSecond() async throws {
        try await InitProcess.with { process in
            let exec = ExecID()
            let first = try await process.table()
            let session = try await first.shell(Self.print, exec: exec)
            let readers = [session.events(), session.events()]
            for reader in readers { _ = try await reader.next() }
            try await Self.isHeld(session)
            first.abandon()
            let second = try await process.table()
            let again = try await second.session(exec)
            let fast = Task { try await again.finish() }
            try await Task.sleep(for: .milliseconds(500))
            let slow = try await again.finish()
            #expect(slow.gaps.isEmpty && slow.stdout.count == Self.total)
            #expect(try await fast.value.gaps.isEmpty)
            withExtendedLifetime(readers) {}
            await second.close()
        }
    }

    @Test(.endsInTime, arguments: [false, true])
    func whoChoseToDropIsNeverHeldBack(daemonDies: Bool) async throws {
        try await InitProcess.with { process in
            let exec = ExecID()
            var table = try await process.table()
            var session = try await table.shell("sleep 0.5; " + Self.print, exec: exec, overflow: .drop)
            var reader = session.events()
            _ = try await reader.next()
            if daemonDies {
                // Commands are taken in order: once this one has ended, init has the other.
                _ = try await table.run("true")
                table.abandon()
                table = try await process.table()
                session = try await table.session(exec)
                reader = session.events()
                _ = try await reader.next()
            }
            try await eventually("it ends by itself") { !session.status.running }
            let kept = UInt64(Limits.execOutputKeptBytes)
            let done = try await session.finish()
            guard case .gap(1, 0, let end) = done.gaps.first else {
                Issue.record("the dropped bytes must be told")
                return
            }
            #expect(end >= UInt64(Self.total) - kept && end < UInt64(Self.total) && done.gaps.count == 1)
            #expect(done.stdout.count == Self.total - Int(end) && done.result.stdoutBytes == UInt64(Self.total))
            Self.check(Data(done.stdout.dropFirst(Int(16 - end % 16) % 16)), from: Int((end + 15) / 16 * 16))
            var file = stat()
            try #require(stat("\(process.execs)/\(exec)/stdout", &file) == 0)
            // The file system may need some for itself.
            #expect(Int(file.st_blocks) * 512 <= Limits.execOutputKeptBytes + (1 << 20))
            await table.close()
        }
    }
}
