#ifndef FASTABLE_WATCH_H
#define FASTABLE_WATCH_H

#include <stddef.h>
#include <stdint.h>

/// What happened to an entry of a watched directory, or to the directory; one bit each.
enum {
    FST_WATCH_MODIFIED = 1,
    FST_WATCH_CREATED = 2,
    FST_WATCH_DELETED = 4,
    FST_WATCH_MOVED_FROM = 8,
    FST_WATCH_MOVED_TO = 16,
    /// The watch is no more: its directory is gone, or nobody wants it.
    FST_WATCH_ENDED = 32,
    /// Events were lost.
    FST_WATCH_OVERFLOW = 64,
    FST_WATCH_DIRECTORY = 128,
};

/// A close-on-exec queue of events, which never waits. Returns the descriptor or a negative errno.
int fst_watch_open(void);

/// Watches an open directory, also one of O_PATH. Returns the watch's number, the same for the same directory, or a negative errno.
int fst_watch_add(int queue, int directory);

void fst_watch_remove(int queue, int watch);

/// One event of the bytes that were read from the queue.
struct fst_watch_event {
    int watch;
    uint32_t what;
    /// Tells which two halves of a move belong together.
    uint32_t cookie;
    /// Empty when it is about the directory itself.
    const char *name;
    /// Where the next event begins.
    size_t next;
};
struct fst_watch_event fst_watch_event_at(const void *buffer, size_t offset);

#endif
