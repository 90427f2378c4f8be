#define _GNU_SOURCE
#include "mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

// <sys/mount.h> and <linux/mount.h> define the same names differently: only the second is used, and calls are made by number.
enum { detach = 2, no_follow = 8 };

static int result(long value) { return value < 0 ? -errno : (int)value; }

int fst_mount_idmapped(const char *source, const char *target, int userns) {
    unsigned int flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW;
    int tree = result(syscall(SYS_open_tree, AT_FDCWD, source, flags));
    if (tree < 0) return tree;
    struct mount_attr attributes = {
        .attr_set = MOUNT_ATTR_IDMAP | MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID,
        .userns_fd = (uint64_t)userns,
    };
    int status = result(syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attributes, sizeof attributes));
    if (status == 0) {
        status = result(syscall(SYS_move_mount, tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH));
    }
    close(tree);
    return status;
}

static int open_directory(const char *path) {
    return result(open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

static int mount_overlay_of(const char *target, int lower, int upper, int work) {
    // index=off: the overlay of the previous incarnation may take a moment to disappear.
    char options[256];
    snprintf(options, sizeof options,
             "lowerdir=/proc/self/fd/%d,upperdir=/proc/self/fd/%d,workdir=/proc/self/fd/%d,index=off,metacopy=off", lower, upper,
             work);
    return result(syscall(SYS_mount, "overlay", target, "overlay", MS_NOSUID | MS_NODEV, options));
}

int fst_mount_overlay(const char *target, const char *lower, const char *upper, const char *work) {
    int lower_directory = open_directory(lower);
    int upper_directory = open_directory(upper);
    int work_directory = open_directory(work);
    int status = lower_directory < 0 ? lower_directory : upper_directory < 0 ? upper_directory : work_directory;
    if (status >= 0) status = mount_overlay_of(target, lower_directory, upper_directory, work_directory);
    if (lower_directory >= 0) close(lower_directory);
    if (upper_directory >= 0) close(upper_directory);
    if (work_directory >= 0) close(work_directory);
    return status;
}

int fst_mount_cgroup2(const char *target) {
    return result(syscall(SYS_mount, "cgroup2", target, "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
}

int fst_unmount(const char *target) { return result(syscall(SYS_umount2, target, detach | no_follow)); }

int fst_is_cgroup2(const char *path) {
    struct statfs facts;
    if (statfs(path, &facts) < 0) return -errno;
    return facts.f_type == CGROUP2_SUPER_MAGIC;
}
