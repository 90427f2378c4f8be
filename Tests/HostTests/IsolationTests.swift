import FastableCore
import Foundation
import NIOHTTP1
import TestSupport
import Testing

@Suite(
    "What a container cannot see", .serialized,
    .enabled(if: Installation.missing == nil, "\(Installation.missing ?? "")"))
struct IsolationTests {
    private func output(_ host: Installation, _ project: String, _ command: String) async throws -> String {
        let answer = try await host.exec(project, command)
        return (answer["stdout"]?.string ?? "") + (answer["stderr"]?.string ?? "")
    }

    @Test(.endsInTime)
    func neitherTheHostNorAnotherProject() async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "a"])
            try await host.tool("projects_create", ["name": "b"])
            try await host.tool("fs.write", ["project": "a", "path": "secret.txt", "content": "of project a"])

            let processes = try await output(
                host, "b", "ls -d /proc/[0-9]* | wc -l; cat /proc/1/cmdline | tr '\\0' ' '")
            #expect((Int(processes.split(separator: "\n").first.map(String.init) ?? "") ?? 99) < 10)
            #expect(processes.contains("fastable-init"))

            let files = try await output(
                host, "b", "ls /workspace /cache; cat /etc/shadow /var/lib/fastable/*/* 2>&1; ls /")
            #expect(!files.contains("of project a") && !files.contains("secret.txt"))

            let users = try await output(host, "b", "cat /proc/self/uid_map; id -u")
            #expect(!users.contains(" 0          0 "), "root of the container must not be root of the host")
            #expect(users.hasSuffix("0\n"))

            let hostAddress = try await output(host, "b", "ip route | sed -n 's/default via \\([0-9.]*\\).*/\\1/p'")
                .trimmingCharacters(in: .whitespacesAndNewlines)
            #expect(!hostAddress.isEmpty)
            try await withHostListener { port in
                for address in [hostAddress, "127.0.0.1"] {
                    try await eventually("the host reaches \(address)") {
                        try await Self.hostReaches(address, port)
                    }
                    #expect(!(try await reaches(host, "b", address, port)), "\(address) must not be reachable")
                }
            }

            let other = try await output(host, "a", "ip -4 addr show eth0 | sed -n 's/.*inet \\([0-9.]*\\).*/\\1/p'")
                .trimmingCharacters(in: .whitespacesAndNewlines)
            #expect(!other.isEmpty)
            _ = try await host.exec("a", "httpd -p 8000 -h /workspace")
            try await eventually("project a reaches its own server") { try await reaches(host, "a", other, 8000) }
            #expect(!(try await reaches(host, "b", other, 8000)), "another project must not be reachable")
        }
    }

    /// Whether a server at that address lets somebody in a container connect.
    private func reaches(_ host: Installation, _ project: String, _ address: String, _ port: Int) async throws -> Bool {
        let answer = try await host.exec(project, "nc -w 3 \(address) \(port) </dev/null")
        return answer["exitCode"] == 0
    }

    private static func hostReaches(_ address: String, _ port: Int) async throws -> Bool {
        try await blocking {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/bin/busybox")
            process.arguments = ["nc", "-w", "3", address, "\(port)"]
            process.standardInput = FileHandle.nullDevice
            process.standardError = FileHandle.nullDevice
            try process.run()
            process.waitUntilExit()
            return process.terminationStatus == 0
        }
    }

    @Test(.endsInTime)
    func commandsHaveAnOrdinaryEnvironment() async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "p"])
            let answer = try await host.tool(
                "shell.exec", ["project": "p", "cmd": ["env"], "env": ["LANG": "C", "OWN": "1"]])
            let lines = Set((answer["stdout"]?.string ?? "").split(separator: "\n").map(String.init))
            #expect(lines.isSuperset(of: ["HOME=/root", "LANG=C", "OWN=1"]))
            #expect(lines.contains { $0.hasPrefix("PATH=") && $0.hasSuffix(":/usr/bin:/sbin:/bin") })
        }
    }

    @Test(.endsInTime)
    func privilegesAreGone() async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "p"])
            for attempt in [
                "mount -t tmpfs none /tmp", "unshare -U true", "unshare -m true", "hostname other",
                "echo 1 > /proc/sys/kernel/panic", "echo c > /proc/sysrq-trigger", "kill -9 1 && ! kill -0 1",
                "touch /sys/kernel/x", "date -s 2001-01-01; test $(date +%Y) = 2001",
                "cat /proc/kcore | head -c 1 | grep -q .",
                "g=/sys/fs/cgroup; test -d $g/pids && g=$g/pids; echo 0 > $g/cgroup.procs", "ip link set eth0 down",
                "ip addr add 10.0.0.9/8 dev eth0",
            ] {
                let answer = try await host.exec("p", "(\(attempt)) >/dev/null 2>&1; echo $?")
                #expect(answer["stdout"]?.string != "0\n", "‘\(attempt)’ must fail")
            }
            let status = try await output(host, "p", "grep -E 'NoNewPrivs|Seccomp:' /proc/self/status | tr -d '\\t '")
            #expect(status == "NoNewPrivs:1\nSeccomp:2\n")
        }
    }

    @Test(.endsInTime)
    func aTimeoutEndsEveryDescendant() async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "p"])
            let escape = "setsid sh -c 'trap \"\" TERM HUP INT; setsid sleep 4242 & sleep 4242' & sleep 4242"
            let answer = try await host.exec("p", escape, timeoutSeconds: 1)
            #expect(answer["timedOut"]?.bool == true)
            #expect(answer["exitCode"] == .null)
            #expect(answer["signal"]?.string == "SIGTERM")
            // The search does not find itself.
            let lines = "for f in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$f; echo; done 2>/dev/null"
            let search = "\(lines) | grep -c 'sleep 424[2]'"
            #expect(try await output(host, "p", "\(search) || true") == "0\n")
            // It takes a moment until the one that is there is a program of that name.
            let found = try await output(
                host, "p", "sleep 42''42 & n=0; while [ $n = 0 ]; do n=$(\(search)); done; echo $n; kill $!")
            #expect(found == "1\n")
        }
    }

    /// Whoever asked for it has hung up.
    @Test(.endsInTime)
    func aCallerThatGoesAwayEndsEveryDescendant() async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "p"])
            let (mark, other) = (Int.random(in: 1_000_000...4_999_999), Int.random(in: 5_000_000...9_999_999))
            try await host.tool("shell.exec", ["project": "p", "cmd": .string("sleep \(other)"), "detach": true])
            // They leave sessions and parents, and none of them heeds SIGTERM.
            let inner = "(setsid sleep \(mark) &) ; sleep \(mark) & sleep \(mark)"
            let escape = "trap '' TERM HUP INT; setsid sh -c '\(inner)' & (sleep \(mark) &) ; sleep \(mark)"
            // Its own end comes later than anybody waits here.
            let call = Task { try await host.exec("p", escape, timeoutSeconds: 900) }
            try await eventually("all of it runs") { Self.sleeping(mark) == 5 && Self.sleeping(other) == 1 }
            call.cancel()
            try await eventually("nothing of it is left") { Self.commandLines(mark).isEmpty }
            #expect(Self.sleeping(other) == 1, "another command lives")
            _ = await call.result
        }
    }

    /// Those of all processes of the host in which a number stands.
    private static func commandLines(_ mark: Int) -> [[Substring]] {
        HostFacts.pids().map { HostFacts.text("/proc/\($0)/cmdline").split(separator: "\0") }
            .filter { words in words.contains { $0.contains("\(mark)") } }
    }

    private static func sleeping(_ mark: Int) -> Int {
        commandLines(mark).count { $0.first?.hasSuffix("sleep") == true }
    }

    @Test(.endsInTime)
    func pathsOutsideTheWorkspaceAreForbidden() async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "p"])
            _ = try await host.exec("p", "ln -s /etc out; ln -s ../../.. up; ln -s /proc/self/root magic; mkdir d")
            for path in ["../x", "/etc/passwd", "out/passwd", "up/etc/passwd", "magic/etc/passwd", "d/../../x"] {
                for (tool, more) in [("fs.read", [:]), ("fs.write", ["content": "x"]), ("fs.delete", [:])]
                    as [(String, [String: JSONValue])]
                {
                    var input: [String: JSONValue] = ["project": "p", "path": .string(path)]
                    input.merge(more) { $1 }
                    let answer = try await host.request(
                        .POST, "/api/tools/\(tool)", body: try JSON.encode(JSONValue.object(input)))
                    #expect(answer.status == 403, "\(tool) \(path): \(String(decoding: answer.body, as: UTF8.self))")
                }
            }
        }
    }
}
