#ifndef FASTABLE_PROCESS_H
#define FASTABLE_PROCESS_H

#include <stddef.h>
#include <stdint.h>

/// What a new process gets. It has no other open files than the ones named here.
struct fst_spawn_request {
    /// Absolute path of the program.
    const char *path;
    /// Both end with a null pointer.
    char *const *arguments;
    char *const *environment;
    /// `sources[i]` becomes the descriptor `targets[i]` of the new process.
    const int *sources;
    const int *targets;
    size_t descriptor_count;
    /// Open `cgroup.procs` files of the groups that the process goes into.
    const int *control_groups;
    size_t control_group_count;
    /// A directory's descriptor, or -1 to stay where the caller is.
    int working_directory;
    /// When not 0: the process runs as this user and group, without supplementary groups and capabilities.
    int drop_privileges;
    uint32_t user;
    uint32_t group;
    /// When not 0: bytes of private memory the process may have (RLIMIT_DATA).
    uint64_t memory_bytes;
};

/// Starts a program in a process group of its own, with default signal handling and an empty signal mask, and returns once it
/// was executed. `pidfd` receives a close-on-exec descriptor of the process. Returns its process id or a negative errno.
int fst_spawn(const struct fst_spawn_request *request, int *pidfd);

/// The exit of a process: `signal` is 0 when it ended by itself.
struct fst_exit {
    int code;
    int signal;
};

/// Reaps the process of a pidfd and waits for it if need be. Returns 0 or a negative errno.
int fst_reap(int pidfd, struct fst_exit *result);

/// A close-on-exec pipe; `ends[0]` is for reading. Returns 0 or a negative errno.
int fst_pipe(int ends[2]);

/// A close-on-exec memory file with the given bytes, positioned at its start. Returns the descriptor or a negative errno.
int fst_memory_file(const void *bytes, size_t count);

/// A close-on-exec copy of a program in memory that nobody can change any more. Returns the descriptor or a negative errno: -ENOEXEC
/// when it is a script, which its interpreter would look for by name.
int fst_program_copy(const char *path);

#endif
