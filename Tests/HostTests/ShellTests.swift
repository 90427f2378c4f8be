import Crypto
import FastableCore
import Foundation
import NIOHTTP1
import TestSupport
import Testing

/// `shell.*` against real daemons and a real container.
@Suite("Shell operations", .serialized, .enabled(if: Installation.missing == nil, "\(Installation.missing ?? "")"))
struct ShellTests {
    @Test(.endsInTime)
    func aDetachedCommandIsListedWaitedForReadAndEnded() async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "p"])
            let started = try await host.tool(
                "shell.exec",
                [
                    "project": "p", "detach": true,
                    "cmd": "echo line 1; until [ -e gate ]; do sleep 0.05; done; echo line 2; echo line 3",
                ])
            let exec = try #require(started["execId"])
            #expect(started["running"] == true && started["exitCode"] == .null)
            let early = try await host.tool("shell.wait", ["execId": exec, "timeoutSec": 0])
            #expect(early["running"] == true)
            try await host.tool("fs.write", ["project": "p", "path": "gate", "content": ""])
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

    /// The answer comes before the command has read anything, and the node may die before it has.
    @Test(.endsInTime, arguments: [10, 100_000, 1_000_000])
    func aDetachedCommandReadsItsInputToTheEnd(count: Int) async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "p"])
            let text = String((0..<count / 10).map { String($0 + 100_000_000) + "\n" }.joined())
            let started = try await host.tool(
                "shell.exec",
                [
                    "project": "p", "detach": true, "stdin": .string(text),
                    "cmd": "until [ -e gate ]; do sleep 0.05; done; sha256sum",
                ])
            host.killNode(0)
            try await host.startNode(0)
            try await host.tool("fs.write", ["project": "p", "path": "gate", "content": ""])
            let done = try await host.tool("shell.wait", ["execId": try #require(started["execId"])])
            #expect(done["running"] == false && done["exitCode"] == 0)
            let digest = SHA256.hash(data: Data(text.utf8)).map { String(format: "%02x", $0) }.joined()
            #expect(done["stdout"]?.string?.hasPrefix(digest) == true)
        }
    }

    @Test(.endsInTime)
    func endingACommandGivesAReceipt() async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "p"])
            // Obeys SIGTERM, and cleans up behind itself.
            let polite = try await host.detached(
                "p", "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done")
            try await host.printed(polite, "up\n")
            let first = try await host.tool("shell.kill", ["execId": polite, "graceSec": 60])
            #expect(first["everythingEnded"] == true && first["wasForced"] == false)
            #expect(try await host.tool("shell.wait", ["execId": polite])["exitCode"] == 3)
            // Ignores it, and has a descendant in a session of its own that does so too.
            let stubborn = try await host.detached(
                "p", "trap '' TERM; setsid sh -c 'trap \"\" TERM; sleep 4343' & echo up; sleep 4343")
            try await host.printed(stubborn, "up\n")
            let second = try await host.tool("shell.kill", ["execId": stubborn, "graceSec": 1])
            #expect(second["everythingEnded"] == true && second["wasForced"] == true)
            // The receipt does not wait long for how it ended.
            #expect(try await host.tool("shell.wait", ["execId": stubborn])["signal"] == "SIGKILL")
            let left = try await host.exec(
                "p", "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'sleep 434[3]' || true")
            #expect(left["stdout"] == "0\n")
            // Without its container, too, the receipt tells how it ended.
            try await host.tool("devcontainer.stop", ["project": "p"])
            let late = try await host.tool("shell.kill", ["execId": stubborn])
            #expect(late["everythingEnded"] == true && late["wasForced"] == false && late["signal"] == "SIGKILL")
            // Of what never ran there is no receipt.
            let refused = await #expect(throws: FastableError.self) {
                try await host.tool("shell.exec", ["project": "p", "cmd": "true", "user": "nobody-here"])
            }
            #expect(refused?.code == .unprocessable || refused?.code == .notFound)
            let never = try await host.tool("shell.list", ["project": "p"])["execs"]?.array?.first?["execId"]
            #expect(never != stubborn)
            let unknown = await #expect(throws: FastableError.self) {
                try await host.tool("shell.kill", ["execId": never ?? ""])
            }
            #expect(unknown?.code == .notFound)
        }
    }

    @Test(.endsInTime)
    func aCommandThatIsGivenUpBeforeItStartsNeverDoes() async throws {
        try await Installation.with { host in
            // The first use of a project makes its container; the callers give up at all moments of that.
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<16 {
                    group.addTask {
                        let project = "p\(number)"
                        try await host.tool("projects_create", ["name": .string(project)])
                        let call = Task {
                            let command = "until [ -e gate ]; do sleep 0.2; done; echo ran > ran"
                            try await host.tool(
                                "shell.exec", ["project": .string(project), "cmd": .string(command)])
                        }
                        try await Task.sleep(for: .milliseconds(20 * number))
                        call.cancel()
                        _ = await call.result
                        // Behind everything that could still start it, and whoever it was that started ends it.
                        try await eventually("nothing runs") {
                            let status = try? await host.tool("devcontainer.status", ["project": .string(project)])
                            return status.map { $0["runningExecs"]?.integer ?? 0 } == 0
                        }
                        let later = try await host.exec(project, "sleep 4; touch gate; sleep 1; ls")
                        #expect(later["stdout"] == "gate\n", "given up after \(20 * number) ms")
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    /// What the caller is told is true, whether the container was there in time or not.
    @Test(.endsInTime)
    func aCommandThatDidNotStartInTimeNeverDoes() async throws {
        try await Installation.with { host in
            for number in 0..<4 {
                let project = "p\(number)"
                try await host.tool("projects_create", ["name": .string(project)])
                // Less than a second, in which its container has to be made.
                let startBy = Date(timeIntervalSince1970: Date().timeIntervalSince1970.rounded(.down) + 1)
                let input: JSONValue = [
                    "project": .string(project), "cmd": "echo ran > ran",
                    "startBy": .string(startBy.formatted(.iso8601)),
                ]
                let answer = try await host.request(.POST, "/api/tools/shell.exec", body: try JSON.encode(input))
                let body = String(decoding: answer.body, as: UTF8.self)
                #expect(answer.status == 200 || answer.status == 504 && body.contains("in time"), "\(body)")
                let later = try await host.exec(project, "ls")
                #expect(later["stdout"] == (answer.status == 200 ? "ran\n" : ""), "\(body)")
            }
        }
    }

    @Test(.endsInTime)
    func aCommandRunsAsAnotherUser() async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "p"])
            let script = "id -u; id -g; echo $HOME $USER; touch /etc/mine"
            let answer = try await host.tool(
                "shell.exec", ["project": "p", "cmd": .string(script), "user": "nobody"])
            #expect(answer["stdout"] == "65534\n65534\n/ nobody\n" && answer["exitCode"] == 1)
            let own = try await host.tool(
                "shell.exec", ["project": "p", "cmd": "echo $HOME", "user": "nobody", "env": ["HOME": "/tmp"]])
            #expect(own["stdout"] == "/tmp\n")
            #expect(try await host.cli(["exec", "-u", "5:6", "p", "--", "id -u; id -g"]) == "5\n6\n")
            #expect(try await host.cli(["exec", "-t", "-u", "nobody", "p", "--", "id -u"]) == "65534\r\n")
            for (user, words) in [("ghost", "‘ghost’"), ("65536", "‘user’"), ("a:b", "‘user’"), ("0:-1", "‘user’")] {
                let input: JSONValue = ["project": "p", "cmd": "id", "user": .string(user)]
                let refusal = try await host.request(.POST, "/api/tools/shell.exec", body: try JSON.encode(input))
                let problem = try JSON.decode(JSONValue.self, from: refusal.body)
                #expect(refusal.status == 422 && problem["details"]?["field"] == "user")
                #expect(problem["detail"]?.string?.contains(words) == true)
                #expect(try await host.cli(["exec", "-u", user, "p", "--", "id"], expectStatus: 125).contains(words))
            }
        }
    }

    @Test(.endsInTime)
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

    /// The cancel overtakes the start, which waits for the container.
    @Test(.endsInTime)
    func aCancelledCommandNeverStarts() async throws {
        try await Installation.with { host in
            for (index, pause) in [0, 50, 150, 400].enumerated() {
                let project = "p\(index)"
                try await host.tool("projects_create", ["name": .string(project)])
                let input: JSONValue = ["project": .string(project), "cmd": "echo x > ran; sleep 60; echo y > ended"]
                let body = try JSON.encode(input)
                let key = [("idempotency-key", "k-\(index)")]
                let first = Task { try await host.request(.POST, "/api/tools/shell.exec", body: body, more: key) }
                try await Task.sleep(for: .milliseconds(pause))
                let receipt = try await host.tool("shell.kill", ["idempotencyKey": .string(key[0].1), "graceSec": 0])
                #expect(receipt["everythingEnded"] == true)
                let ran = try? await host.tool("fs.stat", ["project": .string(project), "path": "ran"])
                let answer = try await first.value
                // What had not started when the receipt came does not start later, whoever asks for it.
                let again = try await host.request(.POST, "/api/tools/shell.exec", body: body, more: key)
                #expect(again.status == answer.status)
                let later = try? await host.tool("fs.stat", ["project": .string(project), "path": "ran"])
                #expect((later == nil) == (ran == nil), "\(pause) ms")
                if ran == nil { #expect(answer.status == 499 || answer.status == 200, "\(answer)") }
                #expect((try? await host.tool("fs.stat", ["project": .string(project), "path": "ended"])) == nil)
            }
        }
    }

    @Test(.endsInTime)
    func whatAnAnswerLeavesOutCanBeRead() async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "p"])
            let whole = (1...60_000).map { "\($0)\n" }.joined()
            let rest = try await host.exec("p", "seq 1 60000")
            try await expectWhole(whole, rest, host)
            let errors = try await host.exec("p", "seq 1 60000 >&2")
            try await expectWhole(whole, errors, host, stream: "stderr")
            let call: JSONValue = [
                "jsonrpc": "2.0", "id": 1, "method": "tools/call",
                "params": ["name": "shell.exec", "arguments": ["project": "p", "cmd": "seq 1 60000"]],
            ]
            let answer = try await host.request(
                .POST, "/api/mcp", body: try JSON.encode(call), more: [("accept", "application/json")])
            let result = try #require(try JSON.decode(JSONValue.self, from: answer.body)["result"])
            try await expectWhole(whole, try #require(result["structuredContent"]), host)
        }
    }

    /// The beginning and the end of an answer, with what `shell.output` gives between them.
    private func expectWhole(
        _ whole: String, _ answer: JSONValue, _ host: Installation, stream: String = "stdout"
    ) async throws {
        #expect(answer["truncated"] == true && answer[stream + "Bytes"]?.integer == Int64(whole.utf8.count))
        let omitted = try #require(answer["omitted"]?.array?.first)
        #expect(omitted["stream"]?.string == stream)
        var offset = try #require(omitted["offset"]?.integer)
        let end = try #require(omitted["nextOffset"]?.integer)
        let shown = try #require(answer[stream]?.string)
        var text = String(decoding: shown.utf8.prefix(Int(offset)), as: UTF8.self)
        while offset < end {
            let page = try await host.tool(
                "shell.output",
                [
                    "execId": try #require(answer["execId"]), "stream": .string(stream), "offset": .integer(offset),
                    "limit": .integer(min(end - offset, 100_000)),
                ])
            text += try #require(page["content"]?.string)
            offset = try #require(page["nextOffset"]?.integer)
        }
        text += String(decoding: shown.utf8.suffix(whole.utf8.count - Int(end)), as: UTF8.self)
        #expect(text == whole)
    }

    @Test(.endsInTime)
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
        try await eventually("it has printed ‘\(text)’") {
            try await tool("shell.output", ["execId": exec])["content"] == .string(text)
        }
    }
}
