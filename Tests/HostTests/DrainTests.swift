import FastableCore
import Foundation
import Synchronization
import TestSupport
import Testing

/// Nodes give their projects to others, with everything real.
@Suite("Drain", .serialized, .enabled(if: Installation.missing == nil, "\(Installation.missing ?? "")"))
struct DrainTests {
    private static func list(_ host: Installation, _ project: String = "p") async throws -> String {
        try await WorkspaceListing.of(project, on: host)
    }

    /// A project on this node, with some content.
    private static func fill(
        _ host: Installation, _ project: String = "p", on node: Int, files: Int, diskBytes: Int64? = nil
    ) async throws {
        try await host.tool("nodes_cordon", ["node": .string(host.nodeName(1 - node))])
        var wish: [String: JSONValue] = ["name": .string(project)]
        wish["limits"] = diskBytes.map { ["diskBytes": .integer($0)] }
        try await host.tool("projects_create", .object(wish))
        let made = try await host.exec(
            project,
            """
            cd /workspace && mkdir deep && head -c 1000000 /dev/urandom > noise \
            && for i in $(seq \(files)); do echo $i > deep/$i; done
            """, timeoutSeconds: 120)
        #expect(made["exitCode"] == 0, "\(made)")
        try await host.tool("nodes_uncordon", ["node": .string(host.nodeName(1 - node))])
        #expect(try await home(host, project) == host.nodeName(node))
    }

    private static func home(_ host: Installation, _ project: String = "p") async throws -> String? {
        try await host.tool("projects_get", ["project": .string(project)])["node"]?.string
    }

