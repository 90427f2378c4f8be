import FastableCore
import Foundation
import NIOCore
import NodeLinux
import NodeSandbox
import TestSupport
import Testing

/// What commands are given to read: exact, slowed down by commands that do not read, and the same after interruptions.
@Suite("Input", .enabled(if: InitProcess.available, "needs root and unshare"))
struct InputTests {
    @Test func aCommandReadsWhatIsWrittenAndThenItsEnd() async throws {
        try await InitProcess.withTable { table, _ in
            let session = try await table.start(["/bin/cat"], takesInput: true)
            try await session.write(ByteBuffer(string: "one\n"), at: 0)
            try await session.write(ByteBuffer(string: "two\n"), at: 4)
            try session.finishInput()
            let done = try await session.finish()
            #expect(done.text == "one\ntwo\n" && done.result.exitCode == 0)
        }
    }

    @Test func withoutInputACommandReadsAnEndOfFile() async throws {
        try await InitProcess.withTable { table, _ in
            let session = try await table.start(["/bin/cat"])
            #expect(try await session.finish().result.exitCode == 0)
            let other = try await table.shell("sleep 60")
            let error = try await expectError { try await other.write(ByteBuffer(string: "x"), at: nil) }
            #expect(error.code == .conflict)
        }
    }

    @Test func bytesThatCameBeforeAreSkippedAndGapsAreRefused() async throws {
        try await InitProcess.withTable { table, _ in
            let session = try await table.start(["/bin/cat"], takesInput: true)
            try await session.write(ByteBuffer(string: "abc"), at: 0)
            try await session.write(ByteBuffer(string: "bcde"), at: 1)
            let error = try await expectError { try await session.write(ByteBuffer(string: "x"), at: 9) }
            #expect(error.code == .conflict && error.details["inputOffset"] == 5)
            try session.finishInput()
            #expect(try await session.finish().text == "abcde")
        }
    }

    /// Four megabytes through a command that pauses, while connections to init are dropped.
    @Test func muchInputSurvivesLostConnections() async throws {
        try await InitProcess.withTable { table, process in
            let session = try await table.start(
                ["/bin/bash", "-c", "sleep 0.3; sha256sum; wc -c < /dev/null"], takesInput: true)
            var generator = SystemRandomNumberGenerator()
            let piece = 64 * 1024
            var all = Data()
            for number in 0..<64 {
                let bytes = Data((0..<piece).map { _ in UInt8.random(in: 0...255, using: &generator) })
                try await Self.write(bytes, at: UInt64(all.count), to: session)
                all.append(bytes)
                if number % 16 == 7 { table.dropConnection() }
            }
            try session.finishInput()
            let done = try await session.finish()
            let path = process.folder + "/sent"
            try all.write(to: URL(fileURLWithPath: path))
            let expected = try await HostCommand("sha256sum", [path]).run().text.prefix(64)
            #expect(done.text.prefix(64) == expected)
        }
    }

