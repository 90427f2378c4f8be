#ifndef FASTABLE_MOUNTS_H
#define FASTABLE_MOUNTS_H

/// Attaches a read-only copy of the mount at `source`, id-mapped with a user namespace, at the directory `target`. Device files
/// and set-user-id bits have no effect below it. Returns 0 or a negative errno.
int fst_mount_idmapped(const char *source, const char *target, int userns);

/// Mounts an overlay at `target`. Device files and set-user-id bits have no effect below it, and its options, which the
/// container can read, name no directory of the host. Returns 0 or a negative errno.
int fst_mount_overlay(const char *target, const char *lower, const char *upper, const char *work);

/// Mounts the cgroup v2 tree at `target`. Returns 0 or a negative errno.
int fst_mount_cgroup2(const char *target);

/// Detaches what is mounted at `target`. Returns 0 or a negative errno: -EINVAL when nothing is mounted there.
int fst_unmount(const char *target);

/// Whether `path` lies on a cgroup v2 filesystem: 1, 0, or a negative errno.
int fst_is_cgroup2(const char *path);

#endif
