#include "histogram.h"

/* Values below 2^SUB_BITS have a bucket each; above, each power of two has 2^SUB_BITS buckets. */
static unsigned bucket_of(uint64_t value)
{
    unsigned bits = value ? 64 - (unsigned)__builtin_clzll(value) : 0;
    unsigned shift = bits > HISTOGRAM_SUB_BITS + 1 ? bits - HISTOGRAM_SUB_BITS - 1 : 0;
    return (shift << HISTOGRAM_SUB_BITS) + (unsigned)(value >> shift);
}

static uint64_t bucket_last(unsigned bucket)
{
    const unsigned sub = 1u << HISTOGRAM_SUB_BITS;
    if (bucket < 2 * sub)
        return bucket;
    unsigned shift = (bucket >> HISTOGRAM_SUB_BITS) - 1;
    uint64_t first = (uint64_t)(bucket - (shift << HISTOGRAM_SUB_BITS)) << shift;
    return first + (((uint64_t)1 << shift) - 1);
}

void histogram_add(struct histogram *h, uint64_t value)
{
    h->buckets[bucket_of(value)]++;
    h->count++;
    if (value > h->max)
        h->max = value;
}

uint64_t histogram_quantile(const struct histogram *h, double share)
{
    uint64_t rank = (uint64_t)(share * (double)h->count + 0.999999);
    uint64_t seen = 0;
    if (rank > h->count)
        rank = h->count;
    for (unsigned b = 0; b < HISTOGRAM_BUCKETS && rank > 0; b++) {
        seen += h->buckets[b];
        if (seen >= rank)
            return bucket_last(b) < h->max ? bucket_last(b) : h->max;
    }
    return 0;
}
