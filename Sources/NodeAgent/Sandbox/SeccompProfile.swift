/// Which system calls a container may make: those on the list. Everything else fails with `EPERM`, as if a right were missing.
///
/// What is left out, and why:
/// - `mount`, `umount2`, `pivot_root`, `chroot`, the new mount calls, `unshare`, `setns`, and `clone` with a namespace flag: no
///   new view of the system can be made, so the large part of the kernel behind them is out of reach. `clone3` hides its flags
///   in memory where a filter cannot look; it is allowed since `fastable-init` starts commands with it, and namespaces are
///   forbidden by the user namespace itself (`max_user_namespaces` is 0) whatever the call.
/// - `bpf`, `perf_event_open`, `userfaultfd`, `io_uring_*`, `add_key`, `keyctl`, `request_key`, `vmsplice`, `modify_ldt`: needed
///   by few programs, and the source of many holes.
/// - `open_by_handle_at`, `name_to_handle_at`: open files past the container's view.
/// - `kexec_*`, `init_module`, `reboot`, `swapon`, `settimeofday`, `quotactl`, `syslog`, `acct`, `iopl` and their like: the
///   host's own business.
/// - `socket` for other families than AF_UNIX, AF_INET, AF_INET6 and AF_NETLINK: the rest is little used code of the kernel, and
///   AF_VSOCK is the way to a hypervisor.
///
/// `ptrace` and `process_vm_*` are allowed: debuggers need them, and since Linux 4.8 the filter also sees what a tracer changes.
/// `fastable-init` cannot be traced: containers may run its file but not read it.
package struct SeccompProfile: Codable, Equatable, Sendable {
    package var defaultAction = "SCMP_ACT_ERRNO"
    package var defaultErrnoRet = 1
    package var architectures: [String]
    package var syscalls: [Rule]

    package struct Rule: Codable, Equatable, Sendable {
        package var names: [String]
        package var action = "SCMP_ACT_ALLOW"
        package var errnoRet: Int?
        package var args: [Argument]?
    }

    package struct Argument: Codable, Equatable, Sendable {
        package var index: Int
        package var value: UInt64
        package var valueTwo: UInt64?
        package var op: String
    }

    /// The profile for this machine. Programs of 32 bits do not run: their calls are a second way into the kernel.
    package static let standard = SeccompProfile(
        architectures: architectures,
        syscalls: [Rule(names: SystemCalls.allowed), clone] + sockets + personalities + [notThere])

    private static let architectures: [String] = {
        #if arch(arm64)
            ["SCMP_ARCH_AARCH64"]
        #else
            ["SCMP_ARCH_X86_64"]
        #endif
    }()

    /// CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET.
    package static let namespaceFlags: UInt64 = 0x7e02_0000

    private static let clone = Rule(
        names: ["clone"],
        args: [Argument(index: 0, value: namespaceFlags, valueTwo: 0, op: "SCMP_CMP_MASKED_EQ")])

    /// AF_UNIX, AF_INET, AF_INET6, AF_NETLINK.
    private static let sockets = [UInt64(1), 2, 10, 16].map {
        Rule(names: ["socket"], args: [Argument(index: 0, value: $0, op: "SCMP_CMP_EQ")])
    }

    /// The usual one, the one that says it has 32 bits, the one without address randomisation that debuggers and sanitizers ask
    /// for, and the question which one it is.
    private static let personalities = [UInt64(0), 8, 0x4_0000, 0xffff_ffff].map {
        Rule(names: ["personality"], args: [Argument(index: 0, value: $0, op: "SCMP_CMP_EQ")])
    }

    /// Calls that programs try and can do without: “no such call” makes them take the other way.
    private static let notThere = Rule(
        names: [
            "io_uring_setup", "io_uring_enter", "io_uring_register", "userfaultfd", "open_tree", "move_mount", "fsopen",
            "fsconfig", "fsmount", "fspick", "mount_setattr", "statmount", "listmount", "pidfd_getfd",
            "process_madvise",
        ], action: "SCMP_ACT_ERRNO", errnoRet: 38)
}
