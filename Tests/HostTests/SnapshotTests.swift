import FastableCore
import Foundation
import Synchronization
import TestSupport
import Testing

/// Saved work with everything real: what was in a workspace is in it again, also when a daemon is killed meanwhile.
@Suite(
    "Snapshots", .serialized,
    .enabled(if: Installation.missing == nil, "\(Installation.missing ?? "")"))
struct SnapshotTests {
    /// One line about each entry: kind, mode, owners, time, links, content. An answer leaves out the middle of a long text, so the digest
    /// of all of it comes first.
    private static let listing = """
        cd /workspace && find . | busybox sort | while read -r f; do stat -c '%n %a %u:%g %h %F' "$f"; \
        test -d "$f" || stat -c '%Y' "$f"; \
        test -L "$f" && readlink "$f"; test -f "$f" -a ! -L "$f" && sha256sum < "$f"; done > /tmp/listing; \
        sha256sum /tmp/listing && cat /tmp/listing
        """

    private static func list(_ host: Installation, _ project: String) async throws -> String {
        let answer = try await host.exec(project, listing, timeoutSeconds: 300)
        #expect(answer["exitCode"] == 0, "\(answer)")
        return answer["stdout"]?.string ?? ""
    }

    private static func fill(_ host: Installation, _ project: String, megabytes: Int) async throws {
        let made = try await host.exec(
            project,
            """
            cd /workspace && mkdir -p empty bin deep/er && echo hello > deep/er/file && ln deep/er/file second \
            && ln -s nowhere dangling && printf '#!/bin/sh' > bin/tool && chmod 4755 bin/tool && busybox chown 1000:1001 second \
            && chmod 1777 empty && touch -d '2001-02-03 04:05:06' bin/tool \
            && head -c \(megabytes * 1024 * 1024) /dev/urandom > noise && for i in $(seq 200); do echo $i > deep/$i; done
            """, timeoutSeconds: 300)
        #expect(made["exitCode"] == 0, "\(made)")
    }

    private static func workspace(_ host: Installation, _ project: JSONValue?, node: Int = 0) -> String {
        host.directory.appending(path: "node-\(node)/projects/\(project?.string ?? "")/workspace").path
    }

    @Test func whatWasThereIsThereAgainHereAndOnAnotherNode() async throws {
        try await Installation.with(nodes: 2) { host in
            try await host.tool("projects_create", ["name": "p"])
            try await Self.fill(host, "p", megabytes: 3)
            let first = try await Self.list(host, "p")
            #expect(first.contains("4755 0:0") && first.contains("1000:1001 2"))
            try await host.cli(["project", "snapshot", "p"])
            _ = try await host.exec("p", "cd /workspace && rm -rf deep && echo other > other")
            let second = try await Self.list(host, "p")
            try await host.cli(["project", "restore", "p"])
            #expect(try await Self.list(host, "p") == first)
            try await host.cli(["project", "rollback", "p"])
            #expect(try await Self.list(host, "p") == second)

            try await host.cli(["project", "fork", "p", "forked"])
            #expect(try await Self.list(host, "forked") == second)
            try await host.cli(["project", "checkpoint", "p", "--note", "now"])
            #expect(try await host.cli(["project", "checkpoints", "p"]).contains("now"))

            // The project goes, its node takes nothing new: what was saved comes back on the other.
            let home = try #require(try await host.tool("projects_get", ["project": "p"])["node"]?.string)
            let deleted = try await host.cli(["project", "delete", "p", "--yes"])
            let snapshot = try #require(deleted.split(separator: " ").last?.trimmingCharacters(in: .newlines))
            try await host.tool("nodes_cordon", ["node": .string(home)])
            try await host.cli(["project", "create", "again", "--from-snapshot", snapshot])
            #expect(try await host.tool("projects_get", ["project": "again"])["node"]?.string != home)
            #expect(try await Self.list(host, "again") == second)
        }
    }

