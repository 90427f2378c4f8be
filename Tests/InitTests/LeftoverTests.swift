import FastableCore
import Foundation
import Glibc
import NodeSandbox
import TestSupport
import Testing

/// What commands leave running in the background when they, and all that they print, are over.
@Suite("What commands leave running", .enabled(if: InitProcess.available, "needs root and unshare"))
struct LeftoverTests {
    private static let daemon = "setsid sleep 1000 >/dev/null 2>&1 </dev/null & echo started"

    /// Its record is complete, and init has forgotten it.
    private func startsDaemon(_ table: ExecTable, _ process: InitProcess) async throws -> (ExecID, String) {
        let before = Set(process.commandProcesses)
        let exec = ExecID()
        #expect(try await table.shell(Self.daemon, exec: exec).finish().text == "started\n")
        try await eventually("the record is there") { process.isRecorded(exec) }
        var found: String?
        try await eventually("the daemon alone is left") {
            let new = process.commandProcesses.filter { !before.contains($0) }
            found = new.first
            return new.count == 1
        }
        return (exec, try #require(found))
    }

    @Test(arguments: [false, true]) func theyAreEndedWithTheCommand(byTheNextDaemon: Bool) async throws {
        try await InitProcess.with { process in
            var table = try await process.table()
            let (spared, sparedPID) = try await startsDaemon(table, process)
            let (doomed, doomedPID) = try await startsDaemon(table, process)
            if byTheNextDaemon {
                table.abandon()
                table = try await process.table()
            }
            let receipt = try await table.end(doomed, signal: 15, grace: .seconds(60))
            #expect(receipt.everythingEnded && !receipt.wasForced && receipt.result?.exitCode == 0)
            #expect(!InitProcess.isAlive(doomedPID), "the receipt is true")
            #expect(InitProcess.isAlive(sparedPID), "and of no other command")
            // There is nothing left to end, which is no error.
            #expect(try await !table.end(doomed, signal: 15, grace: .seconds(60)).wasForced)
            try await table.kill(spared, signal: 9)
            #expect(!InitProcess.isAlive(sparedPID))
            await table.close()
        }
    }

    /// Numbers name control groups: one that a daemon still has is nobody else's, also in the next run of the node.
    @Test func theNextDaemonGivesNoNumberTwice() async throws {
        try await InitProcess.with { process in
            let first = try await process.table()
            for _ in 0..<3 { _ = try await first.run("true") }
            let (_, pid) = try await startsDaemon(first, process)
            for _ in 0..<3 { _ = try await first.run("true") }
            first.abandon()
            let second = try await process.table()
            for number in 0..<10 { #expect(try await second.run("echo \(number)").text == "\(number)\n") }
            // Also when the records are gone: the group itself tells.
            second.abandon()
            try process.loseRecords()
            let third = try await process.table()
            for number in 0..<10 { #expect(try await third.run("echo \(number)").text == "\(number)\n") }
            #expect(InitProcess.isAlive(pid))
            await third.close()
        }
    }

    /// It is heard at whatever step on the way to its program the command is.
    @Test(.endsInTime) func aSignalIsHeardFromTheFirstMomentOn() async throws {
        try await InitProcess.withTable { table, _ in
            for round in 0..<300 {
                let session = try await table.start(["/bin/sleep", "1000"])
                let receipt = try await table.end(session.exec, signal: 15, grace: .seconds(300))
                #expect(receipt.everythingEnded && !receipt.wasForced, "round \(round)")
            }
        }
    }

    private static func isStopped(_ pid: String) -> Bool {
        (try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8))?.contains(") T ") ?? false
    }

    @Test(arguments: [false, true]) func stoppedProcessesAreEndedToo(byTheirDeadline: Bool) async throws {
        try await InitProcess.withTable { table, process in
            let session = try await table.shell(
                "(kill -STOP $BASHPID; sleep 1000) & setsid sleep 1000 & kill -STOP $$",
                milliseconds: byTheirDeadline ? 10_000 : 600_000)
            try await eventually("all are there, and two stand still") {
                let all = process.commandProcesses
                return all.count >= 3 && all.count(where: Self.isStopped) == 2
            }
            let doomed = process.commandProcesses
            if byTheirDeadline {
                #expect(try await session.finish().result.timedOut)
            } else {
                let receipt = try await table.end(session.exec, signal: 15, grace: .milliseconds(300))
                #expect(receipt.everythingEnded && receipt.wasForced)
            }
            #expect(doomed.allSatisfy { !InitProcess.isAlive($0) })
        }
    }

    /// Who reads slowly must not keep others from ending the command, nor from being told so.
    @Test(.endsInTime, arguments: [false, true])
    func aSlowReaderDoesNotHoldUpTheReceipt(obeys: Bool) async throws {
        try await InitProcess.withTable { table, process in
            let flood = obeys ? "exec yes" : "trap '' TERM; while :; do yes | head -c 10000000; done"
            let session = try await table.shell(flood)
            let reader = session.events()
            _ = try await reader.next()
            try await eventually("it is held back") {
                session.status.stdoutBytes >= UInt64(Limits.execOutputKeptBytes - Limits.initRingBytes)
            }
            let doomed = process.commandProcesses
            let began = ContinuousClock.now
            let receipt = try await table.end(
                session.exec, signal: 15, grace: .seconds(obeys ? Limits.execReaderGraceSeconds : 1))
            let took = ContinuousClock.now - began
            #expect(receipt.everythingEnded && receipt.wasForced == !obeys)
            #expect(doomed.allSatisfy { !InitProcess.isAlive($0) })
            #expect(took < .seconds(Limits.execReaderGraceSeconds), "took \(took)")
            #expect(!session.status.running)
            // What it had printed is there to the last byte, and its end behind it.
            let done = try await reader.finish()
            #expect(done.gaps.isEmpty && done.result.signal == (obeys ? "SIGTERM" : "SIGKILL"))
            #expect(UInt64(done.stdout.count) == done.result.stdoutBytes)
        }
    }

    @Test func anEndedCommandIsNotStartedAgain() async throws {
        try await InitProcess.withTable { table, process in
            let exec = ExecID()
            let file = process.folder + "/ran"
            let script = "echo ran >> \(file)"
            _ = try await table.shell(script, exec: exec).finish()
            try await eventually("it is over") {
                table.runningCount == 0 && process.isRecorded(exec)
            }
            #expect(try await expectError { try await table.shell(script, exec: exec) }.code == .conflict)
            _ = try await table.run("true")
            #expect(try String(contentsOfFile: file, encoding: .utf8) == "ran\n")
        }
    }
}
