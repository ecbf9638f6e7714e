/* Content-Range of an upload's chunk (OCI distribution specification, "Pushing a blob in chunks"):
 * `first-last`, two inclusive byte positions; `bytes first-last/total`, which RFC 9110 would have,
 * is understood too. Pure. False when it is malformed or does not fit 63 bits. */
#pragma once

#include "base/str.h"

NODISCARD bool content_range_parse(str header, uint64_t *first, uint64_t *last);
