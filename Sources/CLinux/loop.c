#define _GNU_SOURCE
#include "loop.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { loop_major = 7, attempts = 100 };

/// ext4's own call, which no header of the kernel has.
#define FST_EXT4_RESIZE _IOW('f', 16, uint64_t)

static int open_device(unsigned int number) {
    char path[32];
    snprintf(path, sizeof path, "/dev/loop%u", number);
    int device = open(path, O_RDWR | O_CLOEXEC);
    return device < 0 ? -errno : device;
}

/// Whether the device holds the image: while it is open here, it keeps it. An error is negative.
static int holds(int device, const struct stat *image) {
    struct loop_info64 info;
    if (ioctl(device, LOOP_GET_STATUS64, &info) < 0) return errno == ENXIO ? 0 : -errno;
    return info.lo_device == image->st_dev && info.lo_inode == image->st_ino;
}

/// The device that the image is attached to, open; -ENOENT when there is none.
static int find(const struct stat *image, unsigned int *number) {
    DIR *directory = opendir("/sys/block");
    if (!directory) return -errno;
    int found = -ENOENT;
    struct dirent *entry;
    while (found < 0 && (entry = readdir(directory))) {
        char path[300];
        if (sscanf(entry->d_name, "loop%u", number) != 1) continue;
        // Those that are free have no such directory, and are not opened.
        snprintf(path, sizeof path, "/sys/block/%s/loop", entry->d_name);
        if (access(path, F_OK) < 0) continue;
        // Not for writing: closing such a one lets udev probe the device, whosever it is.
        snprintf(path, sizeof path, "/dev/loop%u", *number);
        int device = open(path, O_RDONLY | O_CLOEXEC);
        if (device < 0) {
            int failure = -errno;
            if (access(path, F_OK) < 0) continue;
            // It may be the image's own: there must never be a second one.
            found = failure;
            break;
        }
        int isHeld = holds(device, image);
        if (isHeld > 0) {
            found = device;
        } else {
            close(device);
            if (isHeld < 0) {
                found = isHeld;
                break;
            }
        }
    }
    closedir(directory);
    return found;
}

/// Attaches the image to a free loop device, which frees itself when nobody has it open or mounted any more.
static int attach(int image, unsigned int *number) {
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    if (control < 0) return -errno;
    int status = -EBUSY;
    // Somebody else may take the same free device first.
    for (int attempt = 0; attempt < attempts && status == -EBUSY; attempt++) {
        int next = ioctl(control, LOOP_CTL_GET_FREE);
        if (next < 0) {
            status = -errno;
            break;
        }
        *number = (unsigned int)next;
        int device = open_device(*number);
        if (device < 0) {
            status = device;
            break;
        }
        struct loop_config configuration;
        memset(&configuration, 0, sizeof configuration);
        configuration.fd = (unsigned int)image;
        // Its pages are in memory once, as those of the file system on it, and count for the container.
        configuration.info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO;
        status = ioctl(device, LOOP_CONFIGURE, &configuration) < 0 ? -errno : device;
        if (status < 0) close(device);
    }
    close(control);
    return status;
}

int fst_loop_mount(int image, const char *target) {
    struct stat status;
    if (fstat(image, &status) < 0) return -errno;
    unsigned int number;
    int device = find(&status, &number);
    if (device == -ENOENT) device = attach(image, &number);
    if (device < 0) return device;
    char path[32];
    snprintf(path, sizeof path, "/dev/loop%u", number);
    // Space that is freed in it goes back to the image's own file system. Tables of inodes are zero where the image has holes.
    const char *options = "discard,noinit_itable,errors=remount-ro";
    int result = mount(path, target, "ext4", MS_NODEV | MS_NOSUID | MS_RELATIME, options) < 0 ? -errno : 0;
    close(device);
    return result;
}

int fst_loop_grow(const char *target, uint64_t bytes) {
    int directory = open(target, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (directory < 0) return -errno;
    struct stat status;
    struct statfs facts;
    int result = fstat(directory, &status) < 0 || fstatfs(directory, &facts) < 0 ? -errno : 0;
    if (result == 0 && major(status.st_dev) != loop_major) result = -ENOTBLK;
    if (result == 0) {
        int device = open_device(minor(status.st_dev));
        result = device < 0 ? device : ioctl(device, LOOP_SET_CAPACITY) < 0 ? -errno : 0;
        if (device >= 0) close(device);
    }
    if (result == 0) {
        uint64_t blocks = bytes / (uint64_t)facts.f_bsize;
        if (ioctl(directory, FST_EXT4_RESIZE, &blocks) < 0) result = -errno;
    }
    close(directory);
    return result;
}

int fst_loop_free(unsigned int number) {
    int device = open_device(number);
    if (device < 0) return device;
    int result = ioctl(device, LOOP_CLR_FD) < 0 ? -errno : 0;
    close(device);
    return result;
}
