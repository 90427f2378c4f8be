import FastableCore
import Foundation
import NIOHTTP1
import Testing

/// `shell.*` against real daemons and a real container.
@Suite("Shell operations", .serialized, .enabled(if: Installation.missing == nil, "\(Installation.missing ?? "")"))
struct ShellTests {
    @Test(.timeLimit(.minutes(3)))
    func aDetachedCommandIsListedWaitedForReadAndEnded() async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "p"])
            let started = try await host.tool(
                "shell.exec",
                ["project": "p", "cmd": "for i in 1 2 3; do echo line $i; sleep 0.2; done", "detach": true])
            let exec = try #require(started["execId"])
            #expect(started["running"] == true && started["exitCode"] == .null)
            let early = try await host.tool("shell.wait", ["execId": exec, "timeoutSec": 0])
            #expect(early["running"] == true)
            let done = try await host.tool("shell.wait", ["execId": exec])
            #expect(done["running"] == false && done["exitCode"] == 0)
            #expect(done["stdout"] == "line 1\nline 2\nline 3\n")
            let page = try await host.tool("shell.output", ["execId": exec, "offset": -7, "limit": 4])
            #expect(page["content"] == "line" && page["offset"] == 14 && page["nextOffset"] == 18)
            #expect(page["totalBytes"] == 21 && page["running"] == false && page["missingBytes"] == 0)
            let list = try await host.tool("shell.list", ["project": "p"])
            #expect(list["execs"]?.array?.first?["execId"] == exec)
            #expect(list["execs"]?.array?.first?["state"] == "ended")
        }
    }

    @Test(.timeLimit(.minutes(3)))
    func endingACommandGivesAReceipt() async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "p"])
            // Obeys SIGTERM, and cleans up behind itself.
            let polite = try await host.detached(
                "p", "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done")
            try await host.printed(polite, "up\n")
            let first = try await host.tool("shell.kill", ["execId": polite])
            #expect(first["everythingEnded"] == true && first["wasForced"] == false && first["exitCode"] == 3)
            // Ignores it, and has a descendant in a session of its own that does so too.
            let stubborn = try await host.detached(
                "p", "trap '' TERM; setsid sh -c 'trap \"\" TERM; sleep 4343' & echo up; sleep 4343")
            try await host.printed(stubborn, "up\n")
            let second = try await host.tool("shell.kill", ["execId": stubborn, "graceSec": 1])
            #expect(second["everythingEnded"] == true && second["wasForced"] == true && second["signal"] == "SIGKILL")
            let left = try await host.exec(
                "p", "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'sleep 434[3]' || true")
            #expect(left["stdout"] == "0\n")
        }
    }

    @Test(.timeLimit(.minutes(3)))
    func textIsGivenToACommandToRead() async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "p"])
            let text = String(repeating: "Füße\n", count: 50_000)
            let answer = try await host.tool(
                "shell.exec", ["project": "p", "cmd": "wc -c; cat; true", "stdin": .string(text)])
            #expect(answer["stdout"] == "350000\n" && answer["exitCode"] == 0)
            // A command that does not read it is not held up by it.
            let deaf = try await host.tool(
                "shell.exec", ["project": "p", "cmd": "echo done", "stdin": .string(text)])
            #expect(deaf["stdout"] == "done\n")
        }
    }

    @Test(.timeLimit(.minutes(3)))
    func inputAndTerminalsNeedSomebodyWhoAttaches() async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "p"])
            for field in ["openStdin": true, "tty": ["rows": 24, "columns": 80], "overflow": "drop"]
                as [String: JSONValue]
            {
                var input: [String: JSONValue] = ["project": "p", "cmd": "cat"]
                input[field.key] = field.value
                let refusal = try await host.request(
                    .POST, "/api/tools/shell.exec", body: try JSON.encode(JSONValue.object(input)))
                let problem = try JSON.decode(JSONValue.self, from: refusal.body)
                #expect(refusal.status == 422 && problem["details"]?["field"] == .string(field.key))
            }
            let long: JSONValue = ["project": "p", "cmd": "true", "timeoutSec": 901]
            let refusal = try await host.request(.POST, "/api/tools/shell.exec", body: try JSON.encode(long))
            let problem = try JSON.decode(JSONValue.self, from: refusal.body)
            #expect(refusal.status == 422 && problem["details"]?["field"] == "timeoutSec")
        }
    }
}

extension Installation {
    fileprivate func detached(_ project: String, _ command: String) async throws -> JSONValue {
        let answer = try await tool(
            "shell.exec", ["project": .string(project), "cmd": .string(command), "detach": true])
        return try #require(answer["execId"])
    }

    /// Waits until a command has printed `text`.
    fileprivate func printed(_ exec: JSONValue, _ text: String) async throws {
        for _ in 0..<200 {
            let page = try await tool("shell.output", ["execId": exec])
            if page["content"] == .string(text) { return }
            try await Task.sleep(for: .milliseconds(20))
        }
        Issue.record("it never printed ‘\(text)’")
    }
}
