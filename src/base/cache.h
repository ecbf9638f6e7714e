/* A bounded cache of immutable values: sharded, so that many threads read it at once; least
 * recently used out first, give or take; keys are hashed under the process's secret, so strangers
 * cannot aim at a slot. A value is shared, not copied: who gets one holds a reference. Any thread.
 */
#pragma once

#include "base/metrics.h"

#include <stdatomic.h>

struct cache;

struct cache_value {
    atomic_uint refs;
    uint64_t until; /* not found any more when `now` is this, in the owner's unit of time */
    size_t n;
    void (*end)(void *bytes); /* called with the last reference; NULL: nothing but memory goes */
    _Alignas(16) char bytes[];
};
#define CACHE_FOREVER UINT64_MAX

/* One reference; room for n bytes, zeroed. NULL without memory: a cache may do without. */
struct cache_value *cache_value_new(size_t n, uint64_t until);
/* NULL-safe. */
void cache_value_unref(struct cache_value *v);
void cache_value_end(struct cache_value **v);
#define CACHE_VALUE __attribute__((cleanup(cache_value_end)))

/* `label`: under which hits, misses, evictions and bytes are counted. `bytes_max` counts keys,
 * values and what holding them costs; each of `shard_n` (a power of two) may use its part of it. */
struct cache *cache_new(enum cache_label label, size_t bytes_max, unsigned shard_n);
/* Before anything is put: no more than this many entries either (at least one a shard). */
void cache_limit_entries(struct cache *c, size_t entries_max);
/* NULL-safe. Values that are referred to live on. */
void cache_free(struct cache *c);

/* A reference to the value, or NULL. */
struct cache_value *cache_get(struct cache *c, str key, uint64_t now);
/* Takes over the reference (NULL: does nothing) and replaces what was there. A value larger than a
 * quarter of a shard is not kept. */
void cache_put(struct cache *c, str key, struct cache_value *v);
/* Nobody finds it from now on. Missing is fine. */
void cache_remove(struct cache *c, str key);
/* Lets go of all that is not found any more at `now` (CACHE_FOREVER: of everything). */
void cache_expire(struct cache *c, uint64_t now);

/* Entries held. */
size_t cache_count(struct cache *c);
