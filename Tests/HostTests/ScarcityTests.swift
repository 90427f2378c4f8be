import FastableCore
import Foundation
import TestSupport
import Testing

/// A node that may open no more files.
@Suite("Scarcity", .serialized, .enabled(if: Installation.missing == nil, "\(Installation.missing ?? "")"))
struct ScarcityTests {
    private static func descriptors(_ host: Installation) throws -> Int {
        try FileManager.default.contentsOfDirectory(atPath: "/proc/\(try host.nodeProcess())/fd").count
    }

    /// Lets the node open nothing more while `body` runs: what it has open stays.
    private static func withoutDescriptors(_ host: Installation, _ body: () async throws -> Void) async throws {
        let process = try host.nodeProcess()
        let limits = try String(contentsOfFile: "/proc/\(process)/limits", encoding: .utf8).split(separator: "\n")
        let line = try #require(limits.first { $0.hasPrefix("Max open files") })
        let usual = try #require(line.split(separator: " ").dropFirst(3).first)
        // These numbers are those of what it has opened at its start. (A process may not even wait for more files than the limit says.)
        let open = Set(try FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/fd"))
        try #require((0..<8).allSatisfy { open.contains("\($0)") })
        try HostFacts.run("prlimit", ["--pid", "\(process)", "--nofile=8:"])
        do { try await body() } catch {
            try HostFacts.run("prlimit", ["--pid", "\(process)", "--nofile=\(usual):"])
            throw error
        }
        try HostFacts.run("prlimit", ["--pid", "\(process)", "--nofile=\(usual):"])
    }

    private struct Call {
        var tool: String
        var input: JSONValue

        init(_ tool: String, _ input: JSONValue) {
            self.tool = tool
            self.input = input
        }
    }

    private static let calls: [Call] = [
        Call("fs.read", ["project": "p", "path": "file"]), Call("fs.list", ["project": "p"]),
        Call("fs.write", ["project": "p", "path": "file", "content": "new"]),
        Call("fs.write", ["project": "p", "path": "new/file", "content": "new"]),
        Call("fs.edit", ["project": "p", "path": "file", "edits": [["oldString": "old", "newString": "new"]]]),
        Call("fs.grep", ["project": "p", "pattern": "old"]), Call("fs.glob", ["project": "p", "pattern": "*"]),
        Call("fs.copy", ["project": "p", "from": "file", "to": "copy"]),
        Call("fs.delete", ["project": "p", "path": "file"]),
        Call("fs.read", ["project": "cold", "path": "file"]), Call("shell.exec", ["project": "cold", "cmd": "true"]),
    ]

    @Test(.endsInTime) func aNodeWithoutDescriptorsSaysSoAndRecovers() async throws {
        try await Installation.with { host in
            for name in ["p", "cold"] { try await host.tool("projects_create", ["name": .string(name)]) }
            try await host.tool("fs.write", ["project": "p", "path": "file", "content": "old"])
            _ = try await host.exec("p", "true")
            let counting = "i=0; until [ -e gate ]; do i=$((i+1)); echo $i; sleep 0.01; done; echo $i lines"
            let running = try await host.tool(
                "shell.exec", ["project": "p", "cmd": .string(counting), "detach": true])
            let exec = try #require(running["execId"])
            try await eventually("it prints") {
                try await host.tool("shell.output", ["execId": exec])["totalBytes"]?.integer ?? 0 > 0
            }
            // What is made once.
            for call in Self.calls.prefix(2) { _ = try await host.tool(call.tool, call.input) }
            _ = try await host.tool("fs.grep", ["project": "p", "pattern": "old"])
            let process = try host.nodeProcess()
            let before = try Self.descriptors(host)
            let links = host.links(of: 0)

            // Its output waits until there is a file for it.
            var waiting: Task<JSONValue, any Error>?
            try await Self.withoutDescriptors(host) {
                waiting = Task { try await host.exec("p", "cat file") }
                for _ in 0..<5 {
                    for call in Self.calls {
                        let error = await #expect(throws: FastableError.self, "\(call)") {
                            try await host.tool(call.tool, call.input)
                        }
                        #expect(error?.code == .unavailable, "\(call): \(String(describing: error))")
                    }
                }
            }
            #expect(try await waiting?.value["stdout"] == "old")
            #expect(try host.nodeProcess() == process && kill(process, 0) == 0)
            #expect(host.links(of: 0) == links, "it kept its link")
            #expect(try await host.tool("fs.read", ["project": "p", "path": "file"])["content"] == "old")
            #expect(try await host.exec("p", "cat file; ls")["stdout"] == "oldfile\n")
            #expect(try await host.exec("cold", "echo warm")["stdout"] == "warm\n")
            _ = try await host.tool("devcontainer.stop", ["project": "cold"])
            try await host.tool("fs.write", ["project": "p", "path": "gate", "content": ""])
            let ended = try await host.tool("shell.wait", ["execId": exec])
            #expect(ended["exitCode"] == 0 && ended["missingBytes"] == 0, "\(ended)")
            let lines = (ended["stdout"]?.string ?? "").split(separator: "\n")
            #expect(lines.last == "\(lines.count - 1) lines")
            var after = 0
            // What the other project has open while it runs goes with its container.
            try? await eventually("none is lost", seconds: 30) {
                after = try Self.descriptors(host)
                return after <= before
            }
            print("\(before) descriptors before, \(after) after")
            // The second project's workspace stays open.
            #expect(after <= before + 1)
        }
    }
}
