import FastableCore
import Foundation
import Glibc
import NIOCore
import NodeSandbox
import TestSupport
import Testing

@Suite("Commands in init", .enabled(if: InitProcess.available, "needs root and unshare"))
struct CommandTests {
    @Test func outputIsExact() async throws {
        try await InitProcess.withTable { table, _ in
            let done = try await table.run(#"printf 'a\0b\377\n'; printf 'e\0\n' >&2"#)
            #expect(done.stdout == Data([0x61, 0, 0x62, 0xff, 0x0a]))
            #expect(done.stderr == Data([0x65, 0, 0x0a]))
            #expect(done.result.exitCode == 0 && done.result.signal == nil && !done.result.timedOut)
            #expect(done.result.stdoutBytes == 5 && done.result.stderrBytes == 3)
            #expect(abs(done.result.startedAt.timeIntervalSinceNow) < 60)
            #expect(done.result.durationMilliseconds > 0)
        }
    }

    @Test(arguments: [0, 1, 7, 126, 127, 255] as [Int32])
    func exitCodes(code: Int32) async throws {
        try await InitProcess.withTable { table, _ in
            let result = try await table.run("exit \(code)").result
            #expect(result.exitCode == code && result.signal == nil)
        }
    }

    @Test(arguments: [("TERM", "SIGTERM"), ("KILL", "SIGKILL"), ("SEGV", "SIGSEGV"), ("USR1", "SIGUSR1")])
    func deathBySignal(name: String, expected: String) async throws {
        try await InitProcess.withTable { table, _ in
            let result = try await table.run("kill -\(name) $$").result
            #expect(result.exitCode == nil && result.signal == expected)
        }
    }

    @Test func environmentDirectoryAndIdentity() async throws {
        try await InitProcess.withTable { table, _ in
            let session = try await table.start(
                ["sh", "-c", "env | sort | grep -v ^_=; pwd; id -u; id -g; id -G; umask"], cwd: "/usr/lib",
                environment: ["A": "1", "EMPTY": "", "LINES": "x\ny"], user: ExecUser(uid: 1234, gid: 4321))
            let done = try await session.finish()
            #expect(
                done.text == """
                    A=1
                    EMPTY=
                    LINES=x
                    PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
                    PWD=/usr/lib
                    y
                    /usr/lib
                    1234
                    4321
                    4321
                    0022

                    """)
        }
    }

    @Test func aCommandStartsClean() async throws {
        try await InitProcess.withTable { table, _ in
            let done = try await table.run(
                "ls /proc/self/fd; grep -E '^Sig(Blk|Ign)' /proc/self/status; cat; ps -o sid=,pgid= -p $$; echo $$")
            let lines = done.text.split(separator: "\n").map { String($0) }
            #expect(lines.prefix(4) == ["0", "1", "2", "3"], "3 is the directory that ls reads")
            #expect(lines[4...5].allSatisfy { $0.hasSuffix("0000000000000000") }, "\(lines)")
            let ids = lines[6].split(separator: " ").map { String($0) }
            #expect(ids == [lines[7], lines[7]], "a command leads its own session")
        }
    }

    @Test func programsThatCannotRun() async throws {
        try await InitProcess.withTable { table, process in
            let missing = try await table.start(["no-such-program", "x"]).finish()
            #expect(missing.result.exitCode == 127)
            #expect(missing.errorText == "fastable: cannot run ‘no-such-program’: No such file or directory\n")
            #expect(missing.result.stderrBytes == UInt64(missing.stderr.count))

            let denied = try await table.start(["/etc/passwd"]).finish()
            #expect(denied.result.exitCode == 126)
            #expect(denied.errorText == "fastable: cannot run ‘/etc/passwd’: Permission denied\n")

            let directory = try await table.start(["true"], cwd: "/no/such").finish()
            #expect(directory.result.exitCode == 126)
            #expect(directory.errorText == "fastable: cannot use the directory ‘/no/such’: No such file or directory\n")

            let script = process.folder + "/script"
            try "echo script: $1".write(toFile: script, atomically: true, encoding: .utf8)
            chmod(script, 0o755)
            #expect(try await table.start([script, "one"]).finish().text == "script: one\n")
            #expect(try await table.start([""]).finish().result.exitCode == 127)
            try await eventually("init released them") { try self.cgroups(process).isEmpty }
        }
    }

