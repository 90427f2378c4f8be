import FastableCore
import FoundationEssentials
import NodeSandbox
import Testing

/// What every container gets, checked against the promises and not against a copy of the text.
@Suite struct RuntimeSpecTests {
    static func spec(limits: ResourceLimits = ResourceLimits(), swap: Bool = true) throws -> RuntimeSpec {
        let block = InstanceBlock(index: 2, network: try #require(IPv4Network("10.224.32.0/20")))
        let wish = ContainerSpec(project: ProjectID(), workspace: WorkspaceID(), image: "vibn-dev", limits: limits)
        return ContainerBundle(
            wish, container: ContainerID(), slot: try block.slot(7),
            paths: try NodePaths(instance: "t", state: "/s", run: "/r"),
            namespaces: ("/proc/1/fd/3", "/proc/1/fd/4"), cgroup: "fastable-t/ctr", resolvers: [], limitsSwap: swap,
            openFilesAtMost: 20_000
        ).runtimeSpec()
    }

    @Test func rootOfTheContainerIsNobodyOnTheHost() throws {
        let linux = try Self.spec().linux
        let base: UInt32 = 1_000_000_000 + 2 * 67_108_864 + 7 * 65_536
        for mapping in linux.uidMappings + linux.gidMappings {
            #expect(mapping.containerID == 0 && mapping.hostID == base && mapping.size == 65_536)
        }
        #expect(linux.uidMappings.count == 1 && linux.gidMappings.count == 1)
    }

    @Test func everyNamespaceIsItsOwn() throws {
        let namespaces = try Self.spec().linux.namespaces
        #expect(
            Set(namespaces.map(\.type)) == ["pid", "mount", "ipc", "uts", "cgroup", "user", "network"])
        #expect(namespaces.first { $0.type == "user" }?.path == "/proc/1/fd/3")
        #expect(namespaces.first { $0.type == "network" }?.path == "/proc/1/fd/4")
    }

    @Test func nothingCanGainRights() throws {
        let process = try Self.spec().process
        #expect(process.noNewPrivileges)
        #expect(!process.terminal)
        let dangerous = [
            "CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SYS_PTRACE", "CAP_SYS_MODULE", "CAP_MKNOD",
            "CAP_SYS_CHROOT",
            "CAP_DAC_READ_SEARCH", "CAP_SETPCAP", "CAP_SYS_RESOURCE", "CAP_SETFCAP",
        ]
        for set in [process.capabilities.bounding, process.capabilities.effective, process.capabilities.permitted] {
            #expect(Set(set).isDisjoint(with: dangerous))
            #expect(Set(set) == Set(ContainerBundle.capabilities))
        }
        #expect(process.args == ["/run/fastable-init"])
    }

    @Test func limitsReachTheRuntime() throws {
        let limits = ResourceLimits(cpus: 0.5, memoryBytes: 256 << 20, pids: 100)
        let resources = try Self.spec(limits: limits).linux.resources
        #expect(resources.memory.limit == 256 << 20 && resources.memory.swap == 256 << 20)
        #expect(resources.cpu.quota == 50_000 && resources.cpu.period == 100_000 && resources.cpu.shares == 512)
        #expect(resources.pids.limit == 100)
        let rule = try #require(resources.devices?.first)
        #expect(!rule.allow && rule.access == "rwm" && resources.devices?.count == 1)
        #expect(try Self.spec(limits: limits, swap: false).linux.resources.memory.swap == nil)
        // A hard limit above the daemon's own could not be set.
        let files = try #require(try Self.spec().process.rlimits.first { $0.type == "RLIMIT_NOFILE" })
        #expect(files.hard == 20_000 && files.soft == 20_000)
    }

