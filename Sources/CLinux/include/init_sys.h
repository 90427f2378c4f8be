/// The system calls of `fastable-init`, and the node's way to its socket. What fails answers a negative errno.
#pragma once

#include <stddef.h>
#include <stdint.h>

/// Nothing to read, or no room to write, at the moment.
#define FASTABLE_AGAIN (-11)

/// What init works with from its first moment to its last.
struct fastable_init_files {
    int epoll;
    int signals;
    int null;
    /// The directory of the container's terminals, -1 where it has none.
    int terminals;
};

/// Makes this process fit to be process 1: no signal has an effect, nobody may trace it or read its memory, and only
/// the standard files and the listening socket (fd 3) stay open.
int fastable_init_prepare(struct fastable_init_files *files);

#define FASTABLE_EVENT_READ 1u
#define FASTABLE_EVENT_WRITE 2u
#define FASTABLE_EVENT_PRIORITY 4u
#define FASTABLE_EVENT_HANGUP 8u

/// Memory that runs out does not end this process first; commands must not inherit that.
extern int fastable_init_is_protected;

struct fastable_event {
    uint64_t tag;
    uint32_t events;
};

int fastable_watch(int epoll, int fd, uint32_t events, uint64_t tag);
int fastable_rewatch(int epoll, int fd, uint32_t events, uint64_t tag);
int fastable_unwatch(int epoll, int fd);
/// Waits at most `milliseconds` (-1: without end). An interruption counts as no event.
int fastable_wait(int epoll, struct fastable_event *events, int capacity, int milliseconds);

#define FASTABLE_SIGNAL_CHILD 1
#define FASTABLE_SIGNAL_STOP 2
/// Which signals arrived. A request to stop counts only when it came from outside of this pid namespace.
int fastable_signals_take(int signals);

/// Collects one ended child: its pid, 0 when there is none now.
int fastable_reap(int *by_signal, int *value);
int fastable_signal_group(int pid, int signal);

int fastable_accept(int listener);
/// Receives bytes, and at most one file descriptor: `*passed` is -1 when none came; further ones are closed.
long fastable_receive(int socket, void *buffer, size_t size, int *passed);
/// Sends three pieces in one call, as far as the socket takes them.
long fastable_send(int socket, const void *first, size_t first_size, const void *second, size_t second_size,
                   const void *third, size_t third_size);

/// A pipe; `ends[0]` reads. The end with the index `ours` does not block.
int fastable_pipe(int ends[2], int ours);
/// A pseudo-terminal: `ends[0]` is its master, which does not block, `ends[1]` the command's side. No path is looked up
/// that a command could have changed.
int fastable_terminal(int terminals, uint32_t uid, uint16_t rows, uint16_t columns, int ends[2]);
int fastable_terminal_resize(int terminal, uint16_t rows, uint16_t columns);
/// Which character a terminal's program takes for the end of its input when it is typed: in `*character`. 1 when the
/// line that `last` belongs to, the byte before it (-1: none), has only begun: the first such character passes that on,
/// and a second one is the end. A program that reads single bytes knows no end of input; it gets Ctrl-D.
int fastable_terminal_end(int terminal, int last, uint8_t *character);
/// Sends a signal to the process group in the terminal's foreground.
int fastable_terminal_signal(int terminal, int signal);
int fastable_duplicate(int fd);
long fastable_read(int fd, void *buffer, size_t size);
long fastable_write(int fd, const void *buffer, size_t size);
int fastable_close(int fd);
/// Bytes that wait in a pipe or terminal, or -1 when it is empty and no writer is left.
long fastable_pending(int pipe);
/// Gives a pipe as much room as a ring has, if the kernel allows.
void fastable_pipe_grow(int pipe);

void *fastable_map(size_t size);
/// Memory that is not copied to commands: it does not slow their start.
void *fastable_map_own(size_t size);
/// Memory that the processes of commands share until they execute their program.
void *fastable_map_shared(size_t size);
void fastable_unmap(void *memory, size_t size);
/// Gives the pages back; the memory stays usable and reads as zero.
void fastable_discard(void *memory, size_t size);

uint64_t fastable_monotonic(void);
uint64_t fastable_realtime(void);
void fastable_exit(int status) __attribute__((noreturn));

// Cgroups: `directory` is the container's, `number` names a child `exec-<number>`.

/// Checks that the directory can hold execs: a cgroup v2 that can be killed as a whole.
int fastable_cgroup_check(int directory);
/// Makes the child and opens it.
int fastable_cgroup_create(int directory, uint32_t number);
int fastable_cgroup_kill(int directory, uint32_t number);
/// Signals each process in the child: how many there were. Who forks faster than this looks is not caught.
int fastable_cgroup_signal(int directory, uint32_t number, int signal);
/// Opens the file that tells when the child gets empty; watch it for `FASTABLE_EVENT_PRIORITY`.
int fastable_cgroup_open_events(int directory, uint32_t number);
/// 1 when processes are left, 0 when none are.
int fastable_cgroup_populated(int events);
int fastable_cgroup_remove(int directory, uint32_t number);
/// The numbers of the children that exist, at most `capacity`.
int fastable_cgroup_list(int directory, uint32_t *numbers, int capacity);

struct fastable_spawn_failure {
    uint8_t stage;
    int number;
};

struct fastable_spawn {
    /// NULL-terminated; one writable element must stand before the first.
    char **arguments;
    char **environment;
    const char *directory;
    uint32_t uid;
    uint32_t gid;
    /// Supplementary groups.
    const uint32_t *groups;
    size_t group_count;
    int cgroup;
    int input;
    int output;
    int error;
    /// Its three standard files are a terminal, which it is to control.
    int has_terminal;
    /// Shared memory (`fastable_map_shared`) where the new process tells why it could not execute the program. To be looked
    /// at when it has ended: `stage` is 0 when the program was executed.
    struct fastable_spawn_failure *failure;
};

/// Starts a program in a cgroup: the pid of the new process, which may not have executed it yet.
int fastable_spawn(const struct fastable_spawn *request);

// The node's end.

/// Listens at a path that only root may connect to.
int fastable_init_listen(const char *path);
/// Connects and sends the first bytes together with a file descriptor. The socket, not blocking.
int fastable_init_connect(const char *path, const void *bytes, size_t size, int passed);
