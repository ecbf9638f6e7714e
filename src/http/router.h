/* Routes: one table, matched without regular expressions.
 *
 * A pattern is a path whose segments are literal, `{arg}` (one segment, percent-decoded, not
 * empty) or `{arg...}` (one or more segments; at most one per pattern). Segments behind a
 * `{arg...}` are matched from the right, so repository names may contain "blobs" or "manifests".
 * Literals are compared with the path as it was sent. The first row that fits path and method
 * wins. */
#pragma once

#include "http/response.h"

enum body_kind {
    BODY_NONE,   /* a body is refused */
    BODY_SMALL,  /* collected, at most body_max_bytes, before the handler runs */
    BODY_STREAM, /* the handler runs at the head and may return a sink */
    BODY_DRAIN,  /* a body (at most 64 KiB) is read and ignored */
};

/* Runs on a worker. Fills `res`, or returns an error after fail(). Straight-line: it may block. */
typedef enum err handler_fn(struct request *req, struct response *res);

struct route {
    enum method method; /* METHOD_GET rows also serve HEAD */
    const char *pattern;
    handler_fn *handler;
    enum body_kind body;
    uint64_t body_max_bytes; /* BODY_SMALL; 0: the server's default */
    enum err too_large;      /* error for a larger body; 0: ERR_BODY_TOO_LARGE */
    bool quick; /* runs on the reactor first: what is not in memory is ERR_WOULD_BLOCK, and the
                   handler, which has changed nothing by then, runs again on a worker */
    const char *help; /* one line: specification section, purpose */
};

struct router {
    const struct route *const *tables; /* each ended by a row without pattern */
    size_t table_n;
};

/* Fills req->route and req->args. ERR_NOT_FOUND when no row has the path, ERR_METHOD_NOT_ALLOWED
 * when only the method differs (*allowed gets the value of the Allow header, in the arena),
 * ERR_BAD_REQUEST, with fail(), when an argument has an escaped control byte, or an `{arg...}` an
 * escaped slash. */
NODISCARD enum err router_match(const struct router *router, struct request *req, str *allowed);
