import FastableCore
import Foundation
import TestSupport
import Testing

/// Kill switches by scope, by way of the command line, with real daemons and real traffic.
@Suite("Killing by scope", .serialized, .enabled(if: Installation.missing == nil, "\(Installation.missing ?? "")"))
struct KillScopeTests {
    private static func state(_ host: Installation, _ project: String) async throws -> String? {
        try await host.tool("devcontainer.status", ["project": .string(project)])["state"]?.string
    }

    private static func order(_ host: Installation, _ words: [String]) async throws -> JSONValue {
        try JSON.decode(JSONValue.self, from: Data(try await host.cli(["kill"] + words + ["--json"]).utf8))
    }

    private static func names(_ answer: JSONValue, _ field: String) -> [String] {
        (answer[field]?.array ?? []).compactMap { $0["name"]?.string }
    }

    /// Containers go on, files can be used, and no packet gets through, also over a restart of the node and in a new container.
    @Test(.endsInTime, arguments: ["project", "workspace", "node", "all"])
    func networkOnlyStopsTrafficAndNothingElse(scope: String) async throws {
        try await Installation.with { host in
            try await OutsideHost.with { outside in
                for name in ["p", "q"] { try await host.tool("projects_create", ["name": .string(name)]) }
                func isReached(from project: String) async throws -> Bool {
                    try await host.exec(project, outside.request)["exitCode"] == 0
                }
                for name in ["p", "q"] { #expect(try await isReached(from: name)) }
                let target = ["project": ["p"], "node": [host.nodeName(0)]][scope] ?? []
                let answer = try await Self.order(host, [scope] + target + ["--network-only", "--reason", "leaks"])
                #expect(Self.names(answer, "acknowledged") == [host.nodeName(0)], "\(answer)")
                #expect(try await !isReached(from: "p"))
                #expect(try await isReached(from: "q") == (scope == "project"), "only what was meant")
                #expect(try await Self.state(host, "p") == "running")
                host.killNode(0)
                try await host.startNode(0)
                #expect(try await !isReached(from: "p"), "also after a restart of the node")
                // A container that is made now has no network either.
                try await host.tool("devcontainer.restart", ["project": "p"])
                #expect(try await !isReached(from: "p"), "also in a new container")
                try await host.cli(["kill", "lift", try #require(answer["id"]?.string)])
                try await eventually("traffic flows again") { try await isReached(from: "p") }
            }
        }
    }

    /// Everything of the scope ends and is held, and nothing else.
    @Test(.endsInTime, arguments: ["workspace", "node"])
    func aScopeEndsAsAWhole(scope: String) async throws {
        try await Installation.with(nodes: 2) { host in
            for name in ["p", "q", "r", "s"] {
                try await host.tool("projects_create", ["name": .string(name)])
                _ = try await host.exec(name, "true")
            }
            var homes: [String: String] = [:]
            for name in ["p", "q", "r", "s"] {
                homes[name] = try await host.tool("projects_get", ["project": .string(name)])["node"]?.string
            }
            let hit = scope == "workspace" ? Set(homes.keys) : Set(homes.filter { $0.value == host.nodeName(0) }.keys)
            #expect(!hit.isEmpty && (scope == "workspace" || hit.count < 4), "\(homes)")
            let target = scope == "node" ? [host.nodeName(0)] : []
            let answer = try await Self.order(host, [scope] + target + ["--hold", "--reason", "hurts"])
            let expected = scope == "node" ? [host.nodeName(0)] : [host.nodeName(0), host.nodeName(1)]
            let told = Self.names(answer, "acknowledged") + Self.names(answer, "missing")
            #expect(Set(told).isSuperset(of: expected), "\(answer)")
            for name in ["p", "q", "r", "s"] {
                guard hit.contains(name) else {
                    #expect(try await host.exec(name, "echo well")["stdout"] == "well\n", "\(name) was not meant")
                    continue
                }
                try await eventually("\(name) has ended") { try await Self.state(host, name) == "stopped" }
                let refused = try await host.cli(["exec", name, "--", "true"], expectStatus: 125)
                #expect(refused.contains("hurts"), "\(refused)")
            }
            try await host.cli(["kill", "lift", try #require(answer["id"]?.string)])
            for name in ["p", "q", "r", "s"] { #expect(try await host.exec(name, "true")["exitCode"] == 0) }
        }
    }
}
