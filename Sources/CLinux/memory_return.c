#include "memory_return.h"

#include <malloc.h>

// A C library that keeps little by itself has neither function.
#ifdef __GLIBC__
void fst_memory_pools(int count) { mallopt(M_ARENA_MAX, count); }
void fst_memory_return(void) { malloc_trim(0); }
#else
void fst_memory_pools(int count) { (void)count; }
void fst_memory_return(void) {}
#endif