    @Test func mountsAreAsWeakAsTheyCanBe() throws {
        let mounts = try Self.spec().mounts
        for mount in mounts { #expect(mount.options.contains("nosuid"), "\(mount.destination)") }
        for mount in mounts where mount.destination != "/dev" && mount.destination != "/dev/pts" {
            #expect(mount.options.contains("nodev"), "\(mount.destination)")
        }
        for destination in ["/sys", "/sys/fs/cgroup", "/run/fastable-init", "/etc/resolv.conf", "/etc/hosts"] {
            #expect(try #require(mounts.first { $0.destination == destination }).options.contains("ro"))
        }
        // What is shown of the host are the project's own directories and the node's files for it.
        for mount in mounts where mount.type == "bind" {
            #expect(
                mount.source.hasPrefix("/s/projects/prj_") || mount.source.hasPrefix("/r/containers/")
                    || mount.source == "/s/fastable-init")
        }
    }

    @Test func kernelFilesAreHidden() throws {
        let linux = try Self.spec().linux
        for path in ["/proc/kcore", "/proc/keys", "/proc/cmdline", "/sys/firmware", "/proc/sched_debug", "/sys/kernel"]
        {
            #expect(linux.maskedPaths.contains(path))
        }
        for path in ["/proc/sys", "/proc/sysrq-trigger", "/proc/bus", "/proc/irq", "/proc/fs"] {
            #expect(linux.readonlyPaths.contains(path))
        }
    }

    @Test func jsonHasTheNamesOfTheSpecification() throws {
        let json = String(decoding: try JSON.encode(try Self.spec()), as: UTF8.self)
        for name in [
            "\"ociVersion\":\"1.0.2\"", "\"cgroupsPath\":\"/fastable-t/ctr\"", "\"noNewPrivileges\":true",
            "\"maskedPaths\"",
            "\"readonlyPaths\"", "\"uidMappings\"", "\"containerID\":0", "\"defaultAction\":\"SCMP_ACT_ERRNO\"",
            "\"oomScoreAdj\":500", "\"hostname\":\"prj-",
        ] { #expect(json.contains(name), "\(name)") }
    }
}

@Suite struct SeccompProfileTests {
    /// Names that some rule allows without looking at arguments.
    static let free = Set(
        SeccompProfile.standard.syscalls.filter { $0.action == "SCMP_ACT_ALLOW" && $0.args == nil }.flatMap(\.names))

    @Test func whatIsNotNamedFails() {
        #expect(SeccompProfile.standard.defaultAction == "SCMP_ACT_ERRNO")
        #expect(SeccompProfile.standard.defaultErrnoRet == 1)
        #expect(SeccompProfile.standard.architectures.count == 1)
    }

    @Test(arguments: [
        "mount", "umount2", "pivot_root", "chroot", "open_tree", "move_mount", "fsopen", "fsmount", "mount_setattr",
        "unshare",
        "setns", "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register",
        "add_key",
        "keyctl", "request_key", "open_by_handle_at", "name_to_handle_at", "kexec_load", "kexec_file_load",
        "init_module",
        "finit_module", "delete_module", "reboot", "swapon", "swapoff", "settimeofday", "clock_settime", "quotactl",
        "quotactl_fd", "syslog", "acct", "iopl", "ioperm", "sethostname", "setdomainname", "nfsservctl",
        "lookup_dcookie",
        "vhangup", "modify_ldt", "vmsplice", "fanotify_init", "pidfd_getfd", "clone", "socket", "personality",
        "socketcall",
    ])
    func dangerousCallsAreNotFree(_ name: String) { #expect(!Self.free.contains(name)) }

    @Test(arguments: [
        "read", "openat", "openat2", "execve", "futex", "epoll_pwait2", "ptrace", "clone3", "statx", "seccomp", "rseq",
    ])
    func everydayCallsAreFree(_ name: String) { #expect(Self.free.contains(name)) }

    @Test func cloneMakesNoNamespaces() throws {
        let rule = try #require(SeccompProfile.standard.syscalls.first { $0.names == ["clone"] })
        let argument = try #require(rule.args?.first)
        #expect(argument.index == 0 && argument.value == 0x7e02_0000 && argument.valueTwo == 0)
        #expect(argument.op == "SCMP_CMP_MASKED_EQ")
    }

    @Test func noNameStandsTwice() {
        let names = SeccompProfile.standard.syscalls.filter { $0.args == nil }.flatMap(\.names)
        #expect(Set(names).count == names.count)
    }
}
