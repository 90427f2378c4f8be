#define _GNU_SOURCE
#include "init_protocol.h"
#include "init_sys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

static const char prefix[] = "exec-";

struct name {
    char text[48];
};

/// `exec-7` or `exec-7/cgroup.kill`.
static struct name name_of(uint32_t number, const char *file) {
    struct name name;
    snprintf(name.text, sizeof name.text, "%s%u%s", prefix, number, file);
    return name;
}

int fastable_cgroup_check(int directory) {
    struct statfs system;
    if (fstatfs(directory, &system) < 0) return -errno;
    if (system.f_type != CGROUP2_SUPER_MAGIC) return -ENOTDIR;
    return faccessat(directory, "cgroup.kill", F_OK, 0) < 0 ? -errno : 0;
}

int fastable_cgroup_create(int directory, uint32_t number) {
    struct name name = name_of(number, "");
    if (mkdirat(directory, name.text, 0755) < 0) {
        // What an earlier exec of that number left may still hold its processes: never join those.
        if (errno != EEXIST || unlinkat(directory, name.text, AT_REMOVEDIR) < 0) return -errno;
        if (mkdirat(directory, name.text, 0755) < 0) return -errno;
    }
    int fd = openat(directory, name.text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int fastable_cgroup_kill(int directory, uint32_t number) {
    struct name name = name_of(number, "/cgroup.kill");
    int fd = openat(directory, name.text, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    int failure = write(fd, "1", 1) == 1 ? 0 : -errno;
    close(fd);
    return failure;
}

/// Who was signalled already.
struct signalled {
    int count;
    int pids[FASTABLE_INIT_PROCESSES];
};

/// Ids come anew only when all others have had their turn, so none of them is another process by now.
static void signal_once(int pid, int signal, struct signalled *done) {
    // The kernel lists processes of other pid namespaces as 0, which would be the sender's own group; 1 is init.
    if (pid <= 1 || done->count == FASTABLE_INIT_PROCESSES) return;
    for (int index = 0; index < done->count; index++)
        if (done->pids[index] == pid) return;
    if (kill(pid, signal) == 0) done->pids[done->count++] = pid;
}

static int signal_listed(int directory, uint32_t number, int signal, struct signalled *done) {
    struct name name = name_of(number, "/cgroup.procs");
    int fd = openat(directory, name.text, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    char text[4096];
    long size;
    int pid = 0;
    while ((size = read(fd, text, sizeof text)) > 0) {
        for (long at = 0; at < size; at++) {
            if (text[at] >= '0' && text[at] <= '9') {
                pid = pid * 10 + (text[at] - '0');
            } else {
                signal_once(pid, signal, done);
                pid = 0;
            }
        }
    }
    int failure = size < 0 ? -errno : 0;
    close(fd);
    return failure;
}

int fastable_cgroup_signal(int directory, uint32_t number, int signal) {
    struct signalled done = {.count = 0};
    int failure = signal_listed(directory, number, signal, &done);
    // Once more for what was forked meanwhile; nobody gets the signal twice, which some programs take for impatience.
    if (failure == 0) failure = signal_listed(directory, number, signal, &done);
    return done.count > 0 ? done.count : failure;
}

int fastable_cgroup_open_events(int directory, uint32_t number) {
    struct name name = name_of(number, "/cgroup.events");
    int fd = openat(directory, name.text, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int fastable_cgroup_populated(int events) {
    char text[256];
    long size = pread(events, text, sizeof text - 1, 0);
    // A cgroup that was removed answers ENODEV: nothing is left in it.
    if (size < 0) return errno == ENODEV ? 0 : -errno;
    text[size] = 0;
    return strstr(text, "populated 0") == NULL;
}

int fastable_cgroup_remove(int directory, uint32_t number) {
    struct name name = name_of(number, "");
    return unlinkat(directory, name.text, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

/// The number in `exec-<number>`, -1 for every other name.
static long long number_in(const char *name) {
    if (strncmp(name, prefix, sizeof prefix - 1) != 0) return -1;
    long long number = 0;
    const char *digit = name + sizeof prefix - 1;
    if (*digit == 0) return -1;
    for (; *digit != 0; digit++) {
        if (*digit < '0' || *digit > '9') return -1;
        number = number * 10 + (*digit - '0');
        if (number > UINT32_MAX) return -1;
    }
    return number;
}

int fastable_cgroup_list(int directory, uint32_t *numbers, int capacity) {
    int count = 0;
    _Alignas(struct dirent64) char buffer[4096];
    if (lseek(directory, 0, SEEK_SET) < 0) return -errno;
    for (;;) {
        long size = syscall(SYS_getdents64, directory, buffer, sizeof buffer);
        if (size <= 0) return size < 0 ? -errno : count;
        for (long at = 0; at < size;) {
            struct dirent64 *entry = (struct dirent64 *)(buffer + at);
            long long number = number_in(entry->d_name);
            if (number >= 0 && count < capacity) numbers[count++] = (uint32_t)number;
            at += entry->d_reclen;
        }
    }
}
