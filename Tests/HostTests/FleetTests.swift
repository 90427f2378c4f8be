import FastableCore
import Foundation
import NIOHTTP1
import TestSupport
import Testing

@Suite("A fleet of two nodes", .serialized, .enabled(if: Installation.missing == nil, "\(Installation.missing ?? "")"))
struct FleetTests {
    @Test(.endsInTime)
    func projectsSpreadOverNodesAndCordonedOnesAreLeftOut() async throws {
        try await Installation.with(nodes: 2) { host in
            for index in 0..<4 {
                try await host.tool("projects_create", ["name": .string("p\(index)")])
                let answer = try await host.exec("p\(index)", "echo $((40 + 2))")
                #expect(answer["stdout"]?.string == "42\n")
                #expect(answer["exitCode"]?.integer == 0)
            }
            let projects = try await host.tool("projects_list", [:])["projects"]?.array ?? []
            #expect(Set(projects.compactMap { $0["node"]?.string }).count == 2, "both nodes must have got projects")

            try await host.tool("nodes_cordon", ["node": .string(host.nodeName(0))])
            for index in 4..<7 {
                try await host.tool("projects_create", ["name": .string("p\(index)")])
                _ = try await host.exec("p\(index)", "true")
            }
            let shown = try await host.tool("nodes_list", [:])["nodes"]?.array ?? []
            let cordoned = try #require(shown.first { $0["name"]?.string == host.nodeName(0) })
            #expect(cordoned["state"]?.string == "cordoned")
            let after = try await host.tool("projects_list", [:])["projects"]?.array ?? []
            let late = after.filter { ["p4", "p5", "p6"].contains($0["name"]?.string ?? "") }
            #expect(late.count == 3 && late.allSatisfy { $0["node"] != cordoned["name"] })
            // What already lives there goes on working.
            let old = try #require(after.first { $0["node"] == cordoned["name"] }?["name"]?.string)
            #expect(try await host.exec(old, "echo here")["stdout"]?.string == "here\n")
        }
    }

    @Test(.endsInTime)
    func anOfflineNodeIsSaidAtOnce() async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "p"])
            _ = try await host.exec("p", "true")
            host.killNode(0)
            try await eventually("the node counts as offline") { await host.nodeState(0) == "offline" }
            let start = ContinuousClock.now
            let answer = try await host.request(
                .POST, "/api/tools/shell.exec", body: Data(#"{"project":"p","cmd":"true"}"#.utf8))
            #expect(answer.status == 503)
            #expect(answer.head.first(name: "retry-after") != nil)
            #expect(ContinuousClock.now - start < .seconds(Limits.nodeAnswerSeconds), "nobody waited for the node")
            try await host.startNode(0)
        }
    }

    @Test(.endsInTime)
    func aRemovedNodeIsCutOffAndStaysOut() async throws {
        try await Installation.with(nodes: 2) { host in
            try await host.tool("nodes_remove", ["node": .string(host.nodeName(1))])
            try await eventually("the link is cut") { await host.nodeState(1) == nil }
            // Its certificate is revoked: it dials again and is refused, while the other node stays.
            try await eventually("its refusal is counted") {
                let metrics = try await host.request(.GET, "/metrics")
                return String(decoding: metrics.body, as: UTF8.self).split(separator: "\n")
                    .contains { $0.hasPrefix("fastable_links_refused_total") && !$0.hasSuffix(" 0") }
            }
            #expect(await host.nodeState(1) == nil)
            #expect(await host.nodeState(0) == "ready")
        }
    }

    @Test(.endsInTime)
    func aJoinTokenWorksOnce() async throws {
        try await Installation.with { host in
            let file = host.directory.appending(path: "join-0").path
            let text = try await host.run(
                "fastable-node",
                [
                    "join", "--token-file", file, "--instance", host.nodeName(7), "--state-dir",
                    host.directory.appending(path: "node-7").path, "--run-dir", host.runDirectory(7),
                ], expectStatus: 1)
            #expect(text.contains("join token"))
            #expect(text.split(separator: "\n").count == 1, "one clear line: \(text)")
        }
    }
}
