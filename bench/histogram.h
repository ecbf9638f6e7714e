/* Latency histogram: log-linear buckets, 1.6 % wide, over all of uint64_t. Any unit. One thread. */
#pragma once

#include <stdint.h>

enum {
    HISTOGRAM_SUB_BITS = 6,
    HISTOGRAM_BUCKETS = (64 - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS,
};

struct histogram {
    uint64_t count;
    uint64_t max;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* An empty histogram is all zeroes. */

void histogram_add(struct histogram *h, uint64_t value);

/* The value that `share` (0 to 1) of all values do not exceed, rounded up to its bucket's end but
 * never past the largest; 0 when empty. */
uint64_t histogram_quantile(const struct histogram *h, double share);
