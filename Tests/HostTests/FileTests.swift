import FastableCore
import Foundation
import NIOHTTP1
import TestSupport
import Testing

/// Files do not go through a container, and who watches them hears of it when something was missed.
@Suite("Files", .serialized, .enabled(if: Installation.missing == nil, "\(Installation.missing ?? "")"))
struct FileTests {
    @Test(.endsInTime) func filesNeedNoContainerAndWakeNone() async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "p"])
            try await Self.useFiles(host)
            let none = try await host.tool("devcontainer.status", ["project": "p"])
            #expect(none["container"]?.string == nil, "\(none)")
            #expect(try await host.exec("p", "cat tree/large | wc -c")["stdout"] == "300000\n")
            try await host.tool("fs.delete", ["project": "p", "path": "tree", "recursive": true])
            try await host.tool("devcontainer.suspend", ["project": "p"])
            try await Self.useFiles(host)
            try await Self.watch(host)
            #expect(try await host.tool("devcontainer.status", ["project": "p"])["state"] == "suspended")
            try await host.tool("devcontainer.stop", ["project": "p"])
            try await host.tool("fs.delete", ["project": "p", "path": "tree", "recursive": true])
            try await Self.useFiles(host)
            #expect(try await host.tool("devcontainer.status", ["project": "p"])["state"] == "stopped")
        }
    }

    /// Every operation on files, from an empty workspace to one with the directory `tree`.
    private static func useFiles(_ host: Installation) async throws {
        func tool(_ name: String, _ input: [String: JSONValue]) async throws -> JSONValue {
            try await host.tool(name, .object(input.merging(["project": "p"]) { $1 }))
        }
        _ = try await tool("fs.write", ["path": "new/one.txt", "content": "one\n"])
        let edit: JSONValue = ["oldString": "one", "newString": "two"]
        _ = try await tool("fs.edit", ["path": "new/one.txt", "edits": .array([edit])])
        _ = try await tool("fs.mkdir", ["path": "new/empty"])
        _ = try await tool("fs.copy", ["from": "new", "to": "copy", "recursive": true])
        _ = try await tool("fs.move", ["from": "copy", "to": "tree"])
        _ = try await tool("fs.chmod", ["path": "tree/one.txt", "mode": "755"])
        _ = try await tool("fs.delete", ["path": "new", "recursive": true])
        #expect(try await tool("fs.read", ["path": "tree/one.txt"])["content"] == "two\n")
        #expect(try await tool("fs.stat", ["path": "tree/one.txt"])["mode"] == "0755")
        #expect(try await tool("fs.list", ["path": "tree"])["entries"]?.array?.count == 2)
        #expect(try await tool("fs.glob", ["pattern": "**/*.txt"])["paths"] == .array(["tree/one.txt"]))
        #expect(try await tool("fs.grep", ["pattern": "tw."])["matches"]?.array?.count == 1)
        let large = Data(repeating: 7, count: 300_000)
        let sent = try await host.request(.PUT, "/api/projects/p/fs/file?path=tree/large", body: large)
        #expect(sent.status == 201)
        // So much content goes to the node as a stream.
        let stale = await #expect(throws: FastableError.self) {
            let content = JSONValue.string(String(repeating: "x", count: large.count))
            let digest = JSONValue.string(String(repeating: "0", count: 64))
            _ = try await tool("fs.write", ["path": "tree/large", "content": content, "ifMatch": digest])
        }
        #expect(stale?.code == .stale)
        #expect(try await host.request(.GET, "/api/projects/p/fs/file?path=tree/large").body == large)
        let archive = try await host.request(.GET, "/api/projects/p/fs/tree?path=tree").body
        let pushed = try await host.request(
            .PUT, "/api/projects/p/fs/tree?path=again", body: archive, more: [("if-none-match", "*")])
        #expect(pushed.status == 200)
        let refused = try await host.request(
            .PUT, "/api/projects/p/fs/tree?path=again", body: archive, more: [("if-none-match", "*")])
        #expect(refused.status == 412)
        _ = try await tool("fs.delete", ["path": "again", "recursive": true])
        try await search(host)
        _ = try await tool("fs.delete", ["path": "found", "recursive": true])
    }

    /// Who looks on while a search goes on is told what the plain answer has.
    private static func search(_ host: Installation) async throws {
        // More matches than are told at once.
        let text = (0..<600).map { "needle \($0)\n" }.joined()
        for path in ["found/a.md", "found/b.md"] {
            try await host.tool("fs.write", ["project": "p", "path": .string(path), "content": .string(text)])
        }
        let glob: JSONValue = ["project": "p", "pattern": "*.md"]
        #expect(try await host.tool("fs.glob", glob)["paths"] == ["found/a.md", "found/b.md"])
        let paths = try await events(host, "fs.glob", glob)
        #expect(paths.found.compactMap { $0["path"]?.string }.sorted() == ["found/a.md", "found/b.md"])
        #expect(paths.end["paths"] == [] && paths.end["truncated"] == false)
        let grep: JSONValue = ["project": "p", "pattern": "needle"]
        let plain = try await host.tool("fs.grep", grep)
        let matches = try await events(host, "fs.grep", grep)
        #expect(matches.found.count == 1200 && matches.found == plain["matches"]?.array)
        #expect(matches.end["matches"] == [] && matches.end["filesWithMatches"] == plain["filesWithMatches"])
    }

    /// What a search tells as server-sent events, and its result.
    private static func events(
        _ host: Installation, _ name: String, _ input: JSONValue
    ) async throws -> (found: [JSONValue], end: JSONValue) {
        let answer = try await host.request(
            .POST, "/api/tools/\(name)", body: try JSON.encode(input), more: [("accept", "text/event-stream")])
        #expect(answer.status == 200 && answer.head.first(name: "content-type") == "text/event-stream")
        var found: [JSONValue] = []
        var end: JSONValue?
        for event in String(decoding: answer.body, as: UTF8.self).components(separatedBy: "\n\n") {
            let lines = event.split(separator: "\n")
            guard let data = lines.first(where: { $0.hasPrefix("data: ") })?.dropFirst(6) else { continue }
            let value: JSONValue = try JSON.decode(from: Data(data.utf8))
            if lines.contains("event: found") { found.append(value) }
            if lines.contains("event: result") { end = value }
        }
        return (found, try #require(end))
    }

    /// Also of a container that stands still changes are told. That it still does is seen by the caller.
    private static func watch(_ host: Installation) async throws {
        let watch = try FollowingProgram(host, ["fs", "watch", "p", "tree"])
        defer { watch.end() }
        try await eventually("it watches") { watch.text.contains("watching tree") }
        try await host.tool("fs.write", ["project": "p", "path": "tree/seen", "content": ""])
        try await eventually("the change is told") {
            watch.lines.contains { $0.hasPrefix("created") && $0.hasSuffix("tree/seen") }
        }
    }

    /// The program comes back by itself, over the death of both daemons, and says what it cannot know.
    @Test(.endsInTime) func whoWatchesHearsThatSomethingWasMissed() async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "p"])
            try await host.tool("fs.mkdir", ["project": "p", "path": "src"])
            let watch = try FollowingProgram(host, ["fs", "watch", "p", "src"])
            defer { watch.end() }
            try await eventually("it watches") { watch.text.contains("watching src") }
            for (command, line) in [
                ("echo x > src/made", "created   src/made"),
                ("mv src/made src/moved", "moved     src/made → src/moved"),
                ("rm src/moved", "deleted   src/moved"),
            ] {
                _ = try await host.exec("p", command)
                try await eventually("‘\(line)’ is told") { watch.lines.contains(line) }
            }
            for dies in ["node", "controller"] {
                let before = watch.lines.count
                if dies == "node" {
                    host.killNode(0)
                    try await host.startNode(0)
                } else {
                    host.killController()
                    try await host.startController()
                    try await eventually("the node is back") { await host.nodeState(0) == "ready" }
                }
                try await eventually("what was missed is told after the end of the \(dies)") {
                    watch.lines.dropFirst(before).contains { $0.hasPrefix("rescan") }
                }
                try await host.tool(
                    "fs.write", ["project": "p", "path": .string("src/after-\(dies)"), "content": ""])
                try await eventually("it goes on after the end of the \(dies)") {
                    watch.lines.contains { $0.hasPrefix("created") && $0.hasSuffix("src/after-\(dies)") }
                }
            }
        }
    }
}
