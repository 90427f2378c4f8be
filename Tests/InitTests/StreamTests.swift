import FastableCore
import Foundation
import Glibc
import NIOCore
import NodeLinux
import NodeSandbox
import TestSupport
import Testing

/// Output in quantity: exact, slowed down by slow readers, and the same after every kind of interruption.
@Suite("Output streams", .enabled(if: InitProcess.available, "needs root and unshare"))
struct StreamTests {
    /// Prints random bytes to stdout, and their sha256 to stderr; `slowly` in pieces with pauses.
    private static func random(_ pieces: Int, _ process: InitProcess, slowly: Bool = false) -> String {
        let file = process.folder + "/data"
        return "head -c \(pieces * 65536) /dev/urandom > \(file); sha256sum < \(file) >&2; exec 4< \(file); "
            + (slowly ? "for i in $(seq \(pieces)); do head -c 65536 <&4; sleep 0.004; done" : "cat <&4")
    }

    private static func sha256(_ data: Data, _ process: InitProcess) async throws -> String {
        let path = process.folder + "/received-\(UUID().uuidString)"
        try data.write(to: URL(fileURLWithPath: path))
        defer { unlink(path) }
        return try await HostCommand("sha256sum", [path]).run().text.prefix(64).description
    }

    private static func check(_ done: Finished, _ process: InitProcess, count: Int) async throws {
        #expect(done.stdout.count == count && done.gaps.isEmpty && done.result.exitCode == 0)
        #expect(try await sha256(done.stdout, process) == done.errorText.prefix(64))
    }

    @Test func sixtyFourMegabytes() async throws {
        try await InitProcess.withTable { table, process in
            let done = try await table.run(Self.random(1024, process))
            try await Self.check(done, process, count: 64 << 20)
        }
    }

