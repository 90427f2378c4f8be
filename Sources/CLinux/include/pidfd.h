#ifndef FASTABLE_PIDFD_H
#define FASTABLE_PIDFD_H

#include <sys/types.h>

/// A close-on-exec descriptor of the process that has the number now; readable once it has ended. Returns the descriptor or a
/// negative errno.
int fst_process_open(pid_t pid);

#endif
