#define _GNU_SOURCE
#include "openat2.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

_Static_assert(FST_O_PATH == O_PATH, "the flags of this architecture differ");

enum { attempts_while_moving = 64, attribute_bytes = 64 * 1024 };

int fst_open_beneath(int directory, const char *path, int flags, uint32_t mode, int follow) {
    struct open_how how = {
        .flags = (uint64_t)flags | O_CLOEXEC,
        .mode = mode,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | (follow ? 0 : RESOLVE_NO_SYMLINKS),
    };
    for (int attempt = 0;; attempt++) {
        int file = (int)syscall(SYS_openat2, directory, path, &how, sizeof how);
        if (file >= 0) return file;
        // EAGAIN: a rename ran beside the walk, so the kernel could not prove that it stayed below.
        if (errno != EINTR && !(errno == EAGAIN && attempt < attempts_while_moving)) return -errno;
    }
}

int fst_open_unnamed(int directory) {
    int file = openat(directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return file < 0 ? -errno : file;
}

int fst_link_descriptor(int file, int directory, const char *name) {
    char source[32];
    snprintf(source, sizeof source, "/proc/self/fd/%d", file);
    return linkat(AT_FDCWD, source, directory, name, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

int fst_rename_exclusive(int from_directory, const char *from, int to_directory, const char *to) {
    return renameat2(from_directory, from, to_directory, to, RENAME_NOREPLACE) < 0 ? -errno : 0;
}

int fst_rename_exchange(int one_directory, const char *one, int other_directory, const char *other) {
    return renameat2(one_directory, one, other_directory, other, RENAME_EXCHANGE) < 0 ? -errno : 0;
}

int fst_clone_file(int from, int to) { return ioctl(to, FICLONE, from) < 0 ? -errno : 0; }

static int64_t copy_through_memory(int from, int to, int64_t offset, int64_t count) {
    char buffer[64 * 1024];
    size_t wanted = count < (int64_t)sizeof buffer ? (size_t)count : sizeof buffer;
    ssize_t bytes = pread(from, buffer, wanted, offset);
    if (bytes < 0) return -errno;
    for (ssize_t done = 0; done < bytes;) {
        ssize_t written = pwrite(to, buffer + done, (size_t)(bytes - done), offset + done);
        if (written < 0 && errno != EINTR) return -errno;
        if (written > 0) done += written;
    }
    return bytes;
}

int64_t fst_copy_range(int from, int to, int64_t offset, int64_t count) {
    for (;;) {
        off_t in = offset, out = offset;
        ssize_t bytes = copy_file_range(from, &in, to, &out, (size_t)count, 0);
        if (bytes < 0 && (errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP || errno == ENOSYS)) {
            bytes = copy_through_memory(from, to, offset, count);
            if (bytes != -EINTR) return bytes;
        } else if (bytes >= 0 || errno != EINTR) {
            return bytes < 0 ? -errno : bytes;
        }
    }
}

int64_t fst_next_data(int file, int64_t offset, int64_t size, int64_t *end) {
    off_t begin = lseek(file, offset, SEEK_DATA);
    if (begin < 0) {
        *end = size;
        // ENXIO: only a hole follows. Filesystems that know of no holes answer with the offset itself.
        return errno == ENXIO ? size : -errno;
    }
    off_t hole = lseek(file, begin, SEEK_HOLE);
    if (hole < 0) return -errno;
    *end = hole < size ? hole : size;
    return begin < size ? begin : size;
}

int fst_change_mode(int file, uint32_t mode) {
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    return chmod(path, mode) < 0 ? -errno : 0;
}

int64_t fst_read_directory(int directory, void *buffer, size_t count) {
    ssize_t bytes = getdents64(directory, buffer, count);
    return bytes < 0 ? -errno : bytes;
}

struct fst_directory_entry fst_directory_entry_at(const void *buffer, size_t offset) {
    const struct dirent64 *entry = (const void *)((const char *)buffer + offset);
    return (struct fst_directory_entry){
        .name = entry->d_name,
        .name_length = strlen(entry->d_name),
        .type = entry->d_type,
        .next = offset + entry->d_reclen,
    };
}

void fst_copy_user_attributes(int from, int to) {
    char names[attribute_bytes];
    ssize_t length = flistxattr(from, names, sizeof names);
    for (ssize_t at = 0; at < length; at += (ssize_t)strlen(names + at) + 1) {
        char value[attribute_bytes];
        if (strncmp(names + at, "user.", 5) != 0) continue;
        ssize_t size = fgetxattr(from, names + at, value, sizeof value);
        if (size >= 0) fsetxattr(to, names + at, value, (size_t)size, 0);
    }
}

int64_t fst_read_user_attributes(int file, char *buffer, size_t count) {
    char names[attribute_bytes];
    ssize_t length = flistxattr(file, names, sizeof names);
    if (length < 0) return errno == ENOTSUP ? 0 : -errno;
    size_t used = 0;
    for (ssize_t at = 0; at < length; at += (ssize_t)strlen(names + at) + 1) {
        if (strncmp(names + at, "user.", 5) != 0) continue;
        size_t head = strlen(names + at) + 1 + sizeof(uint32_t);
        // With no room at all the call would only tell the size.
        if (used + head >= count) return -E2BIG;
        ssize_t size = fgetxattr(file, names + at, buffer + used + head, count - used - head);
        if (size < 0 && errno == ENODATA) continue;
        if (size < 0) return errno == ERANGE ? -E2BIG : -errno;
        uint32_t stored = (uint32_t)size;
        memcpy(buffer + used, names + at, head - sizeof stored);
        memcpy(buffer + used + head - sizeof stored, &stored, sizeof stored);
        used += head + (size_t)size;
    }
    return (int64_t)used;
}

int fst_set_user_attribute(int file, const char *name, const void *value, size_t size) {
    if (strncmp(name, "user.", 5) != 0) return -EINVAL;
    return fsetxattr(file, name, value, size, 0) < 0 ? -errno : 0;
}

int fst_synchronize_filesystem(int file) { return syncfs(file) < 0 ? -errno : 0; }

const void *fst_find(const void *hay, size_t hay_count, const void *needle, size_t needle_count) {
    return memmem(hay, hay_count, needle, needle_count);
}
