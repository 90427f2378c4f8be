#ifndef FASTABLE_OPENAT2_H
#define FASTABLE_OPENAT2_H

#include <stddef.h>
#include <stdint.h>

/// `O_PATH`, which the C library hides behind its own feature test.
enum { FST_O_PATH = 010000000 };

/// Opens `path`, which may follow symbolic links but never leads above `directory`, whatever moves meanwhile, and never
/// through a link of /proc. `follow` 0 refuses every symbolic link on the way. Returns the descriptor or a negative errno;
/// -EXDEV when the path leads out, -EAGAIN when too much moved meanwhile.
int fst_open_beneath(int directory, const char *path, int flags, uint32_t mode, int follow);

/// Opens a new file without a name for reading and writing; only we may use it so far. Returns the descriptor or a negative errno.
int fst_open_unnamed(int directory);

/// Gives the open file (of O_TMPFILE or any other) a name. Returns 0 or a negative errno; never replaces a file.
int fst_link_descriptor(int file, int directory, const char *name);

/// Renames without replacing what has the new name. Returns 0 or a negative errno.
int fst_rename_exclusive(int from_directory, const char *from, int to_directory, const char *to);

/// Exchanges two entries in one step; both must exist. Returns 0 or a negative errno.
int fst_rename_exchange(int one_directory, const char *one, int other_directory, const char *other);
/// Lets `to` share all blocks of `from`, where the filesystem can. Returns 0 or a negative errno.
int fst_clone_file(int from, int to);

/// Copies up to `count` bytes at `offset` of `from` to the same offset of `to`, in the kernel where it can. Returns the bytes, 0 at
/// the end of the file, or a negative errno.
int64_t fst_copy_range(int from, int to, int64_t offset, int64_t count);

/// The first bytes at `offset` or later that are no hole: their beginning, and their end in `end`. Returns `size` when nothing but
/// holes follows, or a negative errno.
int64_t fst_next_data(int file, int64_t offset, int64_t size, int64_t *end);

/// Changes the mode of an open file, also one of O_PATH. Returns 0 or a negative errno.
int fst_change_mode(int file, uint32_t mode);

/// Reads directory entries (`struct linux_dirent64`). Returns the bytes, 0 at the end, or a negative errno.
int64_t fst_read_directory(int directory, void *buffer, size_t count);

/// One entry of the bytes that `fst_read_directory` gave. `type` is a DT_ constant.
struct fst_directory_entry {
    const char *name;
    size_t name_length;
    unsigned char type;
    /// Where the next entry begins.
    size_t next;
};
struct fst_directory_entry fst_directory_entry_at(const void *buffer, size_t offset);

/// Copies the `user.` extended attributes, as far as they can be copied: they are an extra, not the content.
void fst_copy_user_attributes(int from, int to);

/// The `user.` extended attributes, one after the other: the name, ended by a zero byte, four bytes of size, the value. Returns the
/// bytes, or a negative errno; -E2BIG when they are too many for the buffer.
int64_t fst_read_user_attributes(int file, char *buffer, size_t count);

/// Sets an attribute whose name begins with `user.`. Returns 0 or a negative errno.
int fst_set_user_attribute(int file, const char *name, const void *value, size_t size);

/// Waits until everything on the filesystem of an open file is on the disk. Returns 0 or a negative errno.
int fst_synchronize_filesystem(int file);

/// Where `needle` begins in `hay`, or null.
const void *fst_find(const void *hay, size_t hay_count, const void *needle, size_t needle_count);

#endif
