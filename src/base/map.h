/* Hash map from byte strings to pointers, keyed with SipHash under a per-process secret, so that
 * strangers who choose the keys cannot make it slow. Keys are copied. Not synchronised: the owner
 * holds its lock. */
#pragma once

#include "base/str.h"

struct map_entry;

struct map {
    struct map_entry **slots;
    size_t slot_n;
    size_t n;
};

void map_release(struct map *m);
/* NULL when absent. */
void *map_get(const struct map *m, str key);
/* Sets key to value (not NULL) and returns the value that was there before, or NULL. */
void *map_set(struct map *m, str key, void *value);
/* Removes and returns the value, or NULL when absent. */
void *map_remove(struct map *m, str key);

/* 64-bit SipHash-1-3 under the per-process secret. */
uint64_t siphash(str s);
