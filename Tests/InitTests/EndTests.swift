import FastableCore
import Foundation
import Glibc
import NIOCore
import NodeSandbox
import TestSupport
import Testing

/// How commands are ended, and what is left of them.
@Suite("Ends of commands", .enabled(if: InitProcess.available, "needs root and unshare"))
struct EndTests {
    /// A child that left session, group and parent, and ignores every signal that can be ignored.
    private static let stubborn =
        "setsid sh -c 'trap \"\" TERM HUP INT; (sleep 1000 & sleep 1000) & exec sleep 1000' >/dev/null 2>&1 & sleep 1000"

    @Test func theDeadlineEndsAllDescendants() async throws {
        try await InitProcess.withTable { table, process in
            let other = try await table.start(["sleep", "1000"])
            try await eventually("the other runs") { process.commandProcesses.count == 1 }
            let spared = process.commandProcesses
            let session = try await table.shell("echo before; " + Self.stubborn, milliseconds: 10_000)
            try await eventually("all run") { process.commandProcesses.count >= 6 }
            let doomed = process.commandProcesses.filter { !spared.contains($0) }
            let done = try await session.finish()
            #expect(done.result.timedOut && done.result.signal == "SIGTERM" && done.result.exitCode == nil)
            #expect(done.text == "before\n")
            #expect(done.result.durationMilliseconds >= 9900)
            #expect(
                doomed.count >= 5 && doomed.allSatisfy { !InitProcess.isAlive($0) },
                "nothing of it lives when the result is told")
            #expect(spared.allSatisfy { InitProcess.isAlive($0) } && other.status.running)
        }
    }

    @Test func killEndsAllDescendantsAndIsReceipted() async throws {
        try await InitProcess.withTable { table, process in
            let session = try await table.shell(Self.stubborn)
            try await eventually("all run") { process.commandProcesses.count >= 5 }
            let doomed = process.commandProcesses
            try await table.kill(session.exec, signal: 9)
            #expect(doomed.allSatisfy { !InitProcess.isAlive($0) })
            let result = try await session.finish().result
            #expect(result.signal == "SIGKILL" && !result.timedOut)
            // Ended ones may be killed again; unknown ones not.
            try await table.kill(session.exec, signal: 9)
            #expect(try await expectError { try await table.kill(ExecID(), signal: 9) }.code == .notFound)
            #expect(try await expectError { try await table.kill(session.exec, signal: 0) }.code == .unprocessable)
        }
    }

    @Test func otherSignalsGoToTheProcessGroup() async throws {
        try await InitProcess.withTable { table, _ in
            let session = try await table.shell(
                "trap 'echo got it; exit 3' INT; echo ready; while :; do sleep 0.01; done")
            let reader = session.events()
            while let chunk = try await reader.next() {
                if case .data = chunk { break }
            }
            try await table.kill(session.exec, signal: SIGINT)
            let done = try await reader.finish()
            #expect(done.text == "got it\n" && done.result.exitCode == 3)
        }
    }

    @Test func backgroundProcessesDoNotDelayTheEnd() async throws {
        try await InitProcess.withTable { table, process in
            let gate = process.folder + "/gate"
            let session = try await table.shell(
                "(until [ -e \(gate) ]; do sleep 0.05; done; echo late; sleep 1000) & echo early")
            let done = try await session.finish()
            #expect(done.text == "early\n" && done.result.exitCode == 0 && done.result.stdoutBytes == 6)
            #expect(table.runningCount == 0)
            // What it prints later is kept, and given to who asks later.
            try Data().write(to: URL(fileURLWithPath: gate))
            try await eventually("the late line is there") { try await session.finish().text == "early\nlate\n" }
            #expect(process.commandProcesses.count >= 1, "the background process lives on")
            try await table.kill(session.exec, signal: 9)
            try await eventually("released") { self.folders(process).isEmpty }
            #expect(try await table.session(session.exec).finish().text == "early\nlate\n")
        }
    }

    /// A flood in the background must not keep the command's end from being told.
    @Test(.endsInTime) func backgroundFlood() async throws {
        try await InitProcess.withTable { table, _ in
            let session = try await table.shell("yes & echo $!")
            let done = try await session.finish()
            // How much of the flood comes before the end is up to the machine.
            #expect(done.result.exitCode == 0 && UInt64(done.stdout.count) >= done.result.stdoutBytes)
            try await table.kill(session.exec, signal: 9)
        }
    }

    private func folders(_ process: InitProcess) -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: process.cgroup)) ?? []).filter { $0.hasPrefix("exec-") }
    }

    @Test func cgroupsOfDaemonsGoWhenTheyEnd() async throws {
        try await InitProcess.withTable { table, process in
            _ = try await table.run("setsid sleep 1000 >/dev/null 2>&1 &")
            _ = try await table.run("true")
            try await eventually("the daemon's group is there as long as it lives, and no other") {
                self.folders(process).count == 1
            }
            for pid in process.commandProcesses { kill(try #require(Int32(pid)), SIGKILL) }
            try await eventually("it is removed") { self.folders(process).isEmpty }
        }
    }

    @Test func orphansAreCollected() async throws {
        try await InitProcess.withTable { table, process in
            _ = try await table.run("for i in $(seq 50); do (sleep 0.2 >/dev/null 2>&1 &) ; done")
            try await eventually("init has no children left") {
                let path = "/proc/\(process.pid)/task/\(process.pid)/children"
                return try String(contentsOfFile: path, encoding: .utf8).isEmpty
            }
        }
    }

    @Test func theEndOfTheContainerIsTold() async throws {
        try await InitProcess.with { process in
            let table = try await process.table()
            let session = try await table.shell("echo so far; sleep 1000")
            let reader = session.events()
            while let chunk = try await reader.next() {
                if case .data = chunk { break }
            }
            kill(process.pid, SIGKILL)
            #expect(try await expectError { try await reader.next() }.code == .gone)
            #expect(try await expectError { try await table.start(["true"]) }.code == .gone)
            await table.close()
            // The next incarnation's table reads what was recorded.
            let store = try await process.readBack(session.exec)
            #expect(!store.status.running && store.status.result == nil)
            let again = store.events()
            #expect(
                try await again.next()
                    == .started(container: process.container, stdoutOffset: 0, stderrOffset: 0, inputOffset: 0))
            #expect(try await again.next() == .data(channel: 1, .init(string: "so far\n")))
            #expect(try await expectError { try await again.next() }.code == .gone)
        }
    }

    /// The runtime stops a container with SIGTERM from outside of its pid namespace.
    @Test func initEndsOnRequestFromOutsideOnly() async throws {
        try await InitProcess.withTable { table, process in
            let inside = try await table.run("kill -TERM 1; kill -KILL 1; kill -SEGV 1; sleep 0.2; echo alive")
            #expect(inside.text == "alive\n")
            kill(process.pid, SIGTERM)
            try await eventually("it is gone") { kill(process.pid, 0) != 0 || !InitProcess.isAlive("\(process.pid)") }
        }
    }
}