    /// The node's daemon is killed when so many bytes of the archive have come.
    @Test func killingTheNodeDuringASnapshotLeavesNothing() async throws {
        try await Installation.with { host in
            let project = try await host.tool("projects_create", ["name": "p"])["id"]
            try await Self.fill(host, "p", megabytes: 200)
            let first = try await Self.list(host, "p")
            let store = host.controllerState + "/snapshots"
            var isCut = false
            // Where it was over before the kill, once more.
            for _ in 0..<5 where !isCut {
                let taking = Task { try await host.tool("projects_snapshot", ["project": "p"]) }
                try await eventually("the archive is being written") { Self.bytes(below: store) > 4 << 20 }
                host.killNode(0)
                guard let taken = try? await taking.value else {
                    isCut = true
                    break
                }
                try await host.startNode(0)
                try await host.tool("projects_snapshot_delete", ["snapshot": try #require(taken["id"])])
            }
            #expect(isCut, "it was always over before")
            try await eventually("nothing is left") { Self.names(store).isEmpty }
            try await host.startNode(0)
            #expect(try await Self.list(host, "p") == first)
            #expect(Self.leftovers(in: Self.workspace(host, project)) == [])
            #expect(try await host.tool("projects_snapshot", ["project": "p"])["state"] == "verified")
        }
    }

    @Test func killingADaemonDuringARestoreLeavesTheOldTree() async throws {
        try await Installation.with { host in
            let project = try await host.tool("projects_create", ["name": "p"])["id"]
            try await Self.fill(host, "p", megabytes: 200)
            try await host.tool("projects_snapshot", ["project": "p"])
            let first = try await Self.list(host, "p")
            let path = Self.workspace(host, project)
            for killsNode in [true, false] {
                var isCut = false
                // Where it was over before the kill, once more.
                for _ in 0..<5 where !isCut {
                    _ = try await host.exec("p", "cd /workspace && rm -rf noise deep && echo other > other")
                    let second = try await Self.list(host, "p")
                    let isOver = Atomic(false)
                    let restoring = Task {
                        defer { isOver.store(true, ordering: .relaxed) }
                        try await host.tool("projects_restore", ["project": "p"])
                    }
                    try await eventually("the tree is being made") {
                        isOver.load(ordering: .relaxed)
                            || Self.leftovers(in: path).contains { Self.bytes(below: "\(path)/\($0)") > 4 << 20 }
                    }
                    if killsNode { host.killNode(0) } else { host.killController() }
                    _ = await restoring.result
                    if killsNode { try await host.startNode(0) } else { try await host.startController() }
                    try await eventually("the node is back") { await host.nodeState(0) == "ready" }
                    try await eventually("nothing is left") { Self.leftovers(in: path).isEmpty }
                    let found = try await Self.list(host, "p")
                    isCut = found == second
                    #expect(isCut || found == first, "neither the old tree nor the new one")
                    let kept = try await host.tool("projects_checkpoints", ["project": "p"])["checkpoints"]?.array ?? []
                    #expect(!isCut || kept.isEmpty)
                    for checkpoint in kept {
                        try await host.tool(
                            "projects_checkpoint_delete",
                            ["project": "p", "checkpoint": try #require(checkpoint["id"])])
                    }
                }
                #expect(isCut, "it was always over before")
            }
        }
    }

    @Test func killingTheControllerDuringASnapshotLeavesNoDraft() async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "p"])
            try await Self.fill(host, "p", megabytes: 200)
            let store = host.controllerState + "/snapshots"
            var isCut = false
            for _ in 0..<5 where !isCut {
                let taking = Task { try await host.tool("projects_snapshot", ["project": "p"]) }
                try await eventually("the archive is being written") { Self.bytes(below: store) > 4 << 20 }
                host.killController()
                _ = await taking.result
                isCut = Self.names(store).contains { $0.hasSuffix(".draft") }
                try await host.startController()
                try await eventually("the node is back") { await host.nodeState(0) == "ready" }
                for saved in try await host.tool("projects_snapshots", [:])["snapshots"]?.array ?? [] {
                    try await host.tool("projects_snapshot_delete", ["snapshot": try #require(saved["id"])])
                }
            }
            #expect(isCut, "the draft is what a killed controller leaves")
            try await eventually("nothing is left") { Self.names(store).isEmpty }
            #expect(try await host.tool("projects_snapshots", [:])["snapshots"] == [])
        }
    }

    /// What of that the ordinary run can afford: less than the content, and nothing that could be compressed.
    @Test(.endsInTime) func largeContentCostsLittleMemory() async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "p"])
            try await Self.fill(host, "p", megabytes: 200)
            let before = try host.privateKilobytes()
            let highest = Mutex((node: before.node, controller: before.controller, looks: 0))
            let watch = Task {
                while !Task.isCancelled {
                    let now = try host.privateKilobytes()
                    highest.withLock {
                        $0 = (max($0.node, now.node), max($0.controller, now.controller), $0.looks + 1)
                    }
                    try await Task.sleep(for: .milliseconds(20))
                }
            }
            defer { watch.cancel() }
            let taken = try await host.tool("projects_snapshot", ["project": "p"])
            #expect(taken["state"] == "verified" && taken["contentBytes"]?.integer ?? 0 >= 200 << 20, "\(taken)")
            let (most, after) = (highest.withLock { $0 }, try host.privateKilobytes())
            let node = max(most.node, after.node) - before.node
            let controller = max(most.controller, after.controller) - before.controller
            print("200 MiB in a snapshot: memory of the node +\(node) kB, of the controller +\(controller) kB")
            #expect(most.looks > 1, "nobody looked while it was taken")
            #expect(node < 65_536 && controller < 65_536)
        }
    }

    /// A gigabyte in 20,000 files, there and back, with the daemons' memory flat.
    @Test(
        .enabled(if: ProcessInfo.processInfo.environment["FASTABLE_LARGE_GIGABYTES"] != nil, "part of make test-large"),
        .timeLimit(.minutes(20)))
    func aGigabyteCostsNoMemory() async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "p"])
            let made = try await host.exec(
                "p",
                """
                cd /workspace && for d in $(seq 200); do mkdir $d; for f in $(seq 100); do \
                head -c 54000 /dev/urandom > $d/$f; done; done
                """, timeoutSeconds: 600)
            #expect(made["exitCode"] == 0, "\(made)")
            let before = try host.privateKilobytes()
            let clock = ContinuousClock()
            let taking = try await clock.measure {
                _ = try await host.tool("projects_snapshot", ["project": "p"])
            }
            let restoring = try await clock.measure {
                _ = try await host.tool("projects_restore", ["project": "p", "discardCurrent": true])
            }
            let after = try host.privateKilobytes()
            print(
                "1 GB, 20,000 files: snapshot \(taking), restore \(restoring); node \(before.node) → \(after.node) kB, "
                    + "controller \(before.controller) → \(after.controller) kB")
            #expect(after.node - before.node < 65_536 && after.controller - before.controller < 65_536)
        }
    }

    // MARK: looking

    private static func names(_ path: String) -> [String] {
        (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
    }

    private static func leftovers(in path: String) -> [String] { names(path).filter { $0.hasPrefix(".fastable-") } }

    private static func bytes(below path: String) -> Int {
        let files = FileManager.default.enumerator(atPath: path)
        var bytes = 0
        while let name = files?.nextObject() as? String {
            let attributes = try? FileManager.default.attributesOfItem(atPath: path + "/" + name)
            bytes += (attributes?[.size] as? Int) ?? 0
        }
        return bytes
    }
}
