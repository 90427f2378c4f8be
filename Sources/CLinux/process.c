#define _GNU_SOURCE
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

enum { child_stack_bytes = 32 * 1024, descriptors_at_most = 16 };

struct child {
    const struct fst_spawn_request *request;
    /// Written by the child, which shares our memory until it executes the program.
    volatile int error;
};

/// Handlers of ours must not run in the child once its signals are unblocked: it still shares our memory then.
static void reset_signals(void) {
    struct sigaction standard = {.sa_handler = SIG_DFL};
    for (int number = 1; number < NSIG; number++) {
        if (number != SIGKILL && number != SIGSTOP) sigaction(number, &standard, NULL);
    }
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/// Puts every source at its target. The sources are copied out of the way first, since one may be another's target.
static int place_descriptors(const struct fst_spawn_request *request) {
    int copies[descriptors_at_most];
    int above = 3;
    for (size_t i = 0; i < request->descriptor_count; i++) {
        if (request->targets[i] >= above) above = request->targets[i] + 1;
    }
    for (size_t i = 0; i < request->descriptor_count; i++) {
        copies[i] = fcntl(request->sources[i], F_DUPFD_CLOEXEC, above);
        if (copies[i] < 0) return errno;
    }
    if (syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC) < 0) return errno;
    for (size_t i = 0; i < request->descriptor_count; i++) {
        if (dup2(copies[i], request->targets[i]) < 0) return errno;
    }
    return 0;
}

/// Raw system calls: the C library's own would change the ids of every thread, and the child shares them with us.
static int drop_privileges(const struct fst_spawn_request *request) {
    if (syscall(SYS_setgroups, 0, NULL) < 0) return errno;
    if (syscall(SYS_setresgid, request->group, request->group, request->group) < 0) return errno;
    if (syscall(SYS_setresuid, request->user, request->user, request->user) < 0) return errno;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return errno;
    return 0;
}

static int prepare(const struct fst_spawn_request *request) {
    if (setpgid(0, 0) < 0) return errno;
    // Before anything else, and before the caller goes on: nothing of the program runs outside of its groups.
    for (size_t i = 0; i < request->control_group_count; i++) {
        if (write(request->control_groups[i], "0", 1) < 0) return errno;
    }
    // Its number may be one at which another descriptor is placed.
    if (request->working_directory >= 0 && fchdir(request->working_directory) < 0) return errno;
    int error = place_descriptors(request);
    if (error != 0) return error;
    if (request->memory_bytes != 0) {
        struct rlimit limit = {request->memory_bytes, request->memory_bytes};
        if (setrlimit(RLIMIT_DATA, &limit) < 0) return errno;
    }
    return request->drop_privileges ? drop_privileges(request) : 0;
}

static int run_child(void *argument) {
    struct child *child = argument;
    child->error = prepare(child->request);
    if (child->error == 0) {
        reset_signals();
        execve(child->request->path, child->request->arguments, child->request->environment);
        child->error = errno;
    }
    _exit(127);
}

int fst_spawn(const struct fst_spawn_request *request, int *pidfd) {
    if (request->descriptor_count > descriptors_at_most) return -EINVAL;
    // CLONE_VFORK suspends this thread until the child has executed or ended, so the child may use a stack in our frame.
    char stack[child_stack_bytes] __attribute__((aligned(16)));
    struct child child = {.request = request, .error = 0};
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD;
    pid_t pid = clone(run_child, stack + child_stack_bytes, flags, &child, pidfd);
    int error = pid < 0 ? errno : child.error;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pid >= 0 && error != 0) {
        struct fst_exit ignored;
        fst_reap(*pidfd, &ignored);
        close(*pidfd);
    }
    return error == 0 ? pid : -error;
}

int fst_reap(int pidfd, struct fst_exit *result) {
    siginfo_t info = {0};
    while (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED) < 0) {
        if (errno != EINTR) return -errno;
    }
    int exited = info.si_code == CLD_EXITED;
    result->code = exited ? info.si_status : 0;
    result->signal = exited ? 0 : info.si_status;
    return 0;
}

int fst_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC) < 0 ? -errno : 0; }

int fst_memory_file(const void *bytes, size_t count) {
    int file = memfd_create("fastable-input", MFD_CLOEXEC);
    if (file < 0) return -errno;
    for (size_t done = 0; done < count;) {
        ssize_t written = write(file, (const char *)bytes + done, count - done);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) {
            int error = written < 0 ? errno : EIO;
            close(file);
            return -error;
        }
        done += (size_t)written;
    }
    lseek(file, 0, SEEK_SET);
    return file;
}

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

static int make_memory_program(void) {
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    int file = memfd_create("fastable-program", flags | MFD_EXEC);
    // Before Linux 6.3 every memory file could be executed, and there was no flag to ask for it.
    if (file < 0 && errno == EINVAL) file = memfd_create("fastable-program", flags);
    return file < 0 ? -errno : file;
}

static int copy_and_seal(int program, int copy) {
    char mark[4];
    if (pread(program, mark, sizeof mark, 0) != sizeof mark || memcmp(mark, "\177ELF", sizeof mark) != 0) return -ENOEXEC;
    ssize_t count;
    do count = sendfile(copy, program, NULL, 1 << 30);
    while (count > 0 || (count < 0 && errno == EINTR));
    // Open for writing it could not be executed: in a container nobody may open it so.
    if (count < 0 || fchmod(copy, 0500) < 0) return -errno;
    // These and no others: runc compares.
    int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
    return fcntl(copy, F_ADD_SEALS, seals) < 0 ? -errno : 0;
}

int fst_program_copy(const char *path) {
    int program = open(path, O_RDONLY | O_CLOEXEC);
    if (program < 0) return -errno;
    int copy = make_memory_program();
    int status = copy < 0 ? copy : copy_and_seal(program, copy);
    close(program);
    if (status < 0 && copy >= 0) close(copy);
    return status < 0 ? status : copy;
}
