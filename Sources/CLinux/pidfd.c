#define _GNU_SOURCE
#include "pidfd.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

int fst_process_open(pid_t pid) {
    long descriptor = syscall(SYS_pidfd_open, pid, 0);
    return descriptor < 0 ? -errno : (int)descriptor;
}
