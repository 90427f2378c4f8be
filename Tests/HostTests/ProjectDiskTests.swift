import FastableCore
import Foundation
import TestSupport
import Testing

/// What the tests of disks need.
enum DiskHost {
    static let missing: String? = {
        if let missing = Installation.missing { return missing }
        return access("/dev/loop-control", R_OK | W_OK) == 0 ? nil : "the kernel has no loop devices"
    }()
}

/// Projects with disks of their own, with everything real.
@Suite(
    "Disks of projects", .serialized, .enabled(if: DiskHost.missing == nil, "\(DiskHost.missing ?? "")")
)
struct ProjectDiskTests {
    private static let size: Int64 = 128 << 20

    private static func create(_ host: Installation, _ name: String = "p") async throws -> String {
        let made = try await host.tool(
            "projects_create", ["name": .string(name), "limits": ["diskBytes": .integer(size)]])
        return made["id"]?.string ?? ""
    }

    private static func devices(_ host: Installation, _ project: String) -> [String] {
        HostFacts.loopFiles("/\(host.name)/").filter { $0.contains("/\(project)/") }
    }

    private static func out(_ host: Installation, _ command: String, _ project: String = "p") async throws -> String {
        try await host.exec(project, command, timeoutSeconds: 180)["stdout"]?.string ?? ""
    }

