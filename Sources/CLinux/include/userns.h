#ifndef FASTABLE_USERNS_H
#define FASTABLE_USERNS_H

#include <stdint.h>

struct fst_namespaces {
    int user;
    int network;
};

/// Makes a user namespace that maps the ids 0 ..< count to base ..< base + count, and a network namespace that it owns.
/// Both live as long as the descriptors or a process in them. In the user namespace nobody can make another one, whatever
/// system call he finds; the network namespace has no IPv6. Returns 0 or a negative errno.
int fst_namespaces_create(uint32_t base, uint32_t count, struct fst_namespaces *namespaces);

#endif
