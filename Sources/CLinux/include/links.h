#ifndef FASTABLE_LINKS_H
#define FASTABLE_LINKS_H

#include <stdint.h>

/// A pair of virtual interfaces: one of the caller's network namespace, and `eth0` of another one. Addresses are in the order of the
/// network.
struct fst_link {
    /// The name of the caller's end.
    const char *name;
    uint32_t host_address;
    uint32_t container_address;
    /// Leading bits that both addresses share.
    uint8_t prefix;
    /// An open network namespace in which only the loopback interface is, for the other end.
    int network;
    /// When not 0: the caller's end makes no address of its own for IPv6.
    int without_ipv6_address;
};

/// Makes the pair, gives each end its address, switches all interfaces on, and lets the other namespace send everything over the
/// caller's end. Returns 0 or a negative errno; something may be left then that `fst_link_remove` removes.
int fst_link_create(const struct fst_link *link);

/// Removes an interface of the caller's network namespace, and its other end. Returns 0 or a negative errno: -ENODEV when there is none.
int fst_link_remove(const char *name);

#endif
