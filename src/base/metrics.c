#include "base/metrics.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

enum metric_kind { KIND_COUNTER, KIND_GAUGE, KIND_HISTOGRAM };

/* Number of bounds. */
enum {
#define X(name, ...) BOUNDS_##name = sizeof((uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t),
    METRIC_BOUNDS(X)
#undef X
};

#define X(name, ...) static const uint64_t bounds_##name[] = {__VA_ARGS__};
METRIC_BOUNDS(X)
#undef X

enum {
#define X(set, n) SET_##set = n,
    METRIC_SETS(X)
#undef X
};

/* Where each metric's cells are: one a label; of a histogram one a bucket and the sum. */
struct layout {
#define COUNTER(id, name, unit, set, help)           uint64_t id[SET_##set];
#define GAUGE(id, name, unit, set, help)             uint64_t id[SET_##set];
#define HISTOGRAM(id, name, unit, set, bounds, help) uint64_t id[SET_##set][BOUNDS_##bounds + 2];
#include "base/metrics.def"
#undef COUNTER
#undef GAUGE
#undef HISTOGRAM
};

enum { CELLS = sizeof(struct layout) / sizeof(uint64_t) };

static const struct row {
    enum metric_kind kind;
    unsigned first, labels;
    const uint64_t *bounds;
    unsigned bounds_n;
} rows[METRIC_COUNT] = {
#define FIRST(id) offsetof(struct layout, id) / sizeof(uint64_t)
#define COUNTER(id, name, unit, set, help) \
    [METRIC_##id] = {KIND_COUNTER, FIRST(id), SET_##set, NULL, 0},
#define GAUGE(id, name, unit, set, help) \
    [METRIC_##id] = {KIND_GAUGE, FIRST(id), SET_##set, NULL, 0},
#define HISTOGRAM(id, name, unit, set, bounds, help) \
    [METRIC_##id] = {KIND_HISTOGRAM, FIRST(id), SET_##set, bounds_##bounds, BOUNDS_##bounds},
#include "base/metrics.def"
#undef COUNTER
#undef GAUGE
#undef HISTOGRAM
};

/* One thread's cells. Only the thread that has the shard writes them, so an addition is a load and
 * a store. A thread that ends leaves its shard, with what is in it, to the next one that begins;
 * shards are never freed. */
struct shard {
    struct shard *next_all, *next_free;
    atomic_ullong cells[CELLS];
};

static struct {
    pthread_mutex_t lock; /* guards the lists */
    struct shard *all, *unused;
} shards = {.lock = PTHREAD_MUTEX_INITIALIZER};

static atomic_ullong set_cells[CELLS]; /* what metric_set_at wrote */

static _Thread_local struct shard *mine;
static pthread_key_t at_end;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void leave(void *arg)
{
    struct shard *s = arg;
    mine = NULL;
    pthread_mutex_lock(&shards.lock);
    s->next_free = shards.unused;
    shards.unused = s;
    pthread_mutex_unlock(&shards.lock);
}

static void make_key(void)
{
    if (pthread_key_create(&at_end, leave))
        abort();
}

/* Mapped, so that pages of cells that this thread never touches cost nothing. */
static struct shard *shard_new(void)
{
    struct shard *s =
        mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (s == MAP_FAILED)
        abort();
    s->next_all = shards.all;
    shards.all = s;
    return s;
}

static struct shard *enter(void)
{
    pthread_once(&once, make_key);
    pthread_mutex_lock(&shards.lock);
    struct shard *s = shards.unused;
    if (s)
        shards.unused = s->next_free;
    else
        s = shard_new();
    pthread_mutex_unlock(&shards.lock);
    if (pthread_setspecific(at_end, s))
        abort();
    mine = s;
    return s;
}

static void cell_add(unsigned cell, uint64_t n)
{
    struct shard *s = mine ? mine : enter();
    unsigned long long was = atomic_load_explicit(&s->cells[cell], memory_order_relaxed);
    atomic_store_explicit(&s->cells[cell], was + n, memory_order_relaxed);
}

void metric_add_at(enum metric m, unsigned label, uint64_t n)
{
    assert(rows[m].kind == KIND_COUNTER && label < rows[m].labels);
    cell_add(rows[m].first + label, n);
}

void metric_move_at(enum metric m, unsigned label, int64_t by)
{
    assert(rows[m].kind == KIND_GAUGE && label < rows[m].labels);
    cell_add(rows[m].first + label, (uint64_t)by);
}

void metric_set_at(enum metric m, unsigned label, int64_t value)
{
    assert(rows[m].kind == KIND_GAUGE && label < rows[m].labels);
    atomic_store_explicit(&set_cells[rows[m].first + label], (uint64_t)value, memory_order_relaxed);
}

void metric_observe_at(enum metric m, unsigned label, uint64_t value)
{
    const struct row *row = &rows[m];
    assert(row->kind == KIND_HISTOGRAM && label < row->labels);
    unsigned first = row->first + label * (row->bounds_n + 2), bucket = 0;
    while (bucket < row->bounds_n && value > row->bounds[bucket])
        bucket++;
    cell_add(first + bucket, 1);
    cell_add(first + row->bounds_n + 1, value);
}

static uint64_t cell_sum(unsigned cell)
{
    uint64_t sum = atomic_load_explicit(&set_cells[cell], memory_order_relaxed);
    pthread_mutex_lock(&shards.lock);
    for (struct shard *s = shards.all; s; s = s->next_all)
        sum += atomic_load_explicit(&s->cells[cell], memory_order_relaxed);
    pthread_mutex_unlock(&shards.lock);
    return sum;
}

int64_t metric_value_at(enum metric m, unsigned label)
{
    assert(rows[m].kind != KIND_HISTOGRAM && label < rows[m].labels);
    return (int64_t)cell_sum(rows[m].first + label);
}