    /// What a project that is full can still do: everything but become fuller.
    private static func expectFullButUsable(_ host: Installation) async throws {
        let refused = await #expect(throws: FastableError.self) {
            try await host.tool(
                "fs.write",
                ["project": "p", "path": "small", "content": .string(String(repeating: "n", count: 100_000))])
        }
        #expect(refused?.code == .limit, "\(String(describing: refused))")
        #expect(try await host.tool("fs.read", ["project": "p", "path": "small"])["content"] == "old\n")
        #expect(try await out(host, "cat small; echo goes on") == "old\ngoes on\n")
        // Also from nothing, and again and again.
        for _ in 0..<2 {
            try await host.tool("devcontainer.stop", ["project": "p"])
            #expect(try await out(host, "cat small") == "old\n")
            try await host.tool("devcontainer.restart", ["project": "p"])
        }
        #expect(try await out(host, "echo more 2>/dev/null > more && cat more; true") == "")
    }

    private static func expectWritable(_ host: Installation) async throws {
        try await host.tool("fs.write", ["project": "p", "path": "small", "content": "new\n"])
        #expect(
            try await out(host, "cat small; head -c 1000000 /dev/zero > /root/x && wc -c < /root/x") == "new\n1000000\n"
        )
    }

    @Test(.endsInTime) func oneThatIsFullCanBeOpenedAndCleaned() async throws {
        try await Installation.with { host in
            _ = try await Self.create(host)
            // All that a container writes to is on it: what goes through the overlay has no more rights than the rest.
            let full = try await host.exec(
                "p",
                "echo old > small; cat /dev/zero > big; cat /dev/zero > /root/big; "
                    + "while echo x >> last; do :; done; cat /dev/zero > /cache/rest", timeoutSeconds: 180)
            #expect(full["exitCode"] != 0, "\(full)")
            #expect(
                full["limitHit"]?["limit"] == "disk" && full["limitHit"]?["limitBytes"] == .integer(Self.size),
                "\(full)")
            try await Self.expectFullButUsable(host)
            let status = try await host.tool("devcontainer.status", ["project": "p"])
            let used = try #require(status["disk"]?["usedBytes"]?.integer)
            #expect(status["disk"]?["limitBytes"] == .integer(Self.size) && used > Self.size - (1 << 20), "\(status)")
            #expect(try await host.cli(["container", "explain", "p"]).contains("Its disk has 128 MiB, of which 12"))
            let deleted = try await host.tool("fs.delete", ["project": "p", "path": "big"])
            #expect(deleted["removed"] == 1)
            try await Self.expectWritable(host)
        }
    }

    @Test(.endsInTime) func oneWithoutFilesLeftCanBeOpenedAndCleaned() async throws {
        try await Installation.with { host in
            _ = try await Self.create(host)
            let full = try await host.exec(
                "p",
                "echo old > small; mkdir m /root/m; i=0; while true 2>/dev/null > m/$i; do i=$((i+1)); done; "
                    + "while true 2>/dev/null > /root/m/$i; do i=$((i+1)); done; echo x > /cache/x", timeoutSeconds: 180
            )
            #expect(full["limitHit"]?["limit"] == "disk", "\(full)")
            try await Self.expectFullButUsable(host)
            let status = try await host.tool("devcontainer.status", ["project": "p"])
            #expect(status["disk"]?["freeFiles"]?.integer ?? .max < 4, "\(status)")
            try await host.tool("fs.delete", ["project": "p", "path": "m", "recursive": true])
            try await Self.expectWritable(host)
        }
    }

    @Test(.endsInTime) func itsSizeIsChangedWhileItRunsAndNotBelowWhatIsInUse() async throws {
        try await Installation.with { host in
            let id = try await Self.create(host)
            let counting = "i=0; while sleep 0.1; do i=$((i+1)); echo $i > count; done"
            let exec = try await host.tool("shell.exec", ["project": "p", "cmd": .string(counting), "detach": true])
            #expect(
                try await Self.out(host, "head -c 150000000 /dev/zero > big || echo full; rm big") == "full\n")
            #expect(try await host.cli(["container", "limits", "p", "--disk", "256M"]).contains("256.0 MiB"))
            #expect(try await Self.out(host, "head -c 150000000 /dev/zero > big && wc -c < big") == "150000000\n")
            let before = try await host.tool("projects_get", ["project": "p"])["limits"]
            let refused = try await host.cli(
                ["container", "limits", "p", "--disk", "128M", "--pids", "99"], expectStatus: 1)
            #expect(refused.contains("are in use. Delete files first"), "\(refused)")
            #expect(try await host.tool("projects_get", ["project": "p"])["limits"] == before)
            #expect(try await Self.out(host, "head -c 50000000 /dev/zero > more && rm more && echo fits") == "fits\n")
            // Down to what is in use it becomes smaller, and holds no more than that from then on.
            try await host.cli(["container", "limits", "p", "--disk", "192M"])
            let full = try await host.exec("p", "head -c 60000000 /dev/zero > more", timeoutSeconds: 60)
            #expect(full["limitHit"]?["limitBytes"] == .integer(192 << 20), "\(full)")
            _ = try await Self.out(host, "rm more")
            host.killNode(0)
            try await host.startNode(0)
            let disk = try await host.tool("devcontainer.status", ["project": "p"])["disk"]
            #expect(disk?["limitBytes"] == .integer(192 << 20), "\(String(describing: disk))")
            #expect(
                try await Self.out(host, "head -c 60000000 /dev/zero > more || echo full; rm more") == "full\n")
            let killed = try await host.tool("shell.kill", ["execId": try #require(exec["execId"])])
            #expect(killed["everythingEnded"] == true, "it ran all the time")
            #expect(Self.devices(host, id).count == 1)
            try await host.tool("projects_delete", ["project": "p"])
            try await eventually("its device is free") { Self.devices(host, id).isEmpty }
        }
    }

    @Test(.endsInTime) func aWorkspaceGivesItsNewProjectsDisks() async throws {
        try await Installation.with { host in
            _ = try await host.tool("projects_create", ["name": "plain"])
            #expect(try await Self.out(host, "echo kept > kept; cat kept", "plain") == "kept\n")
            #expect(try await host.cli(["container", "limits", "--workspace", "--disk", "128M"]).contains("128.0 MiB"))
            let made = try await host.tool("projects_create", ["name": "p"])
            #expect(made["limits"]?["diskBytes"] == .integer(Self.size))
            #expect(
                try await Self.out(host, "head -c 150000000 /dev/zero > big || echo full; rm big") == "full\n")
            let refused = try await host.cli(["container", "limits", "plain", "--disk", "128M"], expectStatus: 1)
            #expect(refused.contains("made without a disk of its own"), "\(refused)")
            try await host.cli(["project", "fork", "plain", "forked"])
            let forked = try await host.tool("devcontainer.status", ["project": "forked"])
            #expect(try await Self.out(host, "cat kept", "forked") == "kept\n")
            #expect(forked["disk"]?["limitBytes"] == .integer(Self.size), "\(forked)")
            #expect(try await host.cli(["container", "limits", "--workspace"]).contains("nodes decide"))
            let later = try await host.tool("projects_create", ["name": "later"])
            #expect(later["limits"]?["diskBytes"] == nil)
        }
    }
}
