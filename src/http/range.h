/* Range header fields (RFC 9110 14.1, 14.2). Pure. */
#pragma once

#include "base/arena.h"

struct range {
    uint64_t first; /* byte offset */
    uint64_t n;     /* bytes; at least 1 */
};

enum range_verdict {
    RANGE_NONE,          /* absent, malformed, another unit, or abusive: serve the whole content */
    RANGE_SOME,          /* serve *ranges, in request order */
    RANGE_UNSATISFIABLE, /* 416 */
};

/* `header` is the value of Range; `size` the content's. Unsatisfiable parts are dropped; when none
 * is left, and for `first > last` in a single range, RANGE_UNSATISFIABLE (facts: 500-0 must be
 * 416). A size of 0 satisfies nothing. More than parts_max parts, or parts that sum to more than
 * the size (when there are several), is abuse. */
enum range_verdict range_parse(struct arena *a, str header, uint64_t size, unsigned parts_max,
                               struct range **ranges, size_t *n);
