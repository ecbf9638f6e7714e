/* What the process holds of the machine's memory, and giving back what it does not use. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Bytes of memory that are ours alone and resident: heap, stacks, buffers. 0 when /proc does not
 * tell. Any thread. */
size_t memory_private_bytes(void);

/* Whether so much more is held than in use that giving back is worth a walk through the heap. */
bool memory_is_idle(size_t private_bytes, size_t used_bytes);

/* Gives the heap's free pages back to the kernel when there are many. malloc does so only for what
 * lies at the end of a heap, so after a busy minute the most that was ever used would stay. Costs
 * some milliseconds when it does something, during which other threads may wait to allocate. Any
 * thread; meant to be called every few seconds. */
void memory_give_back(void);
