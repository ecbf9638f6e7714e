#include "auth/cache.h"

#include "base/map.h"

#include <pthread.h>
#include <stdlib.h>

/* The list runs from the most to the least recently used entry; the map finds entries by key. */
struct entry {
    struct entry *newer, *older;
    uint64_t expires;
    size_t n;
    uint8_t key[CACHE_KEY_BYTES];
    max_align_t value[];
};

/* The map's node, its slot, and what the allocator adds: about this much per entry. */
enum { ENTRY_COST = sizeof(struct entry) + 112 };

struct cache {
    pthread_mutex_t lock; /* guards all below */
    struct map map;
    struct entry *newest, *oldest;
    size_t bytes, bytes_max;
    cache_copy_fn *copy;
};

struct cache *cache_new(size_t bytes_max, cache_copy_fn *copy)
{
    struct cache *c = calloc(1, sizeof *c);
    if (!c)
        abort();
    pthread_mutex_init(&c->lock, NULL);
    c->bytes_max = bytes_max;
    c->copy = copy;
    return c;
}

static str key_str(const uint8_t *key)
{
    return str_make(key, CACHE_KEY_BYTES);
}

static void unlink_entry(struct cache *c, struct entry *e)
{
    *(e->newer ? &e->newer->older : &c->newest) = e->older;
    *(e->older ? &e->older->newer : &c->oldest) = e->newer;
}

static void link_newest(struct cache *c, struct entry *e)
{
    e->newer = NULL;
    e->older = c->newest;
    *(c->newest ? &c->newest->newer : &c->oldest) = e;
    c->newest = e;
}

static void drop(struct cache *c, struct entry *e)
{
    unlink_entry(c, e);
    map_remove(&c->map, key_str(e->key));
    c->bytes -= ENTRY_COST + e->n;
    free(e);
}

void cache_free(struct cache *c)
{
    if (!c)
        return;
    while (c->oldest)
        drop(c, c->oldest);
    map_release(&c->map);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

void *cache_get(struct cache *c, const uint8_t key[CACHE_KEY_BYTES], uint64_t now, struct arena *a)
{
    void *ret = NULL;
    pthread_mutex_lock(&c->lock);
    struct entry *e = map_get(&c->map, key_str(key));
    if (e && now >= e->expires) {
        drop(c, e);
    } else if (e) {
        unlink_entry(c, e);
        link_newest(c, e);
        ret = arena_alloc(a, e->n + 1); /* never an empty allocation */
        c->copy(ret, e->value, e->n);
    }
    pthread_mutex_unlock(&c->lock);
    return ret;
}

void cache_put(struct cache *c, const uint8_t key[CACHE_KEY_BYTES], uint64_t expires,
               const void *value, size_t n)
{
    if (n > c->bytes_max || ENTRY_COST + n > c->bytes_max)
        return;
    struct entry *e = calloc(1, sizeof *e + n);
    if (!e)
        return; /* a cache may forget */
    e->expires = expires;
    e->n = n;
    memcpy(e->key, key, CACHE_KEY_BYTES);
    c->copy(e->value, value, n);
    pthread_mutex_lock(&c->lock);
    struct entry *before = map_get(&c->map, key_str(key));
    if (before)
        drop(c, before);
    while (c->bytes + ENTRY_COST + n > c->bytes_max)
        drop(c, c->oldest);
    map_set(&c->map, key_str(key), e);
    link_newest(c, e);
    c->bytes += ENTRY_COST + n;
    pthread_mutex_unlock(&c->lock);
}

size_t cache_count(struct cache *c)
{
    pthread_mutex_lock(&c->lock);
    size_t n = c->map.n;
    pthread_mutex_unlock(&c->lock);
    return n;
}
