#ifndef FASTABLE_LOOP_H
#define FASTABLE_LOOP_H

#include <stdint.h>

/// Mounts the ext4 file system in the file `image` at the directory `target`, through a loop device that goes with the mount. An image that
/// is attached already is mounted through the device that it has: two of them would destroy it. Device files and set-user-id bits have
/// no effect in it. Returns 0 or a negative errno.
int fst_loop_mount(int image, const char *target);

/// Lets the file system that is mounted at `target` through a loop device become as large as its image, which has `bytes` now. Nothing
/// happens when it is that large. Returns 0 or a negative errno.
int fst_loop_grow(const char *target, uint64_t bytes);

/// Frees the loop device of this number: at once, or when nobody has it open or mounted any more. Returns 0 or a negative errno.
int fst_loop_free(unsigned int number);

#endif
