#define _GNU_SOURCE
#include "init_protocol.h"
#include "init_sys.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

_Static_assert(-EAGAIN == FASTABLE_AGAIN, "the header has no errno.h");

static long result(long value) { return value < 0 ? -errno : value; }

int fastable_init_is_protected = 0;

static void learn_protection(void) {
    int fd = open("/proc/self/oom_score_adj", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    char first = 0;
    fastable_init_is_protected = read(fd, &first, 1) == 1 && first == '-';
    close(fd);
}

int fastable_init_prepare(struct fastable_init_files *files) {
    sigset_t all, taken;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    // An ignored signal would stay ignored in every command. A raw call: the C library keeps two signals to itself.
    const uint64_t by_default[4] = {0};
    for (int number = 1; number < NSIG; number++) syscall(SYS_rt_sigaction, number, by_default, NULL, 8);
    umask(022);
    prctl(PR_SET_DUMPABLE, 0);
    learn_protection();

    // Standard files that are missing would let a pipe take their number.
    if (fcntl(3, F_GETFD) < 0) return -errno;
    int null;
    do {
        null = open("/dev/null", O_RDWR);
    } while (null >= 0 && null <= 2);
    if (null < 0 || (null != 4 && dup2(null, 4) < 0)) return -errno;
    if (syscall(SYS_close_range, 5u, ~0u, 0u) < 0 || fcntl(4, F_SETFD, FD_CLOEXEC) < 0) return -errno;
    files->null = 4;
    files->terminals = open("/dev/pts", O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (fcntl(3, F_SETFD, FD_CLOEXEC) < 0 || fcntl(3, F_SETFL, O_NONBLOCK) < 0) return -errno;
    sigemptyset(&taken);
    sigaddset(&taken, SIGCHLD);
    sigaddset(&taken, SIGTERM);
    files->signals = signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK);
    if (files->signals < 0) return -errno;
    files->epoll = epoll_create1(EPOLL_CLOEXEC);
    return files->epoll < 0 ? -errno : 0;
}

static int control(int epoll, int operation, int fd, uint32_t events, uint64_t tag) {
    struct epoll_event event = {.events = 0, .data = {.u64 = tag}};
    if (events & FASTABLE_EVENT_READ) event.events |= EPOLLIN;
    if (events & FASTABLE_EVENT_WRITE) event.events |= EPOLLOUT;
    if (events & FASTABLE_EVENT_PRIORITY) event.events |= EPOLLPRI;
    return (int)result(epoll_ctl(epoll, operation, fd, &event));
}

int fastable_watch(int epoll, int fd, uint32_t events, uint64_t tag) {
    return control(epoll, EPOLL_CTL_ADD, fd, events, tag);
}

int fastable_rewatch(int epoll, int fd, uint32_t events, uint64_t tag) {
    return control(epoll, EPOLL_CTL_MOD, fd, events, tag);
}

int fastable_unwatch(int epoll, int fd) { return control(epoll, EPOLL_CTL_DEL, fd, 0, 0); }

int fastable_wait(int epoll, struct fastable_event *events, int capacity, int milliseconds) {
    struct epoll_event found[64];
    int count = epoll_wait(epoll, found, capacity < 64 ? capacity : 64, milliseconds);
    if (count < 0) return errno == EINTR ? 0 : -errno;
    for (int index = 0; index < count; index++) {
        uint32_t bits = found[index].events;
        events[index].tag = found[index].data.u64;
        events[index].events = ((bits & EPOLLIN) ? FASTABLE_EVENT_READ : 0) |
                               ((bits & EPOLLOUT) ? FASTABLE_EVENT_WRITE : 0) |
                               ((bits & EPOLLPRI) ? FASTABLE_EVENT_PRIORITY : 0) |
                               ((bits & (EPOLLHUP | EPOLLERR)) ? FASTABLE_EVENT_HANGUP : 0);
    }
    return count;
}

int fastable_signals_take(int signals) {
    struct signalfd_siginfo found[8];
    int taken = 0;
    long size = read(signals, found, sizeof found);
    for (long index = 0; index < size / (long)sizeof found[0]; index++) {
        if (found[index].ssi_signo == SIGCHLD) taken |= FASTABLE_SIGNAL_CHILD;
        // A sender outside of the pid namespace has no pid in it; only the kernel can say SI_USER.
        bool outside = found[index].ssi_code == SI_USER && found[index].ssi_pid == 0;
        if (found[index].ssi_signo == SIGTERM && outside) taken |= FASTABLE_SIGNAL_STOP;
    }
    return taken;
}

int fastable_reap(int *by_signal, int *value) {
    int status;
    pid_t pid = waitpid(-1, &status, WNOHANG);
    if (pid <= 0) return 0;
    *by_signal = WIFSIGNALED(status);
    *value = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
    return pid;
}

int fastable_signal_group(int pid, int signal) {
    if (pid <= 1) return -ESRCH;
    int sent = (int)result(kill(-pid, signal));
    // A command that was started this moment leads no group yet. It hears of it before its program begins.
    return sent == -ESRCH ? (int)result(kill(pid, signal)) : sent;
}

int fastable_accept(int listener) {
    int fd = (int)result(accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
    // Larger pieces wake the node less often. The kernel gives what it allows.
    int bytes = 1024 * 1024;
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes) < 0) errno = 0;
    return fd;
}

