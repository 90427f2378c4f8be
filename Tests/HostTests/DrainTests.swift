import FastableCore
import Foundation
import NIOHTTP1
import Synchronization
import TestSupport
import Testing

/// Nodes give their projects to others, with everything real.
@Suite("Drain", .serialized, .enabled(if: Installation.missing == nil, "\(Installation.missing ?? "")"))
struct DrainTests {
    @Test(.endsInTime) func whatWorksIsWaitedForAndNothingIsLost() async throws {
        try await Installation.with(nodes: 2) { host in
            for name in ["a", "b", "c"] { try await DrainWork.fill(host, name, on: 0, files: 100) }
            var before: [String: String] = [:]
            for name in ["a", "b", "c"] { before[name] = try await WorkspaceListing.of(name, on: host) }
            let started = try await host.tool(
                "shell.exec",
                [
                    "project": "a", "detach": true,
                    "cmd": "while ! test -e /workspace/go; do sleep 0.1; done; echo done > /workspace/end",
                ])
            let command = try #require(started["execId"]?.string)
            let waiting = Task.detached { try await host.cli(["node", "drain", host.nodeName(0), "--wait"]) }
            try await eventually("the others are moved") {
                let homes = [try await DrainWork.home(host, "b"), try await DrainWork.home(host, "c")]
                return homes.allSatisfy { $0 == host.nodeName(1) }
            }
            try await eventually("it says why one is not") {
                let shown = try await host.cli(["node", "show", host.nodeName(0)])
                return shown.contains("waiting") && shown.contains(command)
            }
            #expect(await host.nodeState(0) == "draining")
            #expect(try await DrainWork.home(host, "a") == host.nodeName(0))
            try await host.tool("fs.write", ["project": "a", "path": "go", "content": ""])
            let told = try await waiting.value
            #expect(told.contains("is drained.") && told.contains("3 of 3 left"), "\(told)")
            #expect(DrainWork.volumes(host, node: 0).isEmpty && DrainWork.volumes(host, node: 1).count == 3)
            #expect(await host.nodeState(0) == "cordoned")
            #expect(try await host.exec("a", "cat end; rm go end")["stdout"] == "done\n", "it ended by itself")
            // How it ended is known on; what it printed has gone with its node.
            let status = try await host.request(.GET, "/api/execs/\(command)")
            let report = try JSON.decode(JSONValue.self, from: status.body)
            #expect(report["running"] == false && report["result"]?["exitCode"] == 0, "\(report)")
            let listed = try await host.tool("shell.list", ["project": "a"])["execs"]?.array ?? []
            #expect(listed.first { $0["execId"]?.string == command }?["exitCode"] == 0, "\(listed)")
            #expect(try await host.tool("shell.wait", ["execId": .string(command)])["exitCode"] == 0)
            await expectFailure(.gone) { try await host.tool("shell.output", ["execId": .string(command)]) }
            for (name, content) in before {
                #expect(try await WorkspaceListing.of(name, on: host) == content, "\(name)")
            }
            let events = try await host.tool("events_list", ["kinds": ["node.drained", "project.moved"]])["events"]
            #expect(events?.array?.compactMap { $0["kind"]?.string }.filter { $0 == "project.moved" }.count == 3)
        }
    }

    @Test(.endsInTime) func nowAsksCommandsToEnd() async throws {
        try await Installation.with(nodes: 2) { host in
            try await DrainWork.fill(host, on: 0, files: 20)
            try await host.tool(
                "shell.exec",
                [
                    "project": "p", "detach": true,
                    "cmd":
                        "trap 'echo asked > /workspace/end; exit' TERM; touch /workspace/ready; while :; do sleep 0.1; done",
                ])
            try await eventually("it runs") { try await host.exec("p", "test -e ready")["exitCode"] == 0 }
            // Somebody watches as well: that is cut off, and comes back.
            let watching = Task { try await host.open("/api/projects/p/fs/watch") }
            _ = try await watching.value
            try await host.cli(["node", "drain", host.nodeName(0), "--now", "--wait"])
            #expect(try await DrainWork.home(host) == host.nodeName(1))
            #expect(try await host.exec("p", "cat end")["stdout"] == "asked\n")
        }
    }

