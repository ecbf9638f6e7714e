#include "base/cache.h"

#include "base/map.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

/* Its list runs from the newest entry to the oldest. Being read only marks an entry; when room is
 * wanted, the oldest goes, but one that was read meanwhile begins again as the newest. */
struct cache_entry {
    struct cache_entry *newer, *older;
    struct cache_entry *next; /* in its slot */
    uint64_t hash;
    struct cache_value *value;
    bool used;
    size_t key_n;
    char key[];
};

/* What the allocator adds to entry and value, and the slot. */
enum { ENTRY_COST = sizeof(struct cache_entry) + sizeof(struct cache_value) + 40 };
enum { BYTES_PER_SLOT = 512 };

struct cache_shard {
    _Alignas(64) pthread_mutex_t lock; /* guards all below */
    struct cache_entry **slots;
    struct cache_entry *newest, *oldest;
    size_t bytes, entries;
};

struct cache {
    enum cache_label label;
    unsigned shard_n;
    size_t slot_n; /* a power of two; of each shard */
    size_t shard_bytes_max, shard_entries_max;
    struct cache_shard *shards;
};

struct cache_value *cache_value_new(size_t n, uint64_t until)
{
    struct cache_value *v = n < SIZE_MAX - sizeof *v ? calloc(1, sizeof *v + n) : NULL;
    if (!v)
        return NULL;
    atomic_init(&v->refs, 1);
    v->until = until;
    v->n = n;
    return v;
}

void cache_value_unref(struct cache_value *v)
{
    if (!v || atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) > 1)
        return;
    if (v->end)
        v->end(v->bytes);
    free(v);
}

void cache_value_end(struct cache_value **v)
{
    cache_value_unref(*v);
}

struct cache *cache_new(enum cache_label label, size_t bytes_max, unsigned shard_n)
{
    struct cache *c = calloc(1, sizeof *c);
    if (!c)
        abort();
    assert(shard_n && (shard_n & (shard_n - 1)) == 0);
    c->label = label;
    c->shard_n = shard_n;
    c->shard_bytes_max = bytes_max / shard_n;
    c->shard_entries_max = SIZE_MAX;
    c->slot_n = 1;
    while (c->slot_n * BYTES_PER_SLOT < c->shard_bytes_max)
        c->slot_n *= 2;
    c->shards = aligned_alloc(64, shard_n * sizeof *c->shards);
    if (!c->shards)
        abort();
    for (unsigned i = 0; i < shard_n; i++) {
        struct cache_shard *s = &c->shards[i];
        *s = (struct cache_shard){.slots = calloc(c->slot_n, sizeof(struct cache_entry *))};
        if (!s->slots)
            abort();
        pthread_mutex_init(&s->lock, NULL);
    }
    return c;
}

void cache_limit_entries(struct cache *c, size_t entries_max)
{
    c->shard_entries_max = entries_max > c->shard_n ? entries_max / c->shard_n : 1;
}

static size_t cost(const struct cache_entry *e)
{
    return ENTRY_COST + e->key_n + e->value->n;
}

static void unlink_entry(struct cache_shard *s, struct cache_entry *e)
{
    *(e->newer ? &e->newer->older : &s->newest) = e->older;
    *(e->older ? &e->older->newer : &s->oldest) = e->newer;
}

static void link_newest(struct cache_shard *s, struct cache_entry *e)
{
    e->newer = NULL;
    e->older = s->newest;
    *(s->newest ? &s->newest->newer : &s->oldest) = e;
    s->newest = e;
}

/* Where the entry is linked in its slot, or the end of the slot's chain. */
static struct cache_entry **find(const struct cache *c, struct cache_shard *s, uint64_t hash,
                                 str key)
{
    struct cache_entry **link = &s->slots[(hash / c->shard_n) & (c->slot_n - 1)];
    while (*link && !((*link)->hash == hash && str_eq(str_make((*link)->key, (*link)->key_n), key)))
        link = &(*link)->next;
    return link;
}

/* One more, or with -1 one less. */
static void count_entry(const struct cache *c, struct cache_shard *s, const struct cache_entry *e,
                        int sign)
{
    int64_t bytes = sign * (int64_t)cost(e);
    s->bytes += (size_t)bytes;
    s->entries += (size_t)sign;
    metric_move_at(METRIC_CACHE_BYTES, c->label, bytes);
    metric_move_at(METRIC_CACHE_ENTRIES, c->label, sign);
}

/* Out of the shard, and before `rest`. */
static struct cache_entry *take(const struct cache *c, struct cache_shard *s,
                                struct cache_entry **link, struct cache_entry *rest)
{
    struct cache_entry *e = *link;
    *link = e->next;
    unlink_entry(s, e);
    count_entry(c, s, e, -1);
    e->next = rest;
    return e;
}

