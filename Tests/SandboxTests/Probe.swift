import FastableCore
import Glibc
import NodeLinux

/// A program that makes dangerous system calls and tells how each ends.
enum Probe {
    static let compiler = Host.find("clang") ?? Host.find("gcc")

    static func compile(to path: String) async throws {
        guard let compiler else { return }
        let source = path + ".c"
        try AtomicFile.write(source, Array(text.utf8))
        defer { unlink(source) }
        try await HostCommand(
            compiler, ["-static", "-O1", "-w", "-o", path, source],
            environment: ["PATH": "/usr/bin:/bin", "TMPDIR": "/tmp"]
        ).runChecked("compile the probe", timeout: .seconds(120))
    }

    /// EPERM: refused by the filter or for lack of a right. ENOSYS: told not to exist. ENOSPC: no namespaces in here.
    static let expected = [
        "mount EPERM", "umount2 EPERM", "pivot_root EPERM", "chroot EPERM", "open_tree ENOSYS", "fsopen ENOSYS",
        "mount_setattr ENOSYS", "unshare-user EPERM", "unshare-mount EPERM", "setns EPERM", "clone-user EPERM",
        "clone3-user ENOSYS", "clone3-mount ENOSYS", "keyctl EPERM", "add_key EPERM", "bpf EPERM",
        "perf_event_open EPERM",
        "userfaultfd ENOSYS", "io_uring_setup ENOSYS", "open_by_handle_at EPERM", "init_module EPERM",
        "kexec_load EPERM",
        "reboot EPERM", "swapon EPERM", "settimeofday EPERM", "quotactl EPERM", "syslog EPERM", "iopl EPERM",
        "sethostname EPERM", "ptrace-init EPERM", "read-init EPERM", "pidfd_getfd ENOSYS", "vsock EPERM",
        "raw-socket EPERM",
        "packet-socket EPERM", "ptrace-child ok", "clone3-thread ok", "fork ok",
    ]

    private static let text = #"""
        #define _GNU_SOURCE
        #include <errno.h>
        #include <linux/keyctl.h>
        #include <linux/sched.h>
        #include <pthread.h>
        #include <sched.h>
        #include <signal.h>
        #include <stdint.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <string.h>
        #include <sys/ptrace.h>
        #include <sys/socket.h>
        #include <sys/syscall.h>
        #include <sys/time.h>
        #include <sys/uio.h>
        #include <sys/wait.h>
        #include <unistd.h>

        static void tell(const char *name, long result) {
            if (result >= 0) printf("%s ok\n", name);
            else printf("%s %s\n", name, strerrorname_np(errno));
            fflush(stdout);
        }
        static long three(uint64_t flags) {
            struct clone_args arguments = {.flags = flags, .exit_signal = SIGCHLD};
            long pid = syscall(SYS_clone3, &arguments, sizeof arguments);
            if (pid == 0) _exit(0);
            return pid;
        }
        static void *nothing(void *argument) { return argument; }
        #define TELL(name, call) do { errno = 0; tell(name, call); } while (0)

        int main(void) {
            char buffer[64] = {0};
            struct iovec local = {buffer, 8}, remote = {(void *)0x400000, 8};
            struct timeval time = {0, 0};
            TELL("mount", syscall(SYS_mount, "none", "/tmp", "tmpfs", 0, 0));
            TELL("umount2", syscall(SYS_umount2, "/workspace", 2));
            TELL("pivot_root", syscall(SYS_pivot_root, "/", "/tmp"));
            TELL("chroot", syscall(SYS_chroot, "/tmp"));
            TELL("open_tree", syscall(428, -100, "/", 1));
            TELL("fsopen", syscall(430, "tmpfs", 0));
            TELL("mount_setattr", syscall(442, -100, "/", 0, buffer, 32));
            TELL("unshare-user", syscall(SYS_unshare, CLONE_NEWUSER));
            TELL("unshare-mount", syscall(SYS_unshare, CLONE_NEWNS));
            TELL("setns", syscall(SYS_setns, 0, 0));
            TELL("clone-user", syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
            TELL("clone3-user", three(CLONE_NEWUSER));
            TELL("clone3-mount", three(CLONE_NEWNS));
            TELL("keyctl", syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, -3, 1));
            TELL("add_key", syscall(SYS_add_key, "user", "x", "y", 1, -3));
            TELL("bpf", syscall(SYS_bpf, 0, buffer, sizeof buffer));
            TELL("perf_event_open", syscall(SYS_perf_event_open, buffer, 0, -1, -1, 0));
            TELL("userfaultfd", syscall(SYS_userfaultfd, 1));
            TELL("io_uring_setup", syscall(425, 4, buffer));
            TELL("open_by_handle_at", syscall(SYS_open_by_handle_at, -100, buffer, 0));
            TELL("init_module", syscall(SYS_init_module, buffer, 8, ""));
            TELL("kexec_load", syscall(SYS_kexec_load, 0, 0, 0, 0));
            TELL("reboot", syscall(SYS_reboot, 0xfee1dead, 672274793, 0, 0));
            TELL("swapon", syscall(SYS_swapon, "/tmp/x", 0));
            TELL("settimeofday", syscall(SYS_settimeofday, &time, 0));
            TELL("quotactl", syscall(SYS_quotactl, 0, "/", 0, 0));
            TELL("syslog", syscall(SYS_syslog, 3, buffer, 8));
        #ifdef SYS_iopl
            TELL("iopl", syscall(SYS_iopl, 3));
        #else
            puts("iopl EPERM");
        #endif
            TELL("sethostname", syscall(SYS_sethostname, "x", 1));
            TELL("ptrace-init", ptrace(PTRACE_ATTACH, 1, 0, 0));
            TELL("read-init", process_vm_readv(1, &local, 1, &remote, 1, 0));
            TELL("pidfd_getfd", syscall(438, 0, 0, 0));
            TELL("vsock", socket(40, SOCK_STREAM, 0));
            TELL("raw-socket", socket(AF_INET, SOCK_RAW, 1));
            TELL("packet-socket", socket(17, SOCK_RAW, 0));
            pid_t child = fork();
            if (child == 0) for (;;) pause();
            TELL("ptrace-child", ptrace(PTRACE_ATTACH, child, 0, 0));
            kill(child, SIGKILL);
            pthread_t thread;
            errno = pthread_create(&thread, 0, nothing, 0);
            tell("clone3-thread", errno == 0 ? 0 : -1);
            if (fork() == 0) _exit(0);
            TELL("fork", wait(0));
            return 0;
        }
        """#
}
