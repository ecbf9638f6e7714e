/* Private to metrics*.c: the rows as data, and a sum over all threads. */
#pragma once

#include "base/metrics.h"

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };
enum metric_unit { METRIC_NONE, METRIC_BYTES, METRIC_SECONDS };

/* Cells: one a label; of a histogram one a bucket, one for the values above all bounds, and their
 * sum. */
struct metric_row {
    enum metric_kind kind;
    enum metric_unit unit;
    enum metric_set set;
    const char *name, *help;
    unsigned first, labels_n; /* first cell; labels of the set */
    unsigned cells_n;         /* of one label */
    const uint64_t *bounds;
    unsigned bounds_n;
};
extern const struct metric_row metric_rows[METRIC_COUNT];

/* A written set; `values` is NULL for the others. */
struct metric_value {
    const char *value, *help;
};
struct metric_set_row {
    const char *label;
    const struct metric_value *values;
    size_t n;
};
extern const struct metric_set_row metric_sets[METRIC_SET_COUNT];

/* What metric_set_labels was given. */
extern struct metric_labels {
    const str *texts;
    size_t n;
} metric_labels[METRIC_SET_COUNT];

/* Label of ROUTE_CODE's code. */
str metric_code_text(unsigned code);

/* How many threads have counted at the same time. */
unsigned metric_shards(void);
/* Sums of n cells from `first` on. */
void metric_cells(unsigned first, unsigned n, uint64_t *ret);
