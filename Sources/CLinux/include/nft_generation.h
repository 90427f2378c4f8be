#ifndef FASTABLE_NFT_GENERATION_H
#define FASTABLE_NFT_GENERATION_H

#include <stdint.h>

/// A number that the kernel counts up with every change of nftables in this network namespace, whoever makes it; also by the
/// older filter's tools where they write nftables. Returns 0 or a negative errno.
int fst_nft_generation(uint32_t *generation);

#endif
