#define _GNU_SOURCE
#include "init_sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static bool address_of(const char *path, struct sockaddr_un *address) {
    size_t size = strlen(path);
    if (size == 0 || size >= sizeof address->sun_path) return false;
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, path, size);
    return true;
}

static int close_failed(int fd) {
    int failure = -errno;
    close(fd);
    return failure;
}

int fastable_init_listen(const char *path) {
    struct sockaddr_un address;
    if (!address_of(path, &address)) return -ENAMETOOLONG;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    unlink(path);
    // The mode is set between bind and listen: nobody can connect before the latter.
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || chmod(path, 0600) < 0 || listen(fd, 8) < 0)
        return close_failed(fd);
    return fd;
}

int fastable_init_connect(const char *path, const void *bytes, size_t size, int passed) {
    struct sockaddr_un address;
    if (!address_of(path, &address)) return -ENAMETOOLONG;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -errno;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) return close_failed(fd);

    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } space;
    memset(&space, 0, sizeof space);
    struct iovec piece = {.iov_base = (void *)bytes, .iov_len = size};
    struct msghdr message = {
        .msg_iov = &piece, .msg_iovlen = 1, .msg_control = space.bytes, .msg_controllen = sizeof space.bytes};
    struct cmsghdr *part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(part), &passed, sizeof(int));
    long sent = sendmsg(fd, &message, MSG_NOSIGNAL);
    if (sent == (long)size) return fd;
    // A fresh socket takes a few bytes whole; anything else is not the socket of an init.
    if (sent >= 0) errno = EPROTO;
    return close_failed(fd);
}
