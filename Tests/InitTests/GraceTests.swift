import FastableCore
import Foundation
import Glibc
import NodeSandbox
import TestSupport
import Testing

/// Whoever is to end is asked first, wherever it went, and has the time that was given to do so.
@Suite("The grace of commands that are to end", .enabled(if: InitProcess.available, "needs root and unshare"))
struct GraceTests {
    /// How a shell, which obeys at once, starts what needs its time.
    private static let ways = [
        "sh %s & wait", "set -m; sh %s & wait", "setsid sh %s & wait", "(setsid sh %s &); exec sleep 1000",
    ]

    /// A program that saves its work when it is asked to end, which takes its time.
    private struct Child {
        let folder: String
        private var script: String { folder + "/child.sh" }
        private var ready: String { folder + "/ready" }
        private var saved: String { folder + "/saved" }

        init(_ process: InitProcess, seconds: Double) throws {
            folder = process.folder
            let text = """
                trap 'trap "" TERM; sleep \(seconds); echo done > \(folder)/saved; exit 0' TERM
                touch \(folder)/ready
                while :; do sleep 0.05; done
                """
            try Data(text.utf8).write(to: URL(fileURLWithPath: script))
        }

        func line(_ way: String) -> String { way.replacing("%s", with: script) }

        func isReady() async throws { try await eventually("the child runs") { access(ready, F_OK) == 0 } }

        var hasSaved: Bool { access(saved, F_OK) == 0 }
    }

    @Test(arguments: ways) func everyProcessIsAskedAndWaitedFor(way: String) async throws {
        try await InitProcess.withTable { table, process in
            let child = try Child(process, seconds: 0.5)
            let session = try await table.shell(child.line(way))
            try await child.isReady()
            let receipt = try await table.end(session.exec, signal: SIGTERM, grace: .seconds(300))
            #expect(receipt.everythingEnded && !receipt.wasForced)
            #expect(child.hasSaved, "it had its time")
            #expect(process.commandProcesses.isEmpty)
            // The receipt does not wait long for it.
            #expect(try await session.finish().result.signal == "SIGTERM")
        }
    }

    @Test(arguments: ways) func whatIsLeftAfterTheGraceIsKilled(way: String) async throws {
        try await InitProcess.withTable { table, process in
            let child = try Child(process, seconds: 1000)
            let session = try await table.shell(child.line(way))
            try await child.isReady()
            let doomed = process.commandProcesses
            let receipt = try await table.end(session.exec, signal: SIGTERM, grace: .milliseconds(100))
            #expect(receipt.everythingEnded && receipt.wasForced)
            #expect(doomed.allSatisfy { !InitProcess.isAlive($0) })
            #expect(!child.hasSaved)
        }
    }

    /// The command obeys, and init may have forgotten it when the time of what it started is over.
    @Test(.endsInTime) func whatOutlivesItsCommandIsKilledAfterTheGrace() async throws {
        try await InitProcess.withTable { table, process in
            let child = try Child(process, seconds: 1000)
            let way = "setsid sh %s >/dev/null 2>&1 </dev/null & exec sleep 1000"
            let session = try await table.shell(child.line(way))
            try await child.isReady()
            let receipt = try await table.end(session.exec, signal: SIGTERM, grace: .seconds(2))
            #expect(receipt.everythingEnded && receipt.wasForced)
            #expect(process.commandProcesses.isEmpty, "the receipt is true")
            #expect(!child.hasSaved)
            #expect(try await session.finish().result.signal == "SIGTERM")
        }
    }

    /// Its time is over, but not that for an orderly end.
    @Test(arguments: ways) func theDeadlineAsksEveryProcessToo(way: String) async throws {
        try await InitProcess.withTable { table, process in
            // The time for an orderly end is not the test's.
            let child = try Child(process, seconds: 0.1)
            let session = try await table.shell(child.line(way), milliseconds: 8000)
            try await child.isReady()
            let result = try await session.finish().result
            #expect(result.timedOut && result.signal == "SIGTERM")
            #expect(child.hasSaved)
            #expect(process.commandProcesses.isEmpty, "nothing of it lives when the result is told")
        }
    }

    /// The command is over and init has forgotten it.
    @Test func whatACommandLeftRunningIsAskedToo() async throws {
        try await InitProcess.withTable { table, process in
            let child = try Child(process, seconds: 0.5)
            let exec = ExecID()
            _ = try await table.shell(child.line("setsid sh %s >/dev/null 2>&1 </dev/null &"), exec: exec).finish()
            try await child.isReady()
            try await eventually("the record is there") { process.isRecorded(exec) }
            let receipt = try await table.end(exec, signal: SIGTERM, grace: .seconds(300))
            #expect(receipt.everythingEnded && !receipt.wasForced && receipt.result?.exitCode == 0)
            #expect(child.hasSaved && process.commandProcesses.isEmpty)
        }
    }

    /// Nothing in a frozen group can do what it is asked, and all the same nothing of it is left.
    @Test(arguments: [SIGTERM, SIGKILL]) func aFrozenCommandEnds(signal: Int32) async throws {
        try await InitProcess.withTable { table, process in
            let child = try Child(process, seconds: 1000)
            let session = try await table.shell(child.line("setsid sh %s & wait"))
            try await child.isReady()
            let doomed = process.commandProcesses
            try await Self.freeze(process)
            let receipt = try await table.end(session.exec, signal: signal, grace: .milliseconds(200))
            #expect(receipt.everythingEnded && receipt.wasForced)
            #expect(doomed.count >= 2 && doomed.allSatisfy { !InitProcess.isAlive($0) })
            #expect(!child.hasSaved)
        }
    }

    @Test func aFrozenCommandEndsAtItsDeadline() async throws {
        try await InitProcess.withTable { table, process in
            let child = try Child(process, seconds: 1000)
            let session = try await table.shell(child.line("setsid sh %s & wait"), milliseconds: 10_000)
            try await child.isReady()
            let doomed = process.commandProcesses
            try await Self.freeze(process)
            #expect(try await session.finish().result.timedOut)
            #expect(doomed.count >= 2 && doomed.allSatisfy { !InitProcess.isAlive($0) })
            #expect(!child.hasSaved)
        }
    }

    /// The only command stands still from here on.
    private static func freeze(_ process: InitProcess) async throws {
        let names = try FileManager.default.contentsOfDirectory(atPath: process.cgroup)
        let group = process.cgroup + "/" + (try #require(names.first { $0.hasPrefix("exec-") }))
        let file = try FileHandle(forWritingTo: URL(fileURLWithPath: group + "/cgroup.freeze"))
        try file.write(contentsOf: Data("1".utf8))
        try file.close()
        try await eventually("it stands still") {
            try String(contentsOfFile: group + "/cgroup.events", encoding: .utf8).contains("frozen 1")
        }
    }

    /// As when somebody closes the window of a terminal: also the shell ends that only waits for what is in the foreground.
    @Test func aTerminalThatHangsUpEndsItsSession() async throws {
        try await InitProcess.withTable { table, process in
            let session = try await table.start(
                ["/bin/bash", "--norc", "--noprofile", "-ic", "echo ready; sleep 1000; echo went on; sleep 1000"],
                terminal: TerminalSize(rows: 24, columns: 80))
            let reader = session.events()
            while let chunk = try await reader.next() {
                if case .data = chunk { break }
            }
            try await eventually("the foreground is there") { process.commandProcesses.count == 2 }
            try await table.kill(session.exec, signal: SIGHUP)
            let done = try await reader.finish()
            #expect(!done.text.contains("went on"))
            try await eventually("all of it ends") { process.commandProcesses.isEmpty }
        }
    }
}
