import FastableCore
import Foundation
import NIOHTTP1
import TestSupport
import Testing

/// What becomes of projects' disks when the daemon dies, and when projects are saved, copied and removed.
@Suite(
    "Disks of projects, disturbed", .serialized,
    .enabled(if: DiskHost.missing == nil, "\(DiskHost.missing ?? "")"))
struct ProjectDiskFaultTests {
    private static let size: Int64 = 128 << 20

    private static func create(_ host: Installation, _ name: String) async throws -> String {
        let made = try await host.tool(
            "projects_create", ["name": .string(name), "limits": ["diskBytes": .integer(size)]])
        return made["id"]?.string ?? ""
    }

    private static func image(_ host: Installation, _ project: String, node: Int = 0) -> String {
        host.directory.appending(path: "node-\(node)/projects/\(project)/disk.img").path
    }

    /// Each project that there is has one device, and nobody else has any.
    private static func expectDevices(_ host: Installation, of projects: [String], node: Int = 0) async throws {
        let wanted = Set(projects.map { image(host, $0, node: node) })
        try await eventually("devices are those of the projects") {
            let found = HostFacts.loopFiles("/\(host.name)/")
            return found.count == wanted.count && Set(found) == wanted
        }
    }

    private static func kill(_ host: Installation, afterMilliseconds pause: Int) async throws {
        try await Task.sleep(for: .milliseconds(pause))
        host.killNode(0)
        try await host.startNode(0)
    }

    @Test(.timeLimit(.minutes(10))) func aDaemonThatDiesAtAnyStepLosesNothing() async throws {
        try await Installation.with { host in
            var projects: [String] = []
            // While the disk is made, mounted and the container started on it.
            for pause in [0, 20, 40, 60, 90, 150, 300] {
                let name = "p\(pause)"
                projects.append(try await Self.create(host, name))
                let first = Task { try? await host.exec(name, "echo first > first", timeoutSeconds: 30) }
                try await Self.kill(host, afterMilliseconds: pause)
                _ = await first.value
                let answer = try await host.exec(name, "echo kept > kept; sync; cat kept")
                #expect(answer["stdout"] == "kept\n", "\(pause): \(answer)")
                try await Self.expectDevices(host, of: projects)
            }
            // While it grows.
            for (step, pause) in [0, 3, 6, 10, 20].enumerated() {
                let bytes = Self.size + Int64(step + 1) * (16 << 20)
                let change = Task {
                    try? await host.tool("devcontainer.limits", ["project": "p0", "diskBytes": .integer(bytes)])
                }
                try await Self.kill(host, afterMilliseconds: pause)
                _ = await change.value
                try await host.tool("devcontainer.limits", ["project": "p0", "diskBytes": .integer(bytes)])
                try await eventually("it has its size") {
                    let disk = try? await host.tool("devcontainer.status", ["project": "p0"])["disk"]
                    return disk?["limitBytes"] == .integer(bytes)
                }
                let fits = try await host.exec(
                    "p0", "cat kept; head -c \(bytes - (24 << 20)) /dev/zero > big && rm big && echo fits")
                #expect(fits["stdout"] == "kept\nfits\n", "\(pause): \(fits)")
            }
            try await Self.expectDevices(host, of: projects)
            // While it is removed.
            for (index, pause) in [0, 10, 20, 40, 80, 150, 300].enumerated() {
                let name = "p\([0, 20, 40, 60, 90, 150, 300][index])"
                let removal = Task { try? await host.tool("projects_delete", ["project": .string(name)]) }
                try await Self.kill(host, afterMilliseconds: pause)
                _ = await removal.value
                _ = try? await host.tool("projects_delete", ["project": .string(name)])
                projects.removeFirst()
                try await Self.expectDevices(host, of: projects)
            }
        }
    }

