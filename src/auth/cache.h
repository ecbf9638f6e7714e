/* A bounded cache of verdicts: 32-byte keys (hashes, so strangers cannot aim at a slot), values of
 * any size, a time after which an entry no longer counts, least recently used out first. The unit
 * of time is the owner's. Any thread. */
#pragma once

#include "base/arena.h"

struct cache;

enum { CACHE_KEY_BYTES = 32 };

/* Copies a value of n bytes whose pointers, if any, point into itself. */
typedef void cache_copy_fn(void *to, const void *value, size_t n);

/* `bytes_max` counts values and what holding them costs. */
struct cache *cache_new(size_t bytes_max, cache_copy_fn *copy);
/* NULL-safe. */
void cache_free(struct cache *c);

/* Copy of the value in the arena, or NULL. An empty value gives a pointer to nothing. */
void *cache_get(struct cache *c, const uint8_t key[CACHE_KEY_BYTES], uint64_t now, struct arena *a);
/* Keeps a copy of the value until `expires`; replaces what was there. A value larger than the
 * whole cache is not kept. */
void cache_put(struct cache *c, const uint8_t key[CACHE_KEY_BYTES], uint64_t expires,
               const void *value, size_t n);
/* Entries held, for metrics. */
size_t cache_count(struct cache *c);
