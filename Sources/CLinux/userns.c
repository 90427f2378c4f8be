#define _GNU_SOURCE
#include "userns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static int write_file(const char *path, const char *text) {
    int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0) return -errno;
    ssize_t length = (ssize_t)strlen(text);
    int status = write(file, text, (size_t)length) == length ? 0 : -errno;
    close(file);
    return status;
}

// /proc/sys shows each process the settings of its own namespaces, so these are written from inside.
static const struct setting {
    const char *path, *value;
} settings[] = {
    {"/proc/sys/user/max_user_namespaces", "0"},
    {"/proc/sys/net/ipv6/conf/all/disable_ipv6", "1"},
    {"/proc/sys/net/ipv6/conf/default/disable_ipv6", "1"},
};

static int apply_settings(void) {
    for (unsigned index = 0; index < sizeof settings / sizeof settings[0]; index++) {
        int status = write_file(settings[index].path, settings[index].value);
        // A kernel without IPv6 has nothing to switch off.
        if (status < 0 && status != -ENOENT) return status;
    }
    return 0;
}

enum { child_stack_bytes = 16 * 1024 };

struct child {
    pid_t parent;
    int answer;
};

/// The child keeps its namespaces alive until the parent has opened them, and never outlives it: it has copies of the parent's
/// descriptors, and with them the lock of the instance. It shares the memory of a process with threads, so it may do no more than
/// make system calls, and none after its answer that fails: `errno` is the waiting thread's.
static int run_child(void *argument) {
    const struct child *child = argument;
    int status = prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ? -errno : 0;
    if (getppid() != child->parent) _exit(1);
    if (status == 0) status = apply_settings();
    if (write(child->answer, &status, sizeof status) != sizeof status) _exit(1);
    for (;;) pause();
}

static int await_child(int answer) {
    int status;
    ssize_t length;
    do length = read(answer, &status, sizeof status);
    while (length < 0 && errno == EINTR);
    return length == sizeof status ? status : -ECHILD;
}

static int write_map(pid_t child, const char *name, uint32_t base, uint32_t count) {
    char path[64];
    char mapping[64];
    snprintf(path, sizeof path, "/proc/%d/%s", child, name);
    snprintf(mapping, sizeof mapping, "0 %u %u\n", base, count);
    return write_file(path, mapping);
}

static int open_namespace(pid_t child, const char *name) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/%s", child, name);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    return file < 0 ? -errno : file;
}

static int take_namespaces(pid_t child, uint32_t base, uint32_t count, struct fst_namespaces *namespaces) {
    int status = write_map(child, "uid_map", base, count);
    if (status == 0) status = write_map(child, "gid_map", base, count);
    if (status < 0) return status;
    int user = open_namespace(child, "user");
    if (user < 0) return user;
    int network = open_namespace(child, "net");
    if (network < 0) {
        close(user);
        return network;
    }
    namespaces->user = user;
    namespaces->network = network;
    return 0;
}

int fst_namespaces_create(uint32_t base, uint32_t count, struct fst_namespaces *namespaces) {
    int answer[2];
    if (pipe2(answer, O_CLOEXEC) < 0) return -errno;
    // In our frame, since the child has ended before we return.
    char stack[child_stack_bytes] __attribute__((aligned(16)));
    struct child argument = {.parent = getpid(), .answer = answer[1]};
    // Handlers of ours must not run in the child.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    // Memory is shared, not copied: a copy of the daemon's page tables costs more than all the rest. No signal tells of the child's
    // end, so no other wait of this process sees it.
    int flags = CLONE_VM | CLONE_NEWUSER | CLONE_NEWNET;
    pid_t child = clone(run_child, stack + child_stack_bytes, flags, &argument);
    int status = child < 0 ? -errno : 0;
    // With the child's copy alone open, its end is told too.
    close(answer[1]);
    if (child > 0) {
        status = await_child(answer[0]);
        if (status == 0) status = take_namespaces(child, base, count, namespaces);
        kill(child, SIGKILL);
        while (waitpid(child, NULL, __WALL) < 0 && errno == EINTR) continue;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(answer[0]);
    return status;
}