    /// While a new process has not executed its program, others of its user may stop it. Init must not wait for it.
    @Test func stoppedChildrenDoNotStopInit() async throws {
        try await InitProcess.withTable { table, _ in
            let user = ExecUser(uid: 54_321, gid: 54_321)
            let attacker = try await table.start(
                ["python3", "-c", "import os\nwhile True:\n  try: os.kill(-1, 19)\n  except OSError: pass"],
                milliseconds: 3000, user: user)
            var victims: [ExecSession] = []
            for _ in 0..<100 { victims.append(try await table.start(["/bin/true"], milliseconds: 1500, user: user)) }
            #expect(try await table.run("echo free").text == "free\n")
            for victim in victims {
                let result = try await victim.finish().result
                #expect(result.exitCode == 0 || result.timedOut)
            }
            try await table.kill(attacker.exec, signal: 9)
        }
    }

    private func cgroups(_ process: InitProcess) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: process.cgroup).filter { $0.hasPrefix("exec-") }
    }

    @Test(arguments: ["cmd", "cwd", "env", "zero", "large"])
    func malformedCommandsAreRefused(what: String) async throws {
        try await InitProcess.withTable { table, _ in
            let error = try await expectError {
                switch what {
                case "cmd": try await table.start([])
                case "cwd": try await table.start(["true"], cwd: "relative")
                case "env": try await table.start(["true"], environment: ["A=B": "c"])
                case "zero": try await table.start(["true", "a\0b"])
                default: try await table.start(["true", String(repeating: "x", count: Limits.execArgumentBytes)])
                }
            }
            #expect(error.code == (what == "large" ? .tooLarge : .unprocessable))
            #expect(table.runningCount == 0)
        }
    }

    @Test func theLargestCommandRuns() async throws {
        try await InitProcess.withTable { table, _ in
            let text = String(repeating: "y", count: Limits.execArgumentBytes - 1000)
            let done = try await table.start(["sh", "-c", "printf %s \"$1\" | wc -c", "sh", text]).finish()
            #expect(done.text == "\(text.utf8.count)\n", "\(done.errorText)")
        }
    }

    @Test func shellIsTakenWhereBashIsMissing() async throws {
        try await MiniatureRoot.with { root in
            try await InitProcess.withTable(root: root) { table, _ in
                let done = try await table.start(ExecCommand.shell("echo here: $0 $1"), cwd: "/").finish()
                #expect(done.text == "here: /bin/sh\n", "\(done.errorText)")
                #expect(try await table.start(["/bin/other"], cwd: "/").finish().result.exitCode == 127)
            }
        }
    }

    @Test func twoHundredAtOnce() async throws {
        try await InitProcess.withTable { table, _ in
            try await withThrowingTaskGroup(of: (Int, Finished).self) { group in
                for index in 0..<200 {
                    group.addTask {
                        (index, try await table.run("echo out \(index); echo err \(index) >&2; exit \(index)"))
                    }
                }
                for try await (index, done) in group {
                    #expect(done.text == "out \(index)\n" && done.errorText == "err \(index)\n")
                    #expect(done.result.exitCode == Int32(index))
                }
            }
            #expect(table.runningCount == 0)
        }
    }

    @Test func thereIsALimit() async throws {
        try await InitProcess.withTable { table, _ in
            var sessions: [ExecSession] = []
            for _ in 0..<Limits.execsPerContainer { sessions.append(try await table.start(["sleep", "100"])) }
            #expect(table.runningCount == Limits.execsPerContainer)
            let error = try await expectError { try await table.start(["true"]) }
            let most = Limits.execsPerContainer
            #expect(error.code == .limit && error.message.hasPrefix("\(most) commands run"), "\(error)")
            #expect(error.details == ["limit": .integer(Int64(most))])
            try await table.kill(sessions[0].exec, signal: 9)
            _ = try await sessions[0].finish()
            #expect(try await table.run("echo again").text == "again\n")
        }
    }
}
