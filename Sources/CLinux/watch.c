#define _GNU_SOURCE
#include "watch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>

static const uint32_t wanted = IN_ATTRIB | IN_CLOSE_WRITE | IN_MODIFY | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO;

int fst_watch_open(void) {
    int queue = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    return queue < 0 ? -errno : queue;
}

int fst_watch_add(int queue, int directory) {
    char path[32];
    // The link of /proc leads to the very directory that was opened, whatever has its name now.
    snprintf(path, sizeof path, "/proc/self/fd/%d", directory);
    int watch = inotify_add_watch(queue, path, wanted | IN_ONLYDIR | IN_EXCL_UNLINK);
    return watch < 0 ? -errno : watch;
}

void fst_watch_remove(int queue, int watch) { inotify_rm_watch(queue, watch); }

struct fst_watch_event fst_watch_event_at(const void *buffer, size_t offset) {
    struct inotify_event event;
    const char *at = (const char *)buffer + offset;
    memcpy(&event, at, sizeof event);
    uint32_t what = 0;
    if (event.mask & (IN_ATTRIB | IN_CLOSE_WRITE | IN_MODIFY)) what |= FST_WATCH_MODIFIED;
    if (event.mask & IN_CREATE) what |= FST_WATCH_CREATED;
    if (event.mask & IN_DELETE) what |= FST_WATCH_DELETED;
    if (event.mask & IN_MOVED_FROM) what |= FST_WATCH_MOVED_FROM;
    if (event.mask & IN_MOVED_TO) what |= FST_WATCH_MOVED_TO;
    if (event.mask & (IN_IGNORED | IN_UNMOUNT)) what |= FST_WATCH_ENDED;
    if (event.mask & IN_Q_OVERFLOW) what |= FST_WATCH_OVERFLOW;
    if (event.mask & IN_ISDIR) what |= FST_WATCH_DIRECTORY;
    return (struct fst_watch_event){
        .watch = event.wd,
        .what = what,
        .cookie = event.cookie,
        .name = event.len > 0 ? at + sizeof event : "",
        .next = offset + sizeof event + event.len,
    };
}
