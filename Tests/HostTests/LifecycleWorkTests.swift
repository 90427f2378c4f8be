import FastableCore
import Foundation
import TestSupport
import Testing

/// What keeps a container awake and what wakes it, through the doors that people use.
@Suite(
    "Work in a container", .serialized, .enabled(if: Installation.missing == nil, "\(Installation.missing ?? "")"))
struct LifecycleWorkTests {
    private static let idleSeconds = 6
    /// By then a container without work is suspended for certain, on a machine that keeps up.
    private static let idleForCertainSeconds = idleSeconds + 2 * Limits.lifecycleSweepSeconds

    private static func state(_ host: Installation) async throws -> String? {
        try await host.tool("devcontainer.status", ["project": "p"])["state"]?.string
    }

    @Test(.endsInTime) func inputWakesTheCommandThatReadsIt() async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "p"])
            let started = try await host.tool(
                "shell.exec", ["project": "p", "cmd": "cat", "openStdin": true, "detach": true])
            let writer = try Writer(host, to: try #require(started["execId"]?.string))
            defer { writer.end() }
            try await eventually("the first line comes back") { writer.text == "first\n" }
            let container = try await host.tool("devcontainer.status", ["project": "p"])["container"]
            let suspended = try await host.tool("devcontainer.suspend", ["project": "p", "force": true])
            #expect(suspended["state"] == "suspended")
            // That somebody is attached wakes nobody.
            try await Task.sleep(for: .seconds(2))
            #expect(try await Self.state(host) == "suspended")
            writer.letTheSecondLineGo()
            try await eventually("the second line comes back") { writer.text == "first\nsecond\n" }
            try await eventually("it runs") { try await Self.state(host) == "running" }
            #expect(try await host.tool("devcontainer.status", ["project": "p"])["container"] == container)
            try await eventually("the end of the input comes, too") { !writer.isRunning }
            #expect(writer.status == 0, "\(writer.text)")
        }
    }

    @Test(.endsInTime) func filesInUseAndAnOpenTerminalAreWork() async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "p"])
            _ = try await host.exec("p", "echo text > file")
            try await host.tool(
                "projects_set_lifecycle", ["project": "p", "idleSeconds": .integer(Int64(Self.idleSeconds))])
            let isAwakeWhileRead = try await Self.staysAwake(host) {
                let read = try await host.tool("fs.read", ["project": "p", "path": "file"])
                #expect(read["content"] == "text\n")
            }
            #expect(isAwakeWhileRead, "it was suspended although its files were used")

            let terminal = try await host.tool(
                "shell.exec", ["project": "p", "cmd": "sh", "detach": true, "tty": ["rows": 24, "columns": 80]])
            let exec = try #require(terminal["execId"])
            // A shell at its prompt uses no CPU: that it runs is all that there is.
            let isAwakeWithTerminal = try await Self.staysAwake(host) {}
            #expect(isAwakeWithTerminal, "it was suspended although somebody has a terminal in it")
            #expect(try await host.tool("shell.wait", ["execId": exec, "timeoutSec": 0])["running"] == true)

            let ended = try await host.tool("shell.kill", ["execId": exec, "graceSec": 0])
            #expect(ended["everythingEnded"] == true)
            try await eventually("it is suspended by itself") { try await Self.state(host) == "suspended" }
        }
    }

    /// Whether it stays awake for longer than it would without work, which goes on once a second. A machine that stands still, so that the
    /// work pauses for about as long as the container may be idle, tells nothing: it is tried again.
    private static func staysAwake(_ host: Installation, _ work: () async throws -> Void) async throws -> Bool {
        for _ in 0..<5 {
            try await host.tool("devcontainer.ensure", ["project": "p"])
            let end = ContinuousClock.now + .seconds(idleForCertainSeconds)
            var (before, longestPause, isAwake) = (ContinuousClock.now, Duration.zero, true)
            while before < end {
                try await work()
                // Nothing of this wakes it, so one look too late sees it as well.
                if try await state(host) != "running" { isAwake = false }
                try await Task.sleep(for: .seconds(1))
                let now = ContinuousClock.now
                longestPause = max(longestPause, now - before)
                before = now
            }
            if isAwake || longestPause < .seconds(idleSeconds - 2) { return isAwake }
        }
        return false
    }

    /// `fastable attach --stdin`, which is given two lines: the second one when it is let go, and the end of its input with that.
    private struct Writer {
        private let process = Process()
        private let source = Process()
        private let gate: URL
        private let printed: URL

        init(_ host: Installation, to exec: String) throws {
            gate = host.directory.appending(path: "gate")
            printed = host.directory.appending(path: "printed")
            _ = FileManager.default.createFile(atPath: printed.path, contents: nil)
            let pipe = Pipe()
            source.executableURL = URL(filePath: "/bin/sh")
            source.arguments = ["-c", "echo first; until [ -e gate ]; do sleep 0.05; done; echo second"]
            source.currentDirectoryURL = host.directory
            source.standardInput = FileHandle.nullDevice
            source.standardOutput = pipe
            process.executableURL = host.programs.appending(path: "fastable")
            process.arguments = ["attach", "--stdin", exec]
            process.environment = ProcessInfo.processInfo.environment.merging([
                "FASTABLE_API_URL": try host.apiURL(), "FASTABLE_TOKEN_FILE": host.controllerState + "/admin.token",
            ]) { $1 }
            let output = try FileHandle(forWritingTo: printed)
            (process.standardOutput, process.standardError) = (output, output)
            process.standardInput = pipe
            try source.run()
            try process.run()
        }

        /// Complaints too.
        var text: String { HostFacts.text(printed.path) }
        var isRunning: Bool { process.isRunning }
        var status: Int32 { process.terminationStatus }

        func letTheSecondLineGo() { _ = FileManager.default.createFile(atPath: gate.path, contents: nil) }

        /// What a thread of tasks starts has its signals blocked.
        func end() {
            for process in [process, source] where process.isRunning { kill(process.processIdentifier, SIGKILL) }
        }
    }
}
