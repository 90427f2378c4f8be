import FastableCore
import Glibc
import NodeLinux
import NodeSandbox
import TestSupport
import Testing

extension ContainerTests {
    @Suite(.serialized) struct Isolation {
        @Test func hostProcessesAndFilesAreOutOfSight() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                let mark = node.directory.path + "/mark"
                try AtomicFile.write(mark, Array("secret".utf8), mode: 0o644)
                let processes = try await node.sh(
                    spec, "cat /proc/1/comm; ls /proc | grep -c '^[0-9]'; test -e /proc/\(getpid())/comm && echo seen")
                let lines = processes.out.split(separator: "\n").map(String.init)
                #expect(lines.first == "fastable-init")
                #expect(try #require(Int(lines.dropFirst().first ?? "")) < 8)
                #expect(!lines.contains("seen"))
                #expect(
                    try await node.sh(spec, "cat \(mark) /proc/1/root\(mark) /proc/self/root/../..\(mark)").status != 0)
                #expect(try await node.sh(spec, "ls /").out.split(separator: "\n").contains("workspace"))
                // Neither mounts nor control groups name directories of the host.
                let told = try await node.sh(spec, "cat /proc/mounts /proc/self/mountinfo /proc/self/cgroup").out
                #expect(!told.contains(node.directory.path + "/s/images"))
                #expect(!told.contains("upperdir=/tmp"))
            }
        }

        @Test func initCannotBeTouchedFromInside() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                try await node.sh(spec, "true")
                for command in [
                    "ls /proc/1/fd/", "cat /proc/1/environ", "cat /proc/1/maps", "ls /proc/1/root/",
                    "cat /run/fastable-init",
                    "echo x > /run/fastable-init", "chmod 777 /run/fastable-init",
                    "rm -f /run/fastable-init; test ! -e /run/fastable-init",
                ] { #expect(try await node.sh(spec, command).status != 0, "\(command)") }
                // Seen from the host: it has nothing of the runtime's own environment.
                let environment = try SmallFile.read("/proc/\(try node.pid(spec))/environ", atMost: 4096)
                let names = try #require(environment).split(separator: 0).compactMap {
                    String(decoding: $0, as: UTF8.self).split(separator: "=").first
                }
                #expect(Set(names).isSubset(of: ["PATH", "HOME"]) && names.contains("PATH"), "\(names)")
                // A signal from inside has no effect on it.
                try await node.sh(spec, "kill -9 1; kill -15 1")
                #expect(try await node.sh(spec, "echo alive").out == "alive\n")
            }
        }

        @Test func rightsAreFew() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                let status = try await node.sh(spec, "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status").out
                let lines = Set(
                    status.split(separator: "\n").map {
                        $0.split(whereSeparator: \.isWhitespace).joined(separator: " ")
                    })
                // CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, NET_BIND_SERVICE.
                #expect(lines.contains("CapBnd: 00000000000004fb"))
                #expect(lines.contains("CapEff: 00000000000004fb"))
                #expect(lines.contains("CapInh: 0000000000000000"))
                #expect(lines.contains("CapAmb: 0000000000000000"))
                #expect(lines.contains("NoNewPrivs: 1"))
                #expect(lines.contains("Seccomp: 2"))
                for command in [
                    "mount -t tmpfs none /tmp", "mount -o remount,rw /proc/sys", "unshare -U true", "unshare -m true",
                    "unshare -n true",
                    "echo 1 > /proc/sys/kernel/sysrq", "echo b > /proc/sysrq-trigger", "mknod /tmp/sda b 8 0",
                    "hostname other",
                    "ip link add d0 type dummy", "ip addr add 10.9.9.9/24 dev eth0",
                    "echo x > /sys/kernel/uevent_helper",
                    "test -d /sys/fs/cgroup/pids && cd /sys/fs/cgroup/pids || cd /sys/fs/cgroup; mkdir mine || echo $$ > cgroup.procs",
                    "echo 0 > /proc/1/oom_score_adj",
                ] { #expect(try await node.sh(spec, command).status != 0, "\(command)") }
                for empty in ["/proc/cmdline", "/proc/keys", "/proc/interrupts"] {
                    #expect(try await node.sh(spec, "wc -c < \(empty)").out == "0\n", "\(empty)")
                }
                // Not every kernel has it.
                #expect(try await node.sh(spec, "head -c 1 /proc/kcore 2>/dev/null | wc -c").out == "0\n")
                #expect(
                    try await node.sh(spec, "ls /sys/firmware /sys/kernel /sys/module").out.split(separator: "\n").count
                        <= 5)
            }
        }

        @Test func ordinaryRootWorkGoesWell() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                let script = """
                    touch /tmp/f && chown 1000:1000 /tmp/f && chmod 4755 /tmp/f && stat -c %u:%g:%a /tmp/f
                    mkdir /tmp/all && chmod 777 /tmp/all
                    su user -c 'id -u; echo x > /tmp/all/own; stat -c %u /tmp/all/own'
                    echo y >> /tmp/all/own && mkdir /opt && echo z > /usr/new && rm /etc/image && echo done
                    echo shm > /dev/shm/x && cat /dev/shm/x && echo n > /dev/null && head -c 4 /dev/urandom | wc -c
                    """
                let result = try await node.sh(spec, script)
                #expect(result.out == "1000:1000:4755\n1000\n1000\ndone\nshm\n4\n", "\(result.err)")
            }
        }

        @Test func projectsShareTheImageAndNothingElse() async throws {
            try await TestNode.with { node in
                let one = node.project()
                let two = node.project()
                try await node.sh(
                    one, "echo changed > /etc/image; rm /bin/true; echo own > secret; chmod 777 secret; echo t > /tmp/t"
                )
                #expect(
                    try await node.sh(two, "cat /etc/image; ls /bin/true; ls -A /workspace /tmp").out
                        == "tiny\n/bin/true\n/tmp:\n\n/workspace:\n")
                let image = try node.manager.images.image("tiny")
                #expect(try SmallFile.read(image.rootfs + "/etc/image", atMost: 100) == Array("tiny\n".utf8))

                let volumes = [try await node.manager.volume(one), try await node.manager.volume(two)]
                #expect(
                    volumes[0].uidBase + 65_536 <= volumes[1].uidBase
                        || volumes[1].uidBase + 65_536 <= volumes[0].uidBase)
                for (spec, volume) in zip([one, two], volumes) {
                    var status = stat()
                    #expect(stat("/proc/\(try node.pid(spec))", &status) == 0)
                    // Its memory is not readable for others, so /proc shows it as root's; its ids tell the truth.
                    let ids = String(
                        decoding: try #require(try SmallFile.read("/proc/\(try node.pid(spec))/uid_map", atMost: 200)),
                        as: UTF8.self)
                    #expect(ids.split(whereSeparator: \.isWhitespace) == ["0", "\(volume.uidBase)", "65536"])
                }
                var secret = stat()
                #expect(stat(volumes[0].paths.workspace + "/secret", &secret) == 0)
                #expect(secret.st_uid == volumes[0].uidBase)
            }
        }

        @Test(.enabled(if: Probe.compiler != nil, "needs clang or gcc, and libc6-dev for static programs"))
        func dangerousCallsFail() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                let volume = try await node.manager.volume(spec)
                try await Probe.compile(to: volume.paths.workspace + "/probe")
                let lines = try await node.sh(spec, "/workspace/probe").out.split(separator: "\n")
                #expect(lines.count == Probe.expected.count)
                for (line, expected) in zip(lines, Probe.expected) { #expect(line == expected) }
            }
        }
    }
}
