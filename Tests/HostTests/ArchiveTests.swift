import FastableCore
import Foundation
import Glibc
import TestSupport
import Testing

/// Down to the end and back, with everything real.
@Suite("Archive", .serialized, .enabled(if: Installation.missing == nil, "\(Installation.missing ?? "")"))
struct ArchiveTests {
    private static func list(_ host: Installation) async throws -> String {
        try await WorkspaceListing.of("p", on: host)
    }

    private static func fill(_ host: Installation, files: Int = 200) async throws {
        try await host.tool("projects_create", ["name": "p"])
        let made = try await host.exec(
            "p",
            """
            cd /workspace && mkdir deep && head -c 1000000 /dev/urandom > noise && echo x > /outside \
            && for i in $(seq \(files)); do echo $i > deep/$i; done
            """, timeoutSeconds: 120)
        #expect(made["exitCode"] == 0, "\(made)")
    }

    private static func state(_ host: Installation) async throws -> String? {
        try await host.tool("devcontainer.status", ["project": "p"])["state"]?.string
    }

    /// The directories of projects on a node's disk.
    private static func volumes(_ host: Installation, node: Int) -> [String] {
        let path = host.directory.appending(path: "node-\(node)/projects").path
        return (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
    }

    private static func kinds(_ host: Installation) async throws -> [String] {
        let events = try await host.tool("events_list", ["project": "p"])["events"]?.array ?? []
        return events.compactMap { $0["kind"]?.string }
    }

    @Test(.endsInTime) func itGoesDownByTimeAndComesBackOnUse() async throws {
        try await Installation.with(nodes: 2) { host in
            try await Self.fill(host)
            let before = try await Self.list(host)
            let home = try #require(try await host.tool("projects_get", ["project": "p"])["node"]?.string)
            try await host.cli(["container", "policy", "p", "--idle", "1", "--stop-after", "1", "--archive-after", "4"])
            try await eventually("it is archived", seconds: 300) { try await Self.state(host) == "archived" }
            #expect(Self.volumes(host, node: 0).isEmpty && Self.volumes(host, node: 1).isEmpty)
            let explained = try await host.cli(["container", "explain", "p"])
            #expect(
                explained.contains("It will be deleted in 2") || explained.contains("It will be deleted in 30 days"))
            let kinds = try await Self.kinds(host)
            #expect(
                kinds.firstIndex(of: "project.archiving_soon") ?? 99 < kinds.firstIndex(of: "project.archived") ?? -1)
            // Use brings it back, on the other node as well.
            try await host.tool("nodes_cordon", ["node": .string(home)])
            try await host.cli(["container", "policy", "p", "--idle", "0"])
            #expect(try await Self.list(host) == before)
            let back = try await host.tool("projects_get", ["project": "p"])
            #expect(back["node"]?.string != home && back["archive"] == nil)
            #expect(try await host.exec("p", "test -e /outside")["exitCode"] == 1, "only /workspace is kept")
            // And now to the end.
            try await host.tool("devcontainer.stop", ["project": "p"])
            try await host.cli(["container", "policy", "p", "--archive-after", "2", "--delete-after", "4"])
            try await eventually("it is deleted", seconds: 300) {
                try await host.tool("projects_list", [:])["projects"] == []
            }
            let saved = try await host.tool("projects_snapshots", [:])["snapshots"]?.array ?? []
            let newest = try #require(saved.first?["id"]?.string)
            #expect(saved.allSatisfy { $0["reason"] == "archive" && $0["expiresAt"]?.string != nil })
            try await host.cli(["project", "create", "p", "--from-snapshot", newest])
            #expect(try await Self.list(host) == before)
        }
    }

    @Test(.endsInTime) func everybodyWhoComesWaitsForOneRestore() async throws {
        try await Installation.with { host in
            try await Self.fill(host, files: 3000)
            let before = try await Self.list(host)
            #expect(try await host.cli(["container", "archive", "p"]).contains("archived"))
            #expect(Self.volumes(host, node: 0).isEmpty)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for index in 0..<6 {
                    group.addTask {
                        if index.isMultiple(of: 2) {
                            let answer = try await host.exec("p", "cat deep/7")
                            #expect(answer["stdout"] == "7\n")
                        } else {
                            let file = try await host.tool("fs.read", ["project": "p", "path": "deep/8"])
                            #expect(file["content"]?.string?.contains("8") == true)
                        }
                    }
                }
                try await group.waitForAll()
            }
            #expect(try await Self.kinds(host).filter { $0 == "project.restored" }.count == 1)
            #expect(try await Self.list(host) == before)
        }
    }

    @Test(.endsInTime) func aStoreWithoutRoomRefusesAndNothingIsLost() async throws {
        try await Installation.with { host in
            try await Self.fill(host)
            let before = try await Self.list(host)
            let store = host.controllerState + "/snapshots"
            try FileManager.default.createDirectory(atPath: store, withIntermediateDirectories: true)
            try #require(mount("tmpfs", store, "tmpfs", 0, "size=8m") == 0)
            defer { umount2(store, CInt(MNT_DETACH)) }
            try await host.cli(["container", "policy", "p", "--archive-after", "2"])
            try await host.tool("devcontainer.stop", ["project": "p"])
            try await eventually("it is told", seconds: 300) {
                try await Self.kinds(host).contains("project.archive_failed")
            }
            #expect(try await host.cli(["container", "explain", "p"]).contains("too full"))
            #expect(try await Self.state(host) == "stopped")
            #expect(Self.volumes(host, node: 0).count == 1)
            try #require(umount2(store, CInt(MNT_DETACH)) == 0)
            try await host.cli(["container", "policy", "p", "--archive-after", "0"])
            try await host.tool("devcontainer.archive", ["project": "p"])
            #expect(Self.volumes(host, node: 0).isEmpty)
            #expect(try await Self.list(host) == before)
        }
    }

    /// `kill -9` when the archive has just got its name, and a little later each time: before the removal, in it, behind it.
    @Test(.timeLimit(.minutes(10)), arguments: [true, false])
    func aKilledDaemonLosesNothing(killsController: Bool) async throws {
        try await Installation.with { host in
            try await Self.fill(host, files: 4000)
            var before = try await Self.list(host)
            let store = host.controllerState + "/snapshots"
            for milliseconds in [0, 5, 20, 80] {
                try await host.tool("devcontainer.stop", ["project": "p"])
                let known = Self.archives(store)
                let archiving = Task { try await host.tool("devcontainer.archive", ["project": "p"]) }
                try await eventually("the archive has its name") { Self.archives(store).count > known.count }
                try await Task.sleep(for: .milliseconds(milliseconds))
                if killsController { host.killController() } else { host.killNode(0) }
                _ = await archiving.result
                if killsController { try await host.startController() } else { try await host.startNode(0) }
                try await eventually("the node is back") { await host.nodeState(0) == "ready" }
                #expect(try await Self.list(host) == before, "after \(milliseconds) ms")
                _ = try await host.exec("p", "echo \(milliseconds) >> deep/more")
                before = try await Self.list(host)
                #expect(Self.volumes(host, node: 0).count == 1)
            }
        }
    }

    private static func archives(_ store: String) -> [String] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: store)) ?? []
        return names.filter { $0.hasSuffix(".tar.zst") }
    }

    /// A restore that is cut short leaves it archived; the next use has everything.
    @Test(.endsInTime, arguments: [true, false])
    func aRestoreThatIsCutShortIsBegunAnew(killsController: Bool) async throws {
        try await Installation.with { host in
            try await Self.fill(host, files: 4000)
            let before = try await Self.list(host)
            try await host.tool("devcontainer.archive", ["project": "p"])
            let using = Task { try await host.tool("fs.list", ["project": "p", "path": "."]) }
            try await eventually("it is being restored") { !Self.volumes(host, node: 0).isEmpty }
            if killsController { host.killController() } else { host.killNode(0) }
            _ = await using.result
            if killsController { try await host.startController() } else { try await host.startNode(0) }
            try await eventually("the node is back") { await host.nodeState(0) == "ready" }
            try await eventually("it can be used") { (try? await host.exec("p", "true"))?["exitCode"] == 0 }
            #expect(try await Self.list(host) == before)
            #expect(Self.volumes(host, node: 0).count == 1)
        }
    }
}
