#ifndef FASTABLE_MEMORY_H
#define FASTABLE_MEMORY_H

/// At most so many pools of memory, however many threads there are.
void fst_memory_pools(int count);
/// Gives what is free back to the machine.
void fst_memory_return(void);

#endif