static struct cache_entry *take_oldest(const struct cache *c, struct cache_shard *s,
                                       struct cache_entry *rest)
{
    struct cache_entry *e = s->oldest;
    while (e->used) { /* ends: each is marked once */
        e->used = false;
        unlink_entry(s, e);
        link_newest(s, e);
        e = s->oldest;
    }
    return take(c, s, find(c, s, e->hash, str_make(e->key, e->key_n)), rest);
}

/* What was taken. The end of a value may take long: not while others want the lock. */
static void let_go(struct cache_entry *e)
{
    for (struct cache_entry *next; e; e = next) {
        next = e->next;
        cache_value_unref(e->value);
        free(e);
    }
}

void cache_free(struct cache *c)
{
    if (!c)
        return;
    for (unsigned i = 0; i < c->shard_n; i++) {
        struct cache_shard *s = &c->shards[i];
        while (s->oldest)
            let_go(take_oldest(c, s, NULL));
        free(s->slots);
        pthread_mutex_destroy(&s->lock);
    }
    free(c->shards);
    free(c);
}

static struct cache_shard *shard_of(const struct cache *c, uint64_t hash)
{
    return &c->shards[hash & (c->shard_n - 1)];
}

struct cache_value *cache_get(struct cache *c, str key, uint64_t now)
{
    struct cache_value *ret = NULL;
    struct cache_entry *ended = NULL;
    uint64_t hash = siphash(key);
    struct cache_shard *s = shard_of(c, hash);
    pthread_mutex_lock(&s->lock);
    struct cache_entry **link = find(c, s, hash, key), *e = *link;
    if (e && now >= e->value->until) {
        ended = take(c, s, link, NULL);
    } else if (e) {
        e->used = true;
        ret = e->value;
        atomic_fetch_add_explicit(&ret->refs, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&s->lock);
    let_go(ended);
    metric_add_at(ret ? METRIC_CACHE_HITS : METRIC_CACHE_MISSES, c->label, 1);
    return ret;
}

void cache_put(struct cache *c, str key, struct cache_value *v)
{
    if (!v)
        return;
    struct cache_entry *e = malloc(sizeof *e + key.n), *out = NULL;
    if (e)
        *e = (struct cache_entry){.hash = siphash(key), .value = v, .key_n = key.n};
    if (!e || cost(e) > c->shard_bytes_max / 4) {
        free(e);
        cache_value_unref(v);
        return;
    }
    memcpy(e->key, key.p, key.n);
    struct cache_shard *s = shard_of(c, e->hash);
    pthread_mutex_lock(&s->lock);
    struct cache_entry **link = find(c, s, e->hash, key);
    if (*link)
        out = take(c, s, link, out);
    while (s->bytes + cost(e) > c->shard_bytes_max || s->entries >= c->shard_entries_max) {
        metric_add_at(METRIC_CACHE_EVICTIONS, c->label, 1);
        out = take_oldest(c, s, out);
    }
    link = find(c, s, e->hash, key);
    *link = e;
    link_newest(s, e);
    count_entry(c, s, e, 1);
    pthread_mutex_unlock(&s->lock);
    let_go(out);
}

void cache_remove(struct cache *c, str key)
{
    uint64_t hash = siphash(key);
    struct cache_shard *s = shard_of(c, hash);
    pthread_mutex_lock(&s->lock);
    struct cache_entry **link = find(c, s, hash, key);
    struct cache_entry *e = *link ? take(c, s, link, NULL) : NULL;
    pthread_mutex_unlock(&s->lock);
    let_go(e);
}

/* All of the shard that has ended. */
static struct cache_entry *take_ended(const struct cache *c, struct cache_shard *s, uint64_t now)
{
    struct cache_entry *out = NULL;
    for (struct cache_entry *e = s->oldest, *newer; e; e = newer) {
        newer = e->newer;
        if (now >= e->value->until)
            out = take(c, s, find(c, s, e->hash, str_make(e->key, e->key_n)), out);
    }
    return out;
}

void cache_expire(struct cache *c, uint64_t now)
{
    for (unsigned i = 0; i < c->shard_n; i++) {
        struct cache_shard *s = &c->shards[i];
        pthread_mutex_lock(&s->lock);
        struct cache_entry *ended = take_ended(c, s, now);
        pthread_mutex_unlock(&s->lock);
        let_go(ended);
    }
}

size_t cache_count(struct cache *c)
{
    size_t n = 0;
    for (unsigned i = 0; i < c->shard_n; i++) {
        pthread_mutex_lock(&c->shards[i].lock);
        n += c->shards[i].entries;
        pthread_mutex_unlock(&c->shards[i].lock);
    }
    return n;
}