    /// Pieces that the command's pipe takes a part of.
    @Test(.endsInTime) func piecesOfAnySizeArePassedOnWhole() async throws {
        try await InitProcess.withTable { table, process in
            let session = try await table.start(
                ["/bin/bash", "-c", "sleep 0.3; sha256sum"], takesInput: true)
            var all = Data()
            for size in [
                12_624, 30_000, 29_999, 106_981, 24_313, 1, 20_000, 65_535, 65_537, 30_001, 200_000, 7, 131_073, 99_999,
            ] {
                let bytes = Data((0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 7) })
                try await Self.write(bytes, at: UInt64(all.count), to: session)
                all.append(bytes)
            }
            try session.finishInput()
            let done = try await session.finish()
            let path = process.folder + "/sent"
            try all.write(to: URL(fileURLWithPath: path))
            let expected = try await HostCommand("sha256sum", [path]).run().text.prefix(64)
            #expect(done.text.prefix(64) == expected)
        }
    }

    private static func write(_ bytes: Data, at offset: UInt64, to session: ExecSession) async throws {
        try await session.write(ByteBuffer(bytes: bytes), at: offset)
    }

    @Test func aRestartedDaemonGoesOnWhereTheInputWas() async throws {
        try await InitProcess.with { process in
            let exec = ExecID()
            let first = try await process.table()
            let session = try await first.start(["/bin/cat"], exec: exec, takesInput: true)
            try await session.write(ByteBuffer(string: "before "), at: 0)
            try await eventually("the bytes are passed on") {
                session.inputProgress.passed == 7
            }
            first.abandon()
            let second = try await process.table()
            let again = try await second.session(exec)
            guard case .started(_, _, _, let offset)? = try await again.events(followsInput: true).next() else {
                Issue.record("no beginning")
                return
            }
            #expect(offset == 7)
            try await again.write(ByteBuffer(string: "e after"), at: 5)
            try again.finishInput()
            #expect(try await again.finish().text == "before after")
            await second.close()
        }
    }

    /// As with a disk that has gone bad: neither does it wait for ever, nor does it take a part for the whole.
    @Test(.endsInTime) func aCommandWhoseInputIsLostIsEnded() async throws {
        try await InitProcess.with { process in
            let exec = ExecID()
            let first = try await process.table()
            let input = ByteBuffer(repeating: UInt8(ascii: "x"), count: Limits.execInputTextBytes)
            let command = ExecCommand(
                arguments: ["/bin/bash", "-c", "head -c 1 > /dev/null; until false; do sleep 0.1; done"],
                workingDirectory: "/", environment: ["PATH": "/usr/bin:/bin"], timeoutMilliseconds: 600_000,
                takesInput: true)
            _ = try await first.start(
                exec: exec, container: process.container, command: command, user: ExecUser(uid: 0, gid: 0), input: input
            )
            first.abandon()
            let file = "\(process.execs)/\(exec)/input"
            try FileManager.default.removeItem(atPath: file)
            // Opens, and cannot be read.
            try FileManager.default.createDirectory(atPath: file, withIntermediateDirectories: false)
            let second = try await process.table()
            let done = try await second.session(exec).finish()
            #expect(done.result.signal == "SIGTERM")
            await second.close()
        }
    }

    @Test(.endsInTime) func aCommandThatDoesNotReadHoldsItsWriterUpAndNobodyElse() async throws {
        try await InitProcess.withTable { table, _ in
            let session = try await table.shell("sleep 60")
            try session.finishInput()
            let deaf = try await table.start(["/bin/sleep", "60"], takesInput: true)
            let writer = Task {
                for offset in stride(from: UInt64(0), to: 4 << 20, by: 1 << 16) {
                    try await deaf.write(ByteBuffer(repeating: 0x78, count: 1 << 16), at: offset)
                }
            }
            #expect(try await table.run("echo fine").text == "fine\n")
            try await eventually("the writer waits") { deaf.inputProgress.waitingWriters > 0 }
            try await table.kill(deaf.exec, signal: 9)
            // What a command that has ended did not read is dropped: its writer is no longer held up.
            try await writer.value
            #expect(try await deaf.finish().result.signal == "SIGKILL")
        }
    }

    @Test func aCommandThatClosesItsInputGetsNothingMore() async throws {
        try await InitProcess.withTable { table, _ in
            let session = try await table.start(["/bin/sh", "-c", "exec <&-; sleep 0.3; echo done"], takesInput: true)
            for offset in stride(from: UInt64(0), to: 1 << 20, by: 1 << 16) {
                try await session.write(ByteBuffer(repeating: 0x78, count: 1 << 16), at: offset)
            }
            #expect(try await session.finish().text == "done\n")
        }
    }
}

/// Commands in a terminal.
@Suite("Terminals", .enabled(if: InitProcess.available, "needs root and unshare"))
struct TerminalTests {
    private static let size = TerminalSize(rows: 24, columns: 80)

    @Test func itIsATerminalOfTheRightSizeAndStderrGoesThere() async throws {
        try await InitProcess.withTable { table, _ in
            let script = "test -t 0 && test -t 1 && test -t 2 && tty >/dev/null && stty size; echo oops >&2; exit 3"
            let session = try await table.start(["/bin/bash", "-c", script], terminal: Self.size)
            let done = try await session.finish()
            #expect(done.text == "24 80\r\noops\r\n" && done.stderr.isEmpty && done.result.exitCode == 3)
        }
    }

    @Test func aNewSizeIsToldToTheForeground() async throws {
        try await InitProcess.withTable { table, _ in
            let script = "trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done"
            let session = try await table.start(["/bin/bash", "-c", script], terminal: Self.size)
            let reader = session.events()
            try await Self.read("ready", reader)
            session.resize(TerminalSize(rows: 50, columns: 132))
            #expect(try await reader.finish().text.hasSuffix("50 132\r\n"))
        }
    }

    /// Job control: what is typed reaches the foreground, Ctrl-C interrupts it and not the shell.
    @Test(.endsInTime) func aShellWithJobControl() async throws {
        try await InitProcess.withTable { table, _ in
            let session = try await table.start(
                ["/bin/bash", "--norc", "--noprofile", "-i"], environment: ["PS1": "> ", "TERM": "dumb"],
                terminal: Self.size)
            let reader = session.events()
            try await Self.read("> ", reader)
            try await session.write(ByteBuffer(string: "sleep 100\n"), at: nil)
            try await Self.read("sleep 100\r\n", reader)
            try await eventually("sleep runs") { try await table.run("pgrep -f 'sleep 100$'").result.exitCode == 0 }
            try await session.write(ByteBuffer(bytes: [3]), at: nil)
            try await Self.read("^C", reader)
            try await session.write(ByteBuffer(string: "echo status $?\n"), at: nil)
            try await Self.read("status 130", reader)
            // An end of file, as from a keyboard, ends the shell.
            try session.finishInput()
            #expect(try await reader.finish().result.exitCode == 130 || session.status.result?.exitCode == 0)
        }
    }

