/* Metrics: counters, gauges and histograms of the whole process; the rows are in metrics.def.
 *
 * Any thread may count at any time. Each thread adds to memory of its own, so no two of them share
 * a cache line and nothing is locked; a reader sums over the threads. What a thread added stays
 * when it ends. */
#pragma once

#include "base/str.h"

enum metric {
#define COUNTER(id, name, unit, set, help)           METRIC_##id,
#define GAUGE(id, name, unit, set, help)             METRIC_##id,
#define HISTOGRAM(id, name, unit, set, bounds, help) METRIC_##id,
#include "base/metrics.def"
#undef COUNTER
#undef GAUGE
#undef HISTOGRAM
    METRIC_COUNT
};

/* Labels are closed sets. */
enum limit {
#define LIMIT(id, name, help) LIMIT_##id,
#include "base/limits.def"
#undef LIMIT
    LIMIT_COUNT
};

/* X(set, number of its labels) */
#define METRIC_SETS(X) \
    X(NONE, 1)         \
    X(LIMIT, LIMIT_COUNT)

/* X(name, upper bounds...): where the buckets of a histogram end; one without bound follows. */
#define METRIC_BOUNDS(X)                                                                         \
    X(US, 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, \
      2500000, 5000000, 10000000, 30000000, 60000000, 300000000)                                 \
    X(COUNT, 1, 2, 4, 8, 16, 32, 64, 128)

/* Counters, and gauges that many threads move. `label` is one of the metric's set. */
void metric_add_at(enum metric m, unsigned label, uint64_t n);
/* Gauges: moves them; down by a negative number. */
void metric_move_at(enum metric m, unsigned label, int64_t by);
/* Gauges: the value, from one thread at a time; on top of what was moved. */
void metric_set_at(enum metric m, unsigned label, int64_t value);
/* Histograms: one value, in microseconds where the unit is SECONDS. */
void metric_observe_at(enum metric m, unsigned label, uint64_t value);

/* The same for metrics without labels. */
static inline void metric_add(enum metric m, uint64_t n)
{
    metric_add_at(m, 0, n);
}
static inline void metric_move(enum metric m, int64_t by)
{
    metric_move_at(m, 0, by);
}
static inline void metric_set(enum metric m, int64_t value)
{
    metric_set_at(m, 0, value);
}
static inline void metric_observe_us(enum metric m, uint64_t us)
{
    metric_observe_at(m, 0, us);
}

/* A bound was met. */
static inline void metric_limit(enum limit limit)
{
    metric_add_at(METRIC_LIMIT_HITS, limit, 1);
}

/* Counter or gauge, summed over all threads as of about now. */
int64_t metric_value_at(enum metric m, unsigned label);