long fastable_receive(int socket, void *buffer, size_t size, int *passed) {
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(4 * sizeof(int))];
    } space;
    struct iovec piece = {.iov_base = buffer, .iov_len = size};
    struct msghdr message = {
        .msg_iov = &piece, .msg_iovlen = 1, .msg_control = space.bytes, .msg_controllen = sizeof space.bytes};
    *passed = -1;
    long count = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (count < 0) return -errno;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(&message); part != NULL; part = CMSG_NXTHDR(&message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
        size_t fds = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t index = 0; index < fds; index++) {
            int fd;
            memcpy(&fd, CMSG_DATA(part) + index * sizeof(int), sizeof(int));
            if (*passed < 0) *passed = fd;
            else close(fd);
        }
    }
    return count;
}

long fastable_send(int socket, const void *first, size_t first_size, const void *second, size_t second_size,
                   const void *third, size_t third_size) {
    struct iovec pieces[3] = {{.iov_base = (void *)first, .iov_len = first_size},
                              {.iov_base = (void *)second, .iov_len = second_size},
                              {.iov_base = (void *)third, .iov_len = third_size}};
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 3};
    return result(sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL));
}

int fastable_pipe(int ends[2], int ours) {
    if (pipe2(ends, O_CLOEXEC) < 0) return -errno;
    return (int)result(fcntl(ends[ours], F_SETFL, O_NONBLOCK));
}

int fastable_terminal(int terminals, uint32_t uid, uint16_t rows, uint16_t columns, int ends[2]) {
    int locked = 0;
    ends[0] = openat(terminals, "ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (ends[0] < 0) return -errno;
    if (ioctl(ends[0], TIOCSPTLCK, &locked) < 0) return -errno;
    ends[1] = ioctl(ends[0], TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (ends[1] < 0) return -errno;
    // A program that is not root opens its terminal by name only if it owns it; one that does not do that needs nothing.
    if (uid != 0 && fchown(ends[1], uid, (gid_t)-1) < 0) errno = 0;
    return fastable_terminal_resize(ends[0], rows, columns);
}

int fastable_terminal_resize(int terminal, uint16_t rows, uint16_t columns) {
    struct winsize size = {.ws_row = rows, .ws_col = columns};
    return (int)result(ioctl(terminal, TIOCSWINSZ, &size));
}

int fastable_terminal_end(int terminal, int last, uint8_t *character) {
    struct termios mode;
    *character = 'D' & 0x1f;
    // Whoever asks the master is told how the program has set the other side.
    if (tcgetattr(terminal, &mode) < 0 || !(mode.c_lflag & ICANON)) return 0;
    if (mode.c_cc[VEOF] != _POSIX_VDISABLE) *character = mode.c_cc[VEOF];
    bool ends_line = last < 0 || last == '\n' || last == *character || (last == '\r' && (mode.c_iflag & ICRNL) != 0);
    return ends_line ? 0 : 1;
}

int fastable_terminal_signal(int terminal, int signal) {
    pid_t group = 0;
    if (ioctl(terminal, TIOCGPGRP, &group) < 0) return -errno;
    return fastable_signal_group(group, signal);
}

int fastable_duplicate(int fd) { return (int)result(fcntl(fd, F_DUPFD_CLOEXEC, 5)); }

long fastable_read(int fd, void *buffer, size_t size) { return result(read(fd, buffer, size)); }

long fastable_write(int fd, const void *buffer, size_t size) { return result(write(fd, buffer, size)); }

int fastable_close(int fd) { return (int)result(close(fd)); }

void fastable_pipe_grow(int pipe) {
    if (fcntl(pipe, F_SETPIPE_SZ, FASTABLE_INIT_RING_BYTES) < 0) errno = 0;
}

long fastable_pending(int pipe) {
    struct pollfd state = {.fd = pipe, .events = POLLIN};
    if (poll(&state, 1, 0) <= 0) return 0;
    if (!(state.revents & POLLIN)) return -1;
    int count = 0;
    return ioctl(pipe, FIONREAD, &count) < 0 ? 0 : count;
}

static void *map(size_t size, int flags) {
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | flags, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

void *fastable_map(size_t size) { return map(size, MAP_PRIVATE); }

void *fastable_map_own(size_t size) {
    void *memory = map(size, MAP_PRIVATE);
    if (memory != NULL) madvise(memory, size, MADV_DONTFORK);
    return memory;
}

void *fastable_map_shared(size_t size) { return map(size, MAP_SHARED); }

void fastable_unmap(void *memory, size_t size) { munmap(memory, size); }

void fastable_discard(void *memory, size_t size) { madvise(memory, size, MADV_DONTNEED); }

static uint64_t nanoseconds(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

uint64_t fastable_monotonic(void) { return nanoseconds(CLOCK_MONOTONIC); }

uint64_t fastable_realtime(void) { return nanoseconds(CLOCK_REALTIME); }

void fastable_exit(int status) { _exit(status); }