    /// A line that has only begun is passed on first; without that, its program would wait for the rest.
    @Test(.endsInTime, arguments: ["", "one\n", "abc", "one\nabc"])
    func aProgramReadsTheEndWhereverItIs(text: String) async throws {
        try await InitProcess.withTable { table, _ in
            let session = try await table.start(
                ["/bin/sh", "-c", "stty -echo; echo ready; exec cat"], terminal: Self.size)
            let reader = session.events()
            try await Self.read("ready", reader)
            try await session.write(ByteBuffer(string: text), at: nil)
            try session.finishInput()
            let done = try await session.finish()
            #expect(done.text == "ready\r\n" + text.replacing("\n", with: "\r\n") && done.result.exitCode == 0)
        }
    }

    /// A terminal has room for a small part of this; what follows, the end too, waits for a program that reads late.
    @Test(.endsInTime, arguments: ["", "abc"]) func theEndWaitsForAProgramThatReadsLate(rest: String) async throws {
        try await InitProcess.withTable { table, process in
            let go = process.folder + "/go"
            let script = "stty -echo; echo ready; until [ -e \(go) ]; do sleep 0.05; done; exec wc -c"
            let session = try await table.start(["/bin/bash", "-c", script], terminal: Self.size)
            let reader = session.events()
            try await Self.read("ready", reader)
            let line = String(repeating: "x", count: 63) + "\n"
            let text = String(repeating: line, count: 1024) + rest
            try await session.write(ByteBuffer(string: text), at: nil)
            try session.finishInput()
            // Requests are taken in order: once this one has ended, init has the end of the other one's input.
            _ = try await table.run("true")
            #expect(FileManager.default.createFile(atPath: go, contents: nil))
            #expect(try await reader.finish().text.contains("\(text.utf8.count)\r\n"))
        }
    }

    @Test func aSignalGoesToTheForeground() async throws {
        try await InitProcess.withTable { table, _ in
            let session = try await table.start(
                ["/bin/bash", "--norc", "--noprofile", "-ic", "sleep 100; echo status $?"], terminal: Self.size)
            try await eventually("sleep runs") { try await table.run("pgrep -f 'sleep 100$'").result.exitCode == 0 }
            try await table.kill(session.exec, signal: 15)
            #expect(try await session.finish().text.contains("status 143"))
        }
    }

    /// A command may let go of its terminal and run on; what init still watches of that must not keep it busy.
    @Test func aTerminalThatNobodyHoldsCostsNothing() async throws {
        try await InitProcess.withTable { table, process in
            let script = "echo ready; exec sleep 60 <&- >&- 2>&-"
            let session = try await table.start(["/bin/bash", "-c", script], terminal: Self.size)
            let reader = session.events()
            while let chunk = try await reader.next() { if case .data = chunk { break } }
            let before = try process.processorTicks()
            try await Task.sleep(for: .milliseconds(500))
            #expect(try process.processorTicks() - before <= 5, "it must not spin")
            session.signal(SIGKILL)
            #expect(try await reader.finish().result.signal == "SIGKILL")
        }
    }

    /// More output than a terminal holds, also while a process in the background keeps the terminal open.
    @Test(arguments: [false, true]) func noOutputIsLost(holdsOpen: Bool) async throws {
        try await InitProcess.withTable { table, _ in
            let script = (holdsOpen ? "sleep 60 & " : "") + "stty -opost; seq 1 20000; exit 7"
            let session = try await table.start(["/bin/bash", "-c", script], terminal: Self.size)
            let done = try await session.finish()
            #expect(done.text == (1...20000).map { "\($0)\n" }.joined() && done.result.exitCode == 7)
            try await table.kill(session.exec, signal: 9)
        }
    }

    @Test func aProgramThatIsNotRootOwnsItsTerminal() async throws {
        try await InitProcess.withTable { table, _ in
            let session = try await table.start(
                ["/bin/sh", "-c", "stat -c %u $(tty); echo hello > $(tty)"], user: ExecUser(uid: 1000, gid: 1000),
                terminal: Self.size)
            #expect(try await session.finish().text == "1000\r\nhello\r\n")
        }
    }

    private static func read(_ text: String, _ reader: ExecReader) async throws {
        var seen = ""
        while !seen.contains(text), case .some(let chunk) = try await reader.next() {
            if case .data(_, let bytes) = chunk { seen += String(buffer: bytes) }
            if case .finished = chunk { break }
        }
        #expect(seen.contains(text))
    }
}
