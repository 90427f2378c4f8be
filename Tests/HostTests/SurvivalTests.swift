import FastableCore
import Foundation
import NIOHTTP1
import TestSupport
import Testing

@Suite("kill -9 loses nothing", .serialized, .enabled(if: Installation.missing == nil, "\(Installation.missing ?? "")"))
struct SurvivalTests {
    /// A command that prints numbered lines for about six seconds.
    static let counting = "i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); sleep 0.02; done; exit 7"
    static let counted = (0..<300).map { "line \($0)\n" }.joined()

    /// Starts the command over REST and gives its id as soon as it runs; the request itself goes on in the background.
    private func startCounting(_ host: Installation) async throws -> (exec: String, request: Task<Void, Never>) {
        try await host.tool("projects_create", ["name": "p"])
        _ = try await host.exec("p", "true")
        let (started, continuation) = AsyncStream.makeStream(of: String.self)
        let request = Task {
            try? await host.follow("p", Self.counting) { line in continuation.yield(line) }
            continuation.finish()
        }
        var found: String?
        for await line in started {
            found = line.firstMatch(of: /exe_[0-9a-z]{26}/).map { String($0.output) }
            if found != nil { break }
        }
        try await Task.sleep(for: .seconds(1))
        return (try #require(found), request)
    }

    private func expectWhole(_ host: Installation, _ exec: String) async throws {
        try await eventually("the result is there") {
            let status = try await host.request(.GET, "/api/execs/\(exec)")
            return status.status == 200 && String(decoding: status.body, as: UTF8.self).contains("\"exitCode\":7")
        }
        let output = try await host.request(.GET, "/api/execs/\(exec)/output?stream=stdout")
        #expect(output.status == 200)
        #expect(String(decoding: output.body, as: UTF8.self) == Self.counted, "no byte may be missing or doubled")
        let tail = try await host.request(.GET, "/api/execs/\(exec)/output?tail=9")
        #expect(String(decoding: tail.body, as: UTF8.self) == "line 299\n")
        #expect(try await host.cli(["attach", "--tail", "9", exec], expectStatus: 7) == "line 299\n")
    }

    @Test(.endsInTime)
    func killingTheNodeDaemonLosesNoCommandAndNoResult() async throws {
        try await Installation.with { host in
            let (exec, request) = try await startCounting(host)
            let before = try await host.tool("devcontainer.status", ["project": "p"])
            host.killNode(0)
            request.cancel()
            try await Task.sleep(for: .seconds(1))
            try await host.startNode(0)
            let after = try await host.tool("devcontainer.status", ["project": "p"])
            #expect(
                before["container"]?.string != nil && before["container"] == after["container"], "the same incarnation")
            try await expectWhole(host, exec)
        }
    }

    @Test(.endsInTime)
    func killingTheControllerLosesNoContainerAndNoResult() async throws {
        try await Installation.with { host in
            let (exec, request) = try await startCounting(host)
            let before = try await host.tool("devcontainer.status", ["project": "p"])
            host.killController()
            request.cancel()
            try await Task.sleep(for: .seconds(1))
            try await host.startController()
            try await eventually("the node is back") { await host.nodeState(0) == "ready" }
            let after = try await host.tool("devcontainer.status", ["project": "p"])
            #expect(before["container"] == after["container"])
            // A lost door does not end the command: only its reader's own wish does.
            try await expectWhole(host, exec)
            let audit = try await host.tool("audit_verify", [:])
            #expect(audit["valid"]?.bool == true)
        }
    }

    /// As for an upgrade: the command runs on without the daemon, and the next one has all of its output.
    @Test(.endsInTime)
    func stoppingTheNodeEndsNoCommand() async throws {
        try await Installation.with { host in
            let (exec, request) = try await startCounting(host)
            let before = try await host.tool("devcontainer.status", ["project": "p"])
            await host.stopNode(0)
            // Beside the container's first process.
            #expect(host.processes(of: 0).count > 1, "the daemon did not wait for the command, nor end it")
            request.cancel()
            try await Task.sleep(for: .seconds(1))
            try await host.startNode(0)
            let after = try await host.tool("devcontainer.status", ["project": "p"])
            #expect(before["container"]?.string != nil && before["container"] == after["container"])
            try await expectWhole(host, exec)
        }
    }

    /// As for an upgrade: a controller that is to stop waits for those who follow commands, but not for long, and ends no command.
    @Test(.endsInTime)
    func stoppingTheControllerEndsNoCommand() async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "p"])
            _ = try await host.exec("p", "true")
            let seconds = Limits.gracefulShutdownSeconds + 10
            let command = "echo up; sleep \(seconds); echo on; exit 7"
            let running = Task.detached { try await host.cli(["exec", "p", "--", command], expectStatus: 7) }
            try await eventually("the command runs") {
                try await host.tool("shell.list", ["project": "p"])["execs"]?.array?.first?["cmd"]?.string == command
            }
            await host.stopController()
            try await host.startController()
            #expect(try await running.value == "up\non\n")
        }
    }
}