    private static func volumes(_ host: Installation, node: Int) -> [String] {
        let path = host.directory.appending(path: "node-\(node)/projects").path
        return (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
    }

    private static func archives(_ host: Installation) -> Int {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: host.controllerState + "/snapshots")) ?? []
        return names.count { $0.hasSuffix(".tar.zst") }
    }

    private static func isDrained(_ host: Installation, _ node: Int) async throws -> Bool {
        guard let shown = try? await host.tool("nodes_get", ["node": .string(host.nodeName(node))]) else {
            return false
        }
        return shown["drain"] == nil && shown["projects"] == 0
    }

    private static func drain(_ host: Installation, _ node: Int) async throws {
        try await host.tool("nodes_drain", ["node": .string(host.nodeName(node))])
    }

    @Test(.endsInTime) func whatWorksIsWaitedForAndNothingIsLost() async throws {
        try await Installation.with(nodes: 2) { host in
            for name in ["a", "b", "c"] { try await Self.fill(host, name, on: 0, files: 100) }
            var before: [String: String] = [:]
            for name in ["a", "b", "c"] { before[name] = try await Self.list(host, name) }
            let started = try await host.tool(
                "shell.exec",
                [
                    "project": "a", "detach": true,
                    "cmd": "while ! test -e /workspace/go; do sleep 0.1; done; echo done > /workspace/end",
                ])
            let command = try #require(started["execId"]?.string)
            let waiting = Task.detached { try await host.cli(["node", "drain", host.nodeName(0), "--wait"]) }
            try await eventually("the others are moved") {
                let homes = [try await Self.home(host, "b"), try await Self.home(host, "c")]
                return homes.allSatisfy { $0 == host.nodeName(1) }
            }
            try await eventually("it says why one is not") {
                let shown = try await host.cli(["node", "show", host.nodeName(0)])
                return shown.contains("waiting") && shown.contains(command)
            }
            #expect(await host.nodeState(0) == "draining")
            #expect(try await Self.home(host, "a") == host.nodeName(0))
            try await host.tool("fs.write", ["project": "a", "path": "go", "content": ""])
            let told = try await waiting.value
            #expect(told.contains("is drained.") && told.contains("3 of 3 left"), "\(told)")
            #expect(Self.volumes(host, node: 0).isEmpty && Self.volumes(host, node: 1).count == 3)
            #expect(await host.nodeState(0) == "cordoned")
            #expect(try await host.exec("a", "cat end; rm go end")["stdout"] == "done\n", "it ended by itself")
            for (name, content) in before { #expect(try await Self.list(host, name) == content, "\(name)") }
            let events = try await host.tool("events_list", ["kinds": ["node.drained", "project.moved"]])["events"]
            #expect(events?.array?.compactMap { $0["kind"]?.string }.filter { $0 == "project.moved" }.count == 3)
        }
    }

    @Test(.endsInTime) func nowAsksCommandsToEnd() async throws {
        try await Installation.with(nodes: 2) { host in
            try await Self.fill(host, on: 0, files: 20)
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
            #expect(try await Self.home(host) == host.nodeName(1))
            #expect(try await host.exec("p", "cat end")["stdout"] == "asked\n")
        }
    }

    /// It has a disk of that size there as well, and nothing is left of the old one. From a node that is lost it is kept as it is.
    @Test(.endsInTime, .enabled(if: DiskHost.missing == nil, "\(DiskHost.missing ?? "")"))
    func aProjectHasItsDiskOnTheOtherNodeToo() async throws {
        let size: Int64 = 128 << 20
        try await Installation.with(nodes: 2) { host in
            try await Self.fill(host, on: 0, files: 100, diskBytes: size)
            let before = try await Self.list(host)
            let id = try #require(try await host.tool("projects_get", ["project": "p"])["id"]?.string)
            func image(_ node: Int) -> String {
                host.directory.appending(path: "node-\(node)/projects/\(id)/disk.img").path
            }
            #expect(HostFacts.loopFiles("/\(host.name)/") == [image(0)])
            try await host.cli(["node", "drain", host.nodeName(0), "--wait"])
            #expect(try await Self.home(host) == host.nodeName(1))
            #expect(Self.volumes(host, node: 0).isEmpty)
            #expect(try await Self.list(host) == before)
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
            try await Self.drain(host, 1)
            try await eventually("it says why it stays") {
                try await host.cli(["node", "show", host.nodeName(1)]).contains("disk cannot be opened")
            }
            #expect(try await Self.home(host) == host.nodeName(1))
            try await host.cli(["node", "drain", host.nodeName(1), "--force", id, "--wait"])
            #expect(try await Self.list(host) == before, "as the snapshot of the first move has it")
            #expect(try await Self.home(host) == host.nodeName(0))
            let aside = try await host.tool("projects_snapshots", ["project": "p"])["setAside"]?.array?.first
            let path = try #require(aside?["path"]?.string)
            #expect(FileManager.default.fileExists(atPath: path + "/disk.img"))
            try await eventually("it has that device alone") { HostFacts.loopFiles("/\(host.name)/") == [image(0)] }
        }
    }

    enum Victim: CaseIterable { case controller, source, target }

    /// Each costs a restart and a drain, so the ordinary run has two of them and `make test-faults` all.
    private static let delaysMilliseconds =
        ProcessInfo.processInfo.environment["FASTABLE_FAULT_ROUNDS"] == nil ? [0, 300] : [0, 100, 300, 600]

    /// `kill -9` when the archive has just got its name, and a little later each time: while the other node gets it, when it has it,
    /// while the first gives it up, and behind that.
    @Test(.endsInTime, arguments: Victim.allCases)
    func aKilledDaemonLosesNothing(victim: Victim) async throws {
        try await Installation.with(nodes: 2) { host in
            try await Self.fill(host, on: 0, files: 3000)
            var before = try await Self.list(host)
            var source = 0
            for milliseconds in Self.delaysMilliseconds {
                let known = Self.archives(host)
                try await Self.drain(host, source)
                try await eventually("the archive has its name") { Self.archives(host) > known }
                try await Task.sleep(for: .milliseconds(milliseconds))
                switch victim {
                case .controller: host.killController()
                case .source: host.killNode(source)
                case .target: host.killNode(1 - source)
                }
                switch victim {
                case .controller: try await host.startController()
                case .source: try await host.startNode(source, expectReady: false)
                case .target: try await host.startNode(1 - source)
                }
                try await eventually("it is drained") { try await Self.isDrained(host, source) }
                #expect(try await Self.home(host) == host.nodeName(1 - source))
                try await eventually("it can be used") { (try? await host.exec("p", "true"))?["exitCode"] == 0 }
                #expect(try await Self.list(host) == before, "after \(milliseconds) ms")
                _ = try await host.exec("p", "echo \(milliseconds) >> deep/more")
                before = try await Self.list(host)
                try await eventually("there is one of it") {
                    Self.volumes(host, node: 0).count + Self.volumes(host, node: 1).count == 1
                }
                try await host.tool("nodes_uncordon", ["node": .string(host.nodeName(source))])
                source = 1 - source
            }
        }
    }

    /// No packet between the controller and the nodes for longer than a link may be silent.
    @Test(.endsInTime, arguments: [0, 150])
    func aCutLinkLosesNothing(milliseconds: Int) async throws {
        try await Installation.with(nodes: 2) { host in
            try await Self.fill(host, on: 0, files: 3000)
            let before = try await Self.list(host)
            let known = Self.archives(host)
            try await Self.drain(host, 0)
            try await eventually("the archive has its name") { Self.archives(host) > known }
            try await Task.sleep(for: .milliseconds(milliseconds))
            try await host.withCutLink {
                try await eventually("the controller notices", seconds: 120) {
                    let states = [await host.nodeState(0), await host.nodeState(1)]
                    return states.allSatisfy { $0 == "offline" }
                }
            }
            try await eventually("it is drained", seconds: 120) { try await Self.isDrained(host, 0) }
            try await eventually("it can be used") { (try? await host.exec("p", "true"))?["exitCode"] == 0 }
            #expect(try await Self.list(host) == before)
            try await eventually("there is one of it") {
                Self.volumes(host, node: 0).isEmpty && Self.volumes(host, node: 1).count == 1
            }
        }
    }

    /// Nobody is left out in the cold: while a drain goes on, and is cancelled and begun again, the project can be used.
    @Test(.endsInTime) func itCanBeUsedThroughout() async throws {
        try await Installation.with(nodes: 2) { host in
            try await Self.fill(host, on: 0, files: 500)
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
                let source = try await Self.home(host) == host.nodeName(0) ? 0 : 1
                try await Self.drain(host, source)
                if round.isMultiple(of: 2) {
                    try await eventually("it is drained") { try await Self.isDrained(host, source) }
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
