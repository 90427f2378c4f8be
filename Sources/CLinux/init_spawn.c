#define _GNU_SOURCE
#include "init_protocol.h"
#include "init_sys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

// A plain copy of init, not vfork: a command's own processes may stop the child before it has executed its program, and
// that must not stop init. What fails in the child is told through memory that both share.

static __attribute__((noreturn)) void give_up(struct fastable_spawn_failure *failure, uint8_t stage) {
    failure->number = errno;
    failure->stage = stage;
    _exit(127);
}

static const char *search_path(char **environment) {
    for (char **entry = environment; *entry != NULL; entry++)
        if (strncmp(*entry, "PATH=", 5) == 0) return *entry + 5;
    return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

/// Executes one file; a script without `#!` runs in the shell, as `execvp` does it.
static void execute(const char *path, const struct fastable_spawn *request) {
    execve(path, request->arguments, request->environment);
    if (errno != ENOEXEC) return;
    char **shell = request->arguments - 1;
    shell[0] = "/bin/sh";
    shell[1] = (char *)path;
    execve(shell[0], shell, request->environment);
    errno = ENOEXEC;
}

/// Looks the program up in the PATH of its own environment.
static void execute_found(const struct fastable_spawn *request) {
    const char *program = request->arguments[0];
    if (*program == 0) {
        errno = ENOENT;
        return;
    }
    if (strchr(program, '/') != NULL) {
        execute(program, request);
        if (errno == ENOENT && strcmp(program, "/bin/bash") == 0) {
            // A shell that is several programs in one knows by this name which it is to be.
            request->arguments[0] = "/bin/sh";
            execute("/bin/sh", request);
        }
        return;
    }
    char path[PATH_MAX];
    bool denied = false;
    size_t length = strlen(program);
    const char *rest = search_path(request->environment);
    for (;;) {
        size_t size = strcspn(rest, ":");
        if (size + length + 2 <= sizeof path) {
            memcpy(path, rest, size);
            if (size > 0) path[size++] = '/';
            memcpy(path + size, program, length + 1);
            execute(path, request);
            if (errno == EACCES) denied = true;
            else if (errno != ENOENT && errno != ENOTDIR) return;
        }
        rest += strcspn(rest, ":");
        if (*rest == 0) break;
        rest++;
    }
    errno = denied ? EACCES : ENOENT;
}

/// Commands must be killed before init when memory runs out: what protects init is not passed on.
static void reset_memory_protection(void) {
    if (!fastable_init_is_protected) return;
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0) return;
    // Raising it is always allowed; a command that stays protected is better than none.
    if (write(fd, "0", 1) != 1) errno = 0;
    close(fd);
}

/// Takes `clone3` from the command and its descendants: with it a process that finds a directory of the cgroup tree, which a
/// container may open for reading, could be born outside of its command's group and outlive the kill. The C library falls back
/// to `clone`, which cannot do that. The call has the same number on every architecture.
static int forbid_clone3(void) {
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof rules / sizeof *rules, .filter = rules};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return -1;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}

/// A program that is not root opens `/dev/stdout` and its like by name only if the pipe behind it is its own.
static void own_pipes(uint32_t uid) {
    for (int fd = 0; fd <= 2; fd++) {
        struct stat status;
        // One that does not do that needs nothing.
        if (fstat(fd, &status) == 0 && S_ISFIFO(status.st_mode) && fchown(fd, uid, (gid_t)-1) < 0) errno = 0;
    }
}

/// Becomes the user of the request. The kernel takes all capabilities from whoever stops being root; what a program could
/// inherit is emptied besides.
static int become(const struct fastable_spawn *request) {
    // The number -1 would mean to stay who we are.
    if (request->uid == ~0u || request->gid == ~0u) {
        errno = EINVAL;
        return -1;
    }
    if (request->uid != 0) own_pipes(request->uid);
    if (syscall(SYS_setgroups, request->group_count, request->groups) < 0 ||
        syscall(SYS_setresgid, request->gid, request->gid, request->gid) < 0 ||
        syscall(SYS_setresuid, request->uid, request->uid, request->uid) < 0)
        return -1;
    if (request->uid == 0) return 0;
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
    return (int)syscall(SYS_capset, &header, none);
}

static __attribute__((noreturn)) void run_child(const struct fastable_spawn *request) {
    struct fastable_spawn_failure *failure = request->failure;
    reset_memory_protection();
    if (setsid() < 0 || dup2(request->input, 0) < 0 || dup2(request->output, 1) < 0 || dup2(request->error, 2) < 0 ||
        syscall(SYS_close_range, 3u, ~0u, 0u) < 0 || (request->has_terminal && ioctl(0, TIOCSCTTY, 0) < 0))
        give_up(failure, FASTABLE_STAGE_SETUP);
    if (become(request) < 0) give_up(failure, FASTABLE_STAGE_IDENTITY);
    // With the user's own rights: a directory that it may not enter stays closed to it.
    if (chdir(request->directory) < 0) give_up(failure, FASTABLE_STAGE_DIRECTORY);
    if (forbid_clone3() < 0) give_up(failure, FASTABLE_STAGE_SETUP);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execute_found(request);
    give_up(failure, FASTABLE_STAGE_EXECUTE);
}

int fastable_spawn(const struct fastable_spawn *request) {
    struct clone_args arguments = {
        .flags = CLONE_INTO_CGROUP,
        .exit_signal = SIGCHLD,
        .cgroup = (uint64_t)request->cgroup,
    };
    request->failure->stage = 0;
    long pid = syscall(SYS_clone3, &arguments, sizeof arguments);
    if (pid == 0) run_child(request);
    return pid < 0 ? -errno : (int)pid;
}
