package import FastableCore
import FoundationEssentials
import Glibc
import NodeLinux

/// What a container's OCI bundle is made of: a pure description, and the files it becomes.
package struct ContainerBundle: Sendable {
    let spec: ContainerSpec
    let slot: Slot
    let project: ProjectPaths
    let paths: ContainerPaths
    let initProgram: String
    let userNamespace: String
    let networkNamespace: String
    let cgroup: String
    let resolvers: [IPv4Address]
    /// The host counts swap per group, so that it can be forbidden.
    let limitsSwap: Bool
    /// What this daemon may give: a hard limit cannot be raised.
    let openFilesAtMost: UInt64

    package init(
        _ spec: ContainerSpec, container: ContainerID, slot: Slot, paths: NodePaths,
        namespaces: (user: String, network: String),
        cgroup: String, resolvers: [IPv4Address], limitsSwap: Bool, openFilesAtMost: UInt64
    ) {
        self.spec = spec
        self.slot = slot
        self.project = paths.project(spec.project)
        self.paths = paths.container(container)
        self.initProgram = paths.initProgram
        self.userNamespace = namespaces.user
        self.networkNamespace = namespaces.network
        self.cgroup = cgroup
        self.resolvers = resolvers
        self.limitsSwap = limitsSwap
        self.openFilesAtMost = openFilesAtMost
    }

    package static let initPath = "/run/fastable-init"

    /// What root may do in a container, each for a reason, and all only towards the container's own ids and namespaces:
    /// package managers and archives set owners and modes of files that they do not own (CHOWN, FOWNER, FSETID, DAC_OVERRIDE),
    /// services drop to a user of their own and are ended by root (SETUID, SETGID, KILL), servers listen on port 80
    /// (NET_BIND_SERVICE).
    package static let capabilities = [
        "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SETGID",
        "CAP_SETUID",
    ]

    /// Shown empty: the host's memory, keys, command line, hardware and timing, which tell more than a container needs.
    package static let maskedPaths = [
        "/proc/acpi", "/proc/asound", "/proc/cmdline", "/proc/interrupts", "/proc/kcore", "/proc/keys",
        "/proc/key-users",
        "/proc/kmsg", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
        "/proc/vmallocinfo", "/sys/devices/virtual/dmi", "/sys/devices/virtual/powercap", "/sys/firmware",
        "/sys/fs/bpf",
        "/sys/kernel", "/sys/module",
    ]

    package static let readonlyPaths = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]

    /// When the host runs out of memory, containers go before its own services.
    private static let outOfMemoryScore = 500

    var hostname: String { project.name.replacing("_", with: "-") }

    package func runtimeSpec() -> RuntimeSpec {
        RuntimeSpec(
            process: process, root: .init(path: paths.rootfs), hostname: hostname, mounts: mounts,
            linux: RuntimeSpec.Linux(
                namespaces: ["pid", "mount", "ipc", "uts", "cgroup"].map { .init(type: $0) } + [
                    .init(type: "user", path: userNamespace), .init(type: "network", path: networkNamespace),
                ],
                uidMappings: [mapping], gidMappings: [mapping], cgroupsPath: "/" + cgroup, resources: resources,
                // Everybody in the container may ping and may listen on any port.
                sysctl: ["net.ipv4.ping_group_range": "0 65535", "net.ipv4.ip_unprivileged_port_start": "0"],
                seccomp: .standard, maskedPaths: Self.maskedPaths, readonlyPaths: Self.readonlyPaths))
    }

    private var process: RuntimeSpec.Process {
        let files = min(openFilesAtMost, UInt64(Limits.containerOpenFiles))
        return RuntimeSpec.Process(
            args: [Self.initPath],
            env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            capabilities: .init(Self.capabilities),
            rlimits: [
                .init(type: "RLIMIT_NOFILE", hard: files, soft: files),
                // The host's own handler would write cores to the host.
                .init(type: "RLIMIT_CORE", hard: 0, soft: 0),
            ], oomScoreAdj: Self.outOfMemoryScore)
    }

    private var mapping: RuntimeSpec.IDMapping {
        .init(containerID: 0, hostID: slot.uidBase, size: Slot.idCount)
    }

    private var resources: RuntimeSpec.Resources {
        var resources = RuntimeSpec.Resources(spec.limits, limitsSwap: limitsSwap)
        // The runtime adds the harmless ones: null, zero, full, random, urandom, tty, the terminals.
        resources.devices = [.init(allow: false, access: "rwm")]
        return resources
    }

    /// `/tmp` is on the container's disk: what is there does not count as memory, and is often large.
    private var mounts: [RuntimeSpec.Mount] {
        let inert = ["nosuid", "noexec", "nodev"]
        return [
            .init(destination: "/proc", type: "proc", source: "proc", options: inert),
            .init(
                destination: "/dev", type: "tmpfs", source: "tmpfs",
                options: ["nosuid", "noexec", "strictatime", "mode=755", "size=64k"]),
            .init(
                destination: "/dev/pts", type: "devpts", source: "devpts",
                options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            .init(
                destination: "/dev/shm", type: "tmpfs", source: "shm",
                options: ["nosuid", "nodev", "mode=1777", "size=\(spec.limits.memoryBytes / 2)"]),
            .init(destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: inert),
            .init(destination: "/sys", type: "sysfs", source: "sysfs", options: inert + ["ro"]),
            .init(
                destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: inert + ["relatime", "ro"]),
            .init(
                destination: "/run", type: "tmpfs", source: "tmpfs",
                options: ["nosuid", "nodev", "mode=755", "size=\(64 * 1024 * 1024)"]),
            bind(initProgram, Self.initPath, ["ro"]),
            bind(project.workspace, "/workspace", []),
            bind(project.cache, "/cache", []),
            bind(paths.bundle + "/resolv.conf", "/etc/resolv.conf", ["ro", "noexec"]),
            bind(paths.bundle + "/hosts", "/etc/hosts", ["ro", "noexec"]),
            bind(paths.bundle + "/hostname", "/etc/hostname", ["ro", "noexec"]),
        ]
    }

    private func bind(_ source: String, _ destination: String, _ options: [String]) -> RuntimeSpec.Mount {
        .init(destination: destination, type: "bind", source: source, options: ["bind", "nosuid", "nodev"] + options)
    }

    /// Writes the bundle; its directory is visible to root only. Blocks.
    func write() throws {
        try Directories.make(paths.bundle, mode: 0o700)
        try put("config.json", Array(try JSON.encode(runtimeSpec())))
        try put("resolv.conf", Array(Resolvers.file(resolvers).utf8))
        try put("hosts", Array("127.0.0.1 localhost\n\(slot.containerAddress) \(hostname)\n".utf8))
        try put("hostname", Array("\(hostname)\n".utf8))
    }

    /// Everybody may read the files that are shown in the container, where they belong to nobody.
    private func put(_ name: String, _ bytes: [UInt8]) throws {
        let file = try FileDescriptor(opening: paths.bundle + "/" + name, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o644)
        try Errno.check { fchmod(file.number, 0o644) }
        try file.writeAll(bytes)
    }
}