    @Test(.endsInTime) func whatBelongsToNobodyIsRemovedAtTheStart() async throws {
        try await Installation.with { host in
            let id = try await Self.create(host, "p")
            #expect(try await host.exec("p", "echo kept > kept; cat kept")["stdout"] == "kept\n")
            await host.stopNode(0)
            // As of a project whose removal was cut short: one disk is mounted, one has its device only.
            let trash = ["one", "other"].map { host.directory.appending(path: "node-0/trash/\($0)").path }
            for directory in trash {
                try FileManager.default.createDirectory(atPath: directory + "/disk", withIntermediateDirectories: true)
                try HostFacts.run("truncate", ["-s", "64M", "\(directory)/disk.img"])
                try HostFacts.run("mkfs.ext4", ["-q", "-F", "\(directory)/disk.img"])
            }
            try HostFacts.run("mount", ["-o", "loop", "\(trash[0])/disk.img", "\(trash[0])/disk"])
            try HostFacts.run("losetup", ["--find", "\(trash[1])/disk.img"])
            // The disk of a project that there is was unmounted by somebody.
            let disk = host.directory.appending(path: "node-0/projects/\(id)/disk").path
            try HostFacts.run("umount", ["--lazy", disk])
            #expect(HostFacts.loopFiles("/\(host.name)/").count == 3)
            try await host.startNode(0)
            try await Self.expectDevices(host, of: [id])
            try await eventually("the trash is empty") {
                trash.allSatisfy { !FileManager.default.fileExists(atPath: $0) }
            }
            // It is the same file system, and not a second one on the same image.
            #expect(try await host.exec("p", "cat kept; echo more > more")["stdout"] == "kept\n")
            #expect(try await host.tool("fs.read", ["project": "p", "path": "more"])["content"] == "more\n")
        }
    }

    /// Nothing takes the place of a disk whose image is away, for a check or by mistake: neither a new one nor a plain directory.
    @Test(.endsInTime) func aDiskWhoseImageIsAwayIsNotMadeAnew() async throws {
        try await Installation.with { host in
            let id = try await Self.create(host, "p")
            #expect(try await host.exec("p", "echo kept > kept; sync; cat kept")["stdout"] == "kept\n")
            try await host.tool("devcontainer.stop", ["project": "p"])
            await host.stopNode(0)
            let image = Self.image(host, id)
            let disk = host.directory.appending(path: "node-0/projects/\(id)/disk").path
            try HostFacts.run("umount", [disk])
            try FileManager.default.moveItem(atPath: image, toPath: image + ".away")
            try await host.startNode(0)
            let read = try await host.request(
                .POST, "/api/tools/fs.read", body: try JSON.encode(["project": "p", "path": "kept"]))
            let answer = String(decoding: read.body, as: UTF8.self)
            #expect(read.status == 503 && answer.contains("disk cannot be opened"), "\(read.status) \(answer)")
            #expect(!FileManager.default.fileExists(atPath: image))
            #expect(try FileManager.default.contentsOfDirectory(atPath: disk).isEmpty)
            try FileManager.default.moveItem(atPath: image + ".away", toPath: image)
            #expect(try await host.exec("p", "cat kept")["stdout"] == "kept\n")
        }
    }

    @Test(.endsInTime) func copiesArchivesAndRemovalLeaveNothingBehind() async throws {
        try await Installation.with(nodes: 1) { host in
            let id = try await Self.create(host, "p")
            #expect(try await host.exec("p", "mkdir d; echo one > d/one; cat d/one")["stdout"] == "one\n")
            try await host.cli(["project", "checkpoint", "p"])
            try await host.cli(["project", "snapshot", "p"])
            _ = try await host.exec("p", "echo two > d/one")
            try await host.cli(["project", "fork", "p", "forked"])
            #expect(try await host.exec("forked", "cat d/one")["stdout"] == "two\n")
            let forked = try await host.tool("projects_get", ["project": "forked"])
            #expect(forked["limits"]?["diskBytes"] == .integer(Self.size))
            try await host.cli(["project", "rollback", "p"])
            #expect(try await host.exec("p", "cat d/one")["stdout"] == "one\n")
            try await host.cli(["project", "restore", "p"])
            #expect(try await host.exec("p", "cat d/one")["stdout"] == "one\n")
            try await Self.expectDevices(host, of: [id, forked["id"]?.string ?? ""])
            try await host.cli(["container", "archive", "p"])
            try await Self.expectDevices(host, of: [forked["id"]?.string ?? ""])
            #expect(try await host.exec("p", "cat d/one")["stdout"] == "one\n")
            let disk = try await host.tool("devcontainer.status", ["project": "p"])["disk"]
            #expect(disk?["limitBytes"] == .integer(Self.size))
            try await Self.expectDevices(host, of: [id, forked["id"]?.string ?? ""])
            // One that is too full for a copy of itself says so, and nothing of the copy stays.
            _ = try await host.exec("p", "head -c 60000000 /dev/urandom > big")
            let refused = try await host.cli(["project", "checkpoint", "p"], expectStatus: 69)
            #expect(refused.contains("too little space"), "\(refused)")
            #expect(
                try await host.exec("p", "rm big; head -c 80000000 /dev/zero > zero && echo fits")["stdout"] == "fits\n"
            )
            for name in ["p", "forked"] { try await host.tool("projects_delete", ["project": .string(name)]) }
            try await Self.expectDevices(host, of: [])
        }
    }
}
