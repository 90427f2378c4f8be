import FastableCore
import Foundation
import NIOHTTP1
import TestSupport
import Testing

/// Secrets of commands, with real daemons and a real container.
@Suite("Secrets of commands", .serialized, .enabled(if: Installation.missing == nil, "\(Installation.missing ?? "")"))
struct SecretTests {
    private static func secret() -> String { "s3cret/" + UUID().uuidString + "+x" }
    private static func mask(_ count: Int) -> String { String(repeating: "*", count: count) }

    @Test(.endsInTime)
    func whatACommandPrintsOfThemIsMaskedAndNothingIsKept() async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "p"])
            let value = Self.secret()
            let stars = Self.mask(value.utf8.count)
            let script =
                "echo \"a $TOKEN b\"; printf %s $TOKEN >&2; echo \(value); test \(value) = \"$TOKEN\" && exit 3"
            let input: JSONValue = [
                "project": "p", "cmd": .string(script), "secretEnv": ["TOKEN": .string(value)],
            ]
            let answer = try await host.tool("shell.exec", input)
            #expect(answer["stdout"] == .string("a \(stars) b\n\(stars)\n") && answer["stderr"] == .string(stars))
            #expect(answer["exitCode"] == 3, "the command itself has the value")
            #expect(answer["stdoutBytes"] == .integer(Int64(2 * value.utf8.count + 6)))
            // A program that cannot be run names itself, and a terminal echoes.
            let missing = try await host.tool(
                "shell.exec",
                ["project": "p", "cmd": [.string("/bin/" + value)], "secretEnv": ["TOKEN": .string(value)]])
            #expect(missing["exitCode"] == 127 && missing["stderr"]?.string?.contains("/bin/\(stars)") == true)
            let shown = try await host.run(
                "fastable", ["exec", "--secret-env", "TOKEN", "-t", "p", "--", "echo $TOKEN; printf 'more? '"],
                expectStatus: 0,
                environment: [
                    "FASTABLE_API_URL": try host.apiURL(), "FASTABLE_TOKEN_FILE": host.controllerState + "/admin.token",
                    "TOKEN": value,
                ])
            #expect(shown == "\(stars)\r\nmore? ")
            let list = try await host.tool("shell.list", ["project": "p"])
            #expect(!"\(list)".contains(value))
            try expectNowhere(value, in: host)
        }
    }

    /// The occurrence that the daemon's death cuts is masked by the next one.
    @Test(.endsInTime)
    func killingTheNodeDaemonShowsNoSecret() async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "p"])
            let value = Self.secret()
            let filler = "$(head -c 3000 /dev/zero | tr '\\000' x)"
            let script = """
                i=0; while [ $i -lt 80 ]; do
                printf %s "\(filler)${TOKEN%?????????????}"; sleep 0.05
                printf '%s\\n' "${TOKEN#\(String(repeating: "?", count: value.utf8.count - 13))}"; i=$((i+1))
                if [ $i = 60 ]; then until [ -e gate ]; do sleep 0.05; done; fi; done
                """
            let started = try await host.tool(
                "shell.exec",
                ["project": "p", "cmd": .string(script), "detach": true, "secretEnv": ["TOKEN": .string(value)]])
            let exec = try #require(started["execId"]?.string)
            for _ in 0..<3 {
                try await Task.sleep(for: .milliseconds(Int.random(in: 300...900)))
                #expect(try modes(host) == [0o600])
                host.killNode(0)
                try await host.startNode(0)
            }
            try await host.tool("fs.write", ["project": "p", "path": "gate", "content": ""])
            let end = try await host.tool("shell.wait", ["execId": .string(exec), "timeoutSec": 120])
            #expect(end["exitCode"] == 0)
            let output = try await host.request(.GET, "/api/execs/\(exec)/output?stream=stdout")
            let line = String(repeating: "x", count: 3000) + Self.mask(value.utf8.count) + "\n"
            #expect(String(decoding: output.body, as: UTF8.self) == String(repeating: line, count: 80))
            try await eventually("the secrets go") { try modes(host).isEmpty }
            try expectNowhere(value, in: host)
        }
    }

    /// The modes of the files with secrets that a node keeps.
    private func modes(_ host: Installation) throws -> [Int] {
        try files(host).filter { $0.lastPathComponent.hasPrefix("secrets") }.compactMap {
            try FileManager.default.attributesOfItem(atPath: $0.path)[.posixPermissions] as? Int
        }
    }

    private func expectNowhere(_ value: String, in host: Installation) throws {
        for file in files(host) {
            guard let bytes = try? Data(contentsOf: file) else { continue }
            #expect(bytes.range(of: Data(value.utf8)) == nil, "\(file.path)")
        }
    }

    private func files(_ host: Installation) -> [URL] {
        let all = FileManager.default.enumerator(at: host.directory, includingPropertiesForKeys: [.isRegularFileKey])
        return (all?.allObjects as? [URL] ?? []).filter {
            !$0.path.contains("/rootfs/")
                && (try? $0.resourceValues(forKeys: [.isRegularFileKey]).isRegularFile) == true
        }
    }
}
