import FastableCore
import Foundation
import TestSupport
import Testing

/// Programs that run whenever a project's container does, with everything real.
@Suite("Dev servers", .serialized, .enabled(if: Installation.missing == nil, "\(Installation.missing ?? "")"))
struct DevServerTests {
    /// Tells each of its runs in a file of the project, and on stdout.
    private static let script = "echo $$ >> /workspace/runs; echo serving; while :; do sleep 0.1; done"

    private static func runs(_ host: Installation) async throws -> Int {
        let read = try await host.tool("fs.read", ["project": "p", "path": "runs"])
        return read["content"]?.string?.split(separator: "\n").count ?? 0
    }

    private static func server(_ host: Installation) async throws -> JSONValue? {
        try await host.tool("dev_server.list", ["project": "p"])["servers"]?.array?.first
    }

    private static func use(_ host: Installation, untilRuns runs: Int) async throws {
        #expect(try await host.exec("p", "true")["exitCode"] == 0)
        try await eventually("it runs for the \(runs). time") { try await Self.runs(host) == runs }
        try await eventually("it is told to run") { try await server(host)?["state"] == "running" }
    }

    @Test(.endsInTime) func itRunsWheneverItsContainerDoes() async throws {
        try await Installation.with(nodes: 2) { host in
            try await DrainWork.fill(host, on: 0, files: 5)
            let command: JSONValue = ["project": "p", "cmd": .string(Self.script)]
            let exec = try await host.tool("dev_server.start", command)["server"]?["execId"]
            try await eventually("it serves") {
                try await host.tool("dev_server.logs", ["project": "p"])["stdout"] == "serving\n"
            }
            #expect(try await host.tool("dev_server.start", command)["server"]?["execId"] == exec, "nothing changes")
            // Its run is a command like any other.
            let page = try await host.tool("shell.output", ["execId": exec ?? .null])
            #expect(page["content"] == "serving\n" && page["running"] == true)
            // Neither program's death is noticed by it.
            host.killController()
            host.killNode(0)
            try await host.startController()
            try await host.startNode(0)
            try await eventually("it is known") { try await Self.server(host)?["state"] == "running" }
            #expect(try await Self.server(host)?["execId"] == exec)
            #expect(try await Self.runs(host) == 1)
            try await host.tool("devcontainer.suspend", ["project": "p"])
            try await Self.use(host, untilRuns: 1)
            try await host.tool("devcontainer.stop", ["project": "p"])
            #expect(try await Self.server(host)?["state"] == "resting")
            try await Self.use(host, untilRuns: 2)
            // A host that is lost comes back without it.
            try await host.loseHost(0, power: false)
            try await host.startNode(0)
            try await Self.use(host, untilRuns: 3)
            try await host.tool("devcontainer.stop", ["project": "p"])
            try await host.tool("devcontainer.archive", ["project": "p"])
            try await Self.use(host, untilRuns: 4)
            // It keeps nobody from leaving.
            let home = try await DrainWork.home(host) == host.nodeName(0) ? 0 : 1
            try await host.cli(["node", "drain", host.nodeName(home), "--wait"])
            try await Self.use(host, untilRuns: 5)
            #expect(try await DrainWork.home(host) == host.nodeName(1 - home))
        }
    }

    @Test(.endsInTime) func itEndsForGood() async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "p"])
            let shown = try await host.cli(["dev", "start", "p", "-n", "web", "-e", "A=b", "--", Self.script])
            #expect(shown.hasPrefix("web: running (exe_"))
            try await eventually("it serves") { try await host.cli(["dev", "logs", "p", "-n", "web"]) == "serving\n" }
            #expect(try await host.cli(["dev", "ls", "p"]).contains("web   running"))
            _ = try await host.cli(["dev", "restart", "p", "-n", "web"])
            try await eventually("it runs anew") { try await Self.runs(host) == 2 }
            let receipt = try await host.tool("dev_server.stop", ["project": "p", "name": "web"])
            #expect(receipt["everythingEnded"] == true && receipt["applied"] == true)
            let left = try await host.exec("p", "ps | grep -c '[w]hile :'")
            #expect(left["stdout"] == "0\n", "\(left)")
            try await host.tool("devcontainer.restart", ["project": "p"])
            #expect(try await host.exec("p", "sleep 0.5")["exitCode"] == 0)
            #expect(try await Self.runs(host) == 2)
            // By its name alone, and then never more.
            _ = try await host.cli(["dev", "start", "p", "-n", "web"])
            try await eventually("it runs") { try await Self.runs(host) == 3 }
            #expect(try await host.cli(["dev", "stop", "p", "-n", "web", "--forget"]) == "web: nothing of it runs.\n")
            #expect(try await host.cli(["dev", "ls", "p"]).hasPrefix("No dev servers."))
            // One that stands still is ended, too.
            _ = try await host.cli(["dev", "start", "p", "-n", "web", "--", Self.script])
            try await eventually("it runs") { try await Self.runs(host) == 4 }
            try await host.tool("devcontainer.suspend", ["project": "p"])
            let frozen = try await host.tool("dev_server.stop", ["project": "p", "name": "web", "forget": true])
            #expect(frozen["everythingEnded"] == true, "\(frozen)")
            #expect(try await host.exec("p", "ps | grep -c '[w]hile :'")["stdout"] == "0\n")
            await expectFailure(.notFound) {
                try await host.tool("dev_server.start", ["project": "p", "name": "web"])
            }
            await expectFailure(.notFound) { try await host.tool("dev_server.logs", ["project": "p", "name": "web"]) }
        }
    }
}