    @Test func severalReadersAtTheirOwnPace() async throws {
        try await InitProcess.withTable { table, process in
            let session = try await table.shell("sleep 0.2; " + Self.random(384, process))
            try await withThrowingTaskGroup(of: Void.self) { group in
                for pause in [0, 0, 1] {
                    let reader = session.events()
                    group.addTask {
                        var stdout = Data()
                        var stderr = Data()
                        while let chunk = try await reader.next() {
                            if pause > 0 { try await Task.sleep(for: .milliseconds(pause)) }
                            switch chunk {
                            case .data(1, let bytes): stdout.append(contentsOf: bytes.readableBytesView)
                            case .data(_, let bytes): stderr.append(contentsOf: bytes.readableBytesView)
                            case .started, .inputPassed, .finished: break
                            case .gap: Issue.record("a live reader lost bytes: \(chunk)")
                            }
                        }
                        #expect(stdout.count == 24 << 20)
                        #expect(
                            try await Self.sha256(stdout, process) == String(decoding: stderr.prefix(64), as: UTF8.self)
                        )
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test func aSlowReaderSlowsItsCommandOnly() async throws {
        try await InitProcess.withTable { table, process in
            let session = try await table.shell("head -c 40M /dev/zero; echo done >&2")
            let reader = session.events()
            _ = try await reader.next()
            let other = try await table.run("head -c 40M /dev/zero | wc -c")
            #expect(other.text == "41943040\n")
            try await Task.sleep(for: .milliseconds(500))
            #expect(session.status.running, "it waits for its reader")
            let done = try await reader.finish()
            #expect(done.stdout.count == 40 << 20 && done.errorText == "done\n" && done.gaps.isEmpty)
        }
    }

    @Test func anOffsetIsWhereReadingBegins() async throws {
        try await InitProcess.withTable { table, _ in
            let session = try await table.shell("printf 0123456789; printf abcdef >&2")
            _ = try await session.finish()
            let part = try await session.finish(stdoutFrom: 7, stderrFrom: 6)
            #expect(part.text == "789" && part.errorText == "")
            let later = try await table.session(session.exec).finish(stdoutFrom: 2, stderrFrom: 100)
            #expect(later.text == "23456789" && later.errorText == "")
            let tail = try await session.events(last: 4).finish()
            #expect(tail.text == "6789" && tail.errorText == "cdef")
            #expect(try await session.events(stdoutFrom: 8, last: 4).finish().text == "89")
            #expect(try await session.events(last: 4_000).finish().text == "0123456789")
            #expect(try await session.events(stdoutFrom: 8, untilNow: true).finish().text == "89")
        }
    }

    /// A reader of what is there ends there, however much comes while it reads, and however slowly it does.
    @Test(.endsInTime) func whatIsThereEndsAlsoInAFlood() async throws {
        try await InitProcess.withTable { table, _ in
            let session = try await table.shell("seq -f %015.0f 1000000000000")
            let follower = Task { for try await _ in session.events() {} }
            defer { follower.cancel() }
            let count: UInt64 = 1 << 20
            try await eventually("there is enough of it") { session.status.stdoutBytes > 2 * count }
            let reader = session.events(last: count, untilNow: true, follows: false)
            let before = session.status.stdoutBytes
            try await eventually("more has come") { session.status.stdoutBytes > before + count }
            var start: UInt64 = 0
            var bytes = Data()
            while let chunk = try await reader.next() {
                switch chunk {
                case .started(_, let offset, _, _): start = offset
                case .data(1, let part): bytes.append(contentsOf: part.readableBytesView)
                case .data, .gap, .inputPassed, .finished: Issue.record("\(chunk)")
                }
            }
            #expect(bytes.count == Int(count) && start + count <= before && session.status.running)
            let lines = (start / 16 + 1...(start + count) / 16 + 1).map { String(format: "%015llu\n", $0) }
            let isRight = bytes.elementsEqual(lines.joined().utf8.dropFirst(Int(start % 16)).prefix(bytes.count))
            #expect(isRight, "it is one piece of what was printed")
            try await table.kill(session.exec, signal: 9)
        }
    }

    /// More than is kept: the end that is there, without a gap, since a tail begins where it begins.
    @Test func aTailBeginsAtTheFirstByteThatIsKept() async throws {
        try await InitProcess.withTable { table, _ in
            let count = Limits.execOutputKeptBytes * 2
            let session = try await table.shell("yes | head -c \(count)")
            while session.status.running { try await Task.sleep(for: .milliseconds(10)) }
            let tail = try await session.events(last: UInt64(count)).finish()
            #expect(tail.gaps.isEmpty)
            #expect((1...Limits.execOutputKeptBytes).contains(tail.stdout.count), "\(tail.stdout.count)")
            #expect(tail.result.stdoutBytes == count)
        }
    }

    /// Random drops of the connection, with output of all sizes under way.
    @Test func theConnectionMayBreakAtAnyTime() async throws {
        try await InitProcess.withTable { table, process in
            async let finished = table.run(Self.random(192, process, slowly: true))
            async let small = table.run("for i in $(seq 300); do echo line $i; sleep 0.003; done")
            for _ in 0..<60 {
                try await Task.sleep(for: .milliseconds(Int.random(in: 5...40)))
                table.dropConnection()
            }
            try await Self.check(try await finished, process, count: 12 << 20)
            #expect(try await small.text == (1...300).map { "line \($0)\n" }.joined())
        }
    }

    /// The daemon dies without warning, again and again; a reader goes on by offset in the next one.
    @Test func theDaemonMayDieAtAnyTime() async throws {
        try await InitProcess.with { process in
            var table = try await process.table()
            let exec = ExecID()
            _ = try await table.start(ExecCommand.shell(Self.random(128, process, slowly: true)), exec: exec)
            var stdout = Data()
            var stderr = Data()
            var result: ExecResult?
            for round in 0..<2000 where result == nil {
                if round > 0 { table = try await process.table() }
                let reader = try await table.session(exec).events(
                    stdoutFrom: UInt64(stdout.count), stderrFrom: UInt64(stderr.count))
                for _ in 0..<10 {
                    guard let chunk = try await reader.next() else { break }
                    switch chunk {
                    case .inputPassed: break
                    case .started(_, let out, let err, _): #expect(out == stdout.count && err == stderr.count)
                    case .data(1, let bytes): stdout.append(contentsOf: bytes.readableBytesView)
                    case .data(_, let bytes): stderr.append(contentsOf: bytes.readableBytesView)
                    case .gap: Issue.record("bytes were lost: \(chunk)")
                    case .finished(let end): result = end
                    }
                }
                if result == nil { table.abandon() }
            }
            #expect(result?.exitCode == 0 && result?.stdoutBytes == 8 << 20)
            #expect(try await Self.sha256(stdout, process) == String(decoding: stderr.prefix(64), as: UTF8.self))
            await table.close()
        }
    }

    @Test func resultsOutliveTheDaemon() async throws {
        try await InitProcess.with { process in
            let first = try await process.table()
            let done = try await first.shell("echo out; echo err >&2; exit 5")
            _ = try await done.finish()
            let whileAway = try await first.shell("sleep 0.3; echo while away; exit 6")
            // Commands are taken in order: once this one has ended, init has the other.
            _ = try await first.run("true")
            first.abandon()
            try await Task.sleep(for: .milliseconds(600))
            let second = try await process.table()
            let recovered = try await second.session(done.exec).finish()
            #expect(recovered.text == "out\n" && recovered.errorText == "err\n" && recovered.result.exitCode == 5)
            let other = try await second.session(whileAway.exec).finish()
            #expect(other.text == "while away\n" && other.result.exitCode == 6)
            #expect(try await second.status(done.exec).running == false)
            // Numbers go on where the first daemon stopped.
            #expect(try await second.run("echo new").text == "new\n")
            await second.close()
        }
    }

    /// The deadline holds while no daemon is there.
    @Test func theDeadlineHoldsWithoutADaemon() async throws {
        try await InitProcess.with { process in
            let first = try await process.table()
            let session = try await first.shell("sleep 1000", milliseconds: 1500)
            // Commands are taken in order: once this one has ended, init has the other.
            _ = try await first.run("true")
            first.abandon()
            try await eventually("nothing of it is left") { process.commandProcesses.isEmpty }
            let second = try await process.table()
            let result = try await second.session(session.exec).finish().result
            #expect(result.timedOut && result.signal == "SIGTERM" && result.durationMilliseconds >= 1450)
            await second.close()
        }
    }
}
