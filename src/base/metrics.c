#include "base/metrics_private.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

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
#define X(set, tag, label) LABELS_##set = set##_COUNT,
    METRIC_LABEL_SETS(X)
#undef X
#define X(set, n) LABELS_##set = n,
        METRIC_OTHER_SETS(X)
#undef X
};

/* Where each metric's cells are. */
struct layout {
#define COUNTER(id, name, unit, set, help)           uint64_t id[LABELS_##set];
#define GAUGE(id, name, unit, set, help)             uint64_t id[LABELS_##set];
#define HISTOGRAM(id, name, unit, set, bounds, help) uint64_t id[LABELS_##set][BOUNDS_##bounds + 2];
#include "base/metrics.def"
#undef COUNTER
#undef GAUGE
#undef HISTOGRAM
};

enum { CELLS = sizeof(struct layout) / sizeof(uint64_t) };

const struct metric_row metric_rows[METRIC_COUNT] = {
#define FIRST(id) offsetof(struct layout, id) / sizeof(uint64_t)
#define COUNTER(id, name, unit, set, help) \
    [METRIC_##id] = {METRIC_COUNTER,       \
                     METRIC_##unit,        \
                     METRIC_SET_##set,     \
                     name,                 \
                     help,                 \
                     FIRST(id),            \
                     LABELS_##set,         \
                     1,                    \
                     NULL,                 \
                     0},
#define GAUGE(id, name, unit, set, help) \
    [METRIC_##id] = {METRIC_GAUGE,       \
                     METRIC_##unit,      \
                     METRIC_SET_##set,   \
                     name,               \
                     help,               \
                     FIRST(id),          \
                     LABELS_##set,       \
                     1,                  \
                     NULL,               \
                     0},
#define HISTOGRAM(id, name, unit, set, bounds, help)                                              \
    [METRIC_##id] = {                                                                             \
        METRIC_HISTOGRAM, METRIC_##unit,       METRIC_SET_##set, name,           help, FIRST(id), \
        LABELS_##set,     BOUNDS_##bounds + 2, bounds_##bounds,  BOUNDS_##bounds},
#include "base/metrics.def"
#undef COUNTER
#undef GAUGE
#undef HISTOGRAM
};

#define X_VALUE(id, value, help) {value, help},
#define X(set, tag, label) \
    static const struct metric_value tag##_values[] = {METRIC_LIST_##set(X_VALUE)};
METRIC_LABEL_SETS(X)
#undef X
#undef X_VALUE

const struct metric_set_row metric_sets[METRIC_SET_COUNT] = {
#define X(set, tag, label) [METRIC_SET_##set] = {label, tag##_values, set##_COUNT},
    METRIC_LABEL_SETS(X)
#undef X
};

struct metric_labels metric_labels[METRIC_SET_COUNT];

static const str codes[METRIC_CODE_COUNT] = {
#define X(code) STR_INIT(#code),
    METRIC_CODES(X)
#undef X
        STR_INIT("none"),
    STR_INIT("other"),
};

str metric_code_text(unsigned code)
{
    return codes[code];
}

unsigned metric_code(int status)
{
    switch (status) {
    case 0:
        return METRIC_CODE_NONE;
#define X(code) \
    case code:  \
        return METRIC_CODE_##code;
        METRIC_CODES(X)
#undef X
    default:
        return METRIC_CODE_OTHER;
    }
}

void metric_set_labels(enum metric_set set, const str *texts, size_t n)
{
    assert(n <= (set == METRIC_SET_ROUTE     ? (size_t)METRIC_ROUTES_MAX
                 : set == METRIC_SET_REACTOR ? (size_t)METRIC_REACTORS_MAX
                                             : 1));
    metric_labels[set] = (struct metric_labels){texts, n};
}

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
    const struct metric_row *row = &metric_rows[m];
    assert(row->kind == METRIC_COUNTER && label < row->labels_n);
    cell_add(row->first + label, n);
}

void metric_move_at(enum metric m, unsigned label, int64_t by)
{
    const struct metric_row *row = &metric_rows[m];
    assert(row->kind == METRIC_GAUGE && label < row->labels_n);
    cell_add(row->first + label, (uint64_t)by);
}

void metric_set_at(enum metric m, unsigned label, int64_t value)
{
    const struct metric_row *row = &metric_rows[m];
    assert(row->kind != METRIC_HISTOGRAM && label < row->labels_n);
    atomic_store_explicit(&set_cells[row->first + label], (uint64_t)value, memory_order_relaxed);
}

void metric_observe_at(enum metric m, unsigned label, uint64_t value)
{
    const struct metric_row *row = &metric_rows[m];
    assert(row->kind == METRIC_HISTOGRAM && label < row->labels_n);
    unsigned first = row->first + label * row->cells_n, bucket = 0;
    while (bucket < row->bounds_n && value > row->bounds[bucket])
        bucket++;
    cell_add(first + bucket, 1);
    cell_add(first + row->bounds_n + 1, value);
}

void metric_cells(unsigned first, unsigned n, uint64_t *ret)
{
    for (unsigned i = 0; i < n; i++)
        ret[i] = atomic_load_explicit(&set_cells[first + i], memory_order_relaxed);
    pthread_mutex_lock(&shards.lock);
    for (struct shard *s = shards.all; s; s = s->next_all)
        for (unsigned i = 0; i < n; i++)
            ret[i] += atomic_load_explicit(&s->cells[first + i], memory_order_relaxed);
    pthread_mutex_unlock(&shards.lock);
}

unsigned metric_shards(void)
{
    unsigned n = 0;
    pthread_mutex_lock(&shards.lock);
    for (const struct shard *s = shards.all; s; s = s->next_all)
        n++;
    pthread_mutex_unlock(&shards.lock);
    return n;
}

int64_t metric_value_at(enum metric m, unsigned label)
{
    const struct metric_row *row = &metric_rows[m];
    uint64_t value;
    assert(row->kind != METRIC_HISTOGRAM && label < row->labels_n);
    metric_cells(row->first + label, 1, &value);
    return (int64_t)value;
}

uint64_t metric_observed_at(enum metric m, unsigned label)
{
    const struct metric_row *row = &metric_rows[m];
    assert(row->kind == METRIC_HISTOGRAM && label < row->labels_n);
    uint64_t total = 0, value;
    for (unsigned i = 0; i <= row->bounds_n; i++) {
        metric_cells(row->first + label * row->cells_n + i, 1, &value);
        total += value;
    }
    return total;
}
