/* Metrics: counters, gauges and histograms of the whole process; the rows are in metrics.def.
 *
 * Any thread may count at any time. Each thread adds to memory of its own, so no two of them share
 * a cache line and nothing is locked; a reader sums over the threads. What a thread added stays
 * when it ends. */
#pragma once

#include "base/buf.h"
#include "base/metric_labels.h"

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

enum { METRIC_ROUTES_MAX = 320, METRIC_REACTORS_MAX = 256 };

enum {
#define X(code) METRIC_CODE_##code,
    METRIC_CODES(X)
#undef X
        METRIC_CODE_NONE,
    METRIC_CODE_OTHER,
    METRIC_CODE_COUNT
};

/* Sets that are known at run time. X(set, number of its labels). A label of ROUTE_CODE is one of
 * ROUTE times METRIC_CODE_COUNT, plus the code. */
#define METRIC_OTHER_SETS(X)                            \
    X(NONE, 1)                                          \
    X(ROUTE, METRIC_ROUTES_MAX)                         \
    X(ROUTE_CODE, METRIC_ROUTES_MAX *METRIC_CODE_COUNT) \
    X(REACTOR, METRIC_REACTORS_MAX)                     \
    X(BUILD, 1)

enum metric_set {
#define X(set, ...) METRIC_SET_##set,
    METRIC_LABEL_SETS(X) METRIC_OTHER_SETS(X)
#undef X
        METRIC_SET_COUNT
};

/* X(name, upper bounds...): where the buckets of a histogram end; one without bound follows. */
#define METRIC_BOUNDS(X)                                                                         \
    X(US, 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, \
      2500000, 5000000, 10000000, 30000000, 60000000, 300000000)                                 \
    X(COUNT, 1, 2, 4, 8, 16, 32, 64, 128)

/* Counters, and gauges that many threads move. `label` is one of the metric's set. */
void metric_add_at(enum metric m, unsigned label, uint64_t n);
/* Gauges: moves them; down by a negative number. */
void metric_move_at(enum metric m, unsigned label, int64_t by);
/* Gauges, and counters kept elsewhere: the value, on top of what was moved or added. Of two threads
 * at the same time one wins. */
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
static inline void metric_observe(enum metric m, uint64_t value)
{
    metric_observe_at(m, 0, value);
}

/* A bound was met. */
static inline void metric_limit(enum limit limit)
{
    metric_add_at(METRIC_LIMIT_HITS, limit, 1);
}

/* Label of a status code, METRIC_CODE_NONE for 0. */
unsigned metric_code(int status);

/* Counter or gauge, summed over all threads as of about now. */
int64_t metric_value_at(enum metric m, unsigned label);
/* How many values a histogram has seen. */
uint64_t metric_observed_at(enum metric m, unsigned label);

/* The labels of ROUTE, REACTOR or BUILD, as metric_label writes them: label i is texts[i]. Before
 * anybody asks for the text; `texts` must stay. Of a set without labels nothing is exposed. */
void metric_set_labels(enum metric_set set, const str *texts, size_t n);
/* Appends name="value", behind a comma if something is there already, with the value escaped. */
void metric_label(struct buf *out, const char *name, str value);

enum metrics_format { METRICS_OPENMETRICS, METRICS_PROMETHEUS };
/* Content type of each. */
const char *metrics_content_type(enum metrics_format format);
/* Everything: OpenMetrics 1.0.0, or the Prometheus text format 0.0.4. Series of ROUTE and
 * ROUTE_CODE where nothing was counted yet are left out. Any thread. */
void metrics_write(struct buf *out, enum metrics_format format);
/* docs/metrics.md but for its beginning: a table of all metrics, and one of the labels. */
void metrics_reference(struct buf *out);