    /// It has a disk of that size there as well, and nothing is left of the old one. From a node that is lost it is kept as it is.
    @Test(.endsInTime, .enabled(if: DiskHost.missing == nil, "\(DiskHost.missing ?? "")"))
    func aProjectHasItsDiskOnTheOtherNodeToo() async throws {
        let size: Int64 = 128 << 20
        try await Installation.with(nodes: 2) { host in
            try await DrainWork.fill(host, on: 0, files: 100, diskBytes: size)
            let before = try await WorkspaceListing.of("p", on: host)
            let id = try #require(try await host.tool("projects_get", ["project": "p"])["id"]?.string)
            func image(_ node: Int) -> String {
                host.directory.appending(path: "node-\(node)/projects/\(id)/disk.img").path
            }
            #expect(HostFacts.loopFiles("/\(host.name)/") == [image(0)])
            try await host.cli(["node", "drain", host.nodeName(0), "--wait"])
            #expect(try await DrainWork.home(host) == host.nodeName(1))
            #expect(DrainWork.volumes(host, node: 0).isEmpty)
            #expect(try await WorkspaceListing.of("p", on: host) == before)
            let status = try await host.tool("devcontainer.status", ["project": "p"])
            #expect(status["disk"]?["limitBytes"] == .integer(size), "\(status)")
            try await eventually("it has that device alone") { HostFacts.loopFiles("/\(host.name)/") == [image(1)] }
            // By force: its file system cannot be had any more.
            try await host.tool("devcontainer.stop", ["project": "p"])
            host.killNode(1)
            #expect(umount2(host.directory.appending(path: "node-1/projects/\(id)/disk").path, CInt(MNT_DETACH)) == 0)
            let damage = FileHandle(forWritingAtPath: image(1))
            try damage?.write(contentsOf: Data(repeating: 0xa5, count: 1 << 20))
            try damage?.close()
            try await host.startNode(1, expectReady: false)
            try await host.tool("nodes_uncordon", ["node": .string(host.nodeName(0))])
            try await DrainWork.drain(host, 1)
            try await eventually("it says why it stays") {
                try await host.cli(["node", "show", host.nodeName(1)]).contains("disk cannot be opened")
            }
            #expect(try await DrainWork.home(host) == host.nodeName(1))
            try await host.cli(["node", "drain", host.nodeName(1), "--force", id, "--wait"])
            #expect(try await WorkspaceListing.of("p", on: host) == before, "as the snapshot of the first move has it")
            #expect(try await DrainWork.home(host) == host.nodeName(0))
            let aside = try await host.tool("projects_snapshots", ["project": "p"])["setAside"]?.array?.first
            let path = try #require(aside?["path"]?.string)
            #expect(FileManager.default.fileExists(atPath: path + "/disk.img"))
            try await eventually("it has that device alone") { HostFacts.loopFiles("/\(host.name)/") == [image(0)] }
        }
    }

    /// Nobody is left out in the cold: while a drain goes on, and is cancelled and begun again, the project can be used.
    @Test(.endsInTime) func itCanBeUsedThroughout() async throws {
        try await Installation.with(nodes: 2) { host in
            try await DrainWork.fill(host, on: 0, files: 500)
            // A command that is cut off in the middle is one of which nobody knows whether it counts.
            let isOver = Mutex(false)
            let using = Task {
                var count = 0
                while !isOver.withLock({ $0 }) {
                    let answer = try await host.exec("p", "echo x >> count")
                    #expect(answer["exitCode"] == 0, "\(answer)")
                    if answer["exitCode"] == 0 { count += 1 }
                    // The platform moves what rests: between two commands there is a moment.
                    try? await Task.sleep(for: .milliseconds(1500))
                }
                return count
            }
            for round in 0..<4 {
                let source = try await DrainWork.home(host) == host.nodeName(0) ? 0 : 1
                try await DrainWork.drain(host, source)
                if round.isMultiple(of: 2) {
                    try await eventually("it is drained") { try await DrainWork.isDrained(host, source) }
                } else {
                    try await Task.sleep(for: .milliseconds(300))
                }
                try await host.tool("nodes_uncordon", ["node": .string(host.nodeName(source))])
            }
            isOver.withLock { $0 = true }
            let count = try await using.value
            #expect(try await host.exec("p", "wc -l < count")["stdout"]?.string == "\(count)\n")
        }
    }
}
