/* Trace context (W3C Recommendation "Trace Context", traceparent and tracestate): by which trace a
 * request is part of, so that the log lines of several programs can be put together. Pure but for
 * what makes random numbers; any thread. */
#pragma once

#include "http/request.h"

enum { TRACE_ID_LEN = 32, TRACE_SPAN_LEN = 16, TRACE_PARENT_LEN = 55, TRACE_STATE_MAX = 4096 };

struct trace {
    char id[TRACE_ID_LEN];     /* lower-case hexadecimal, not all zeroes */
    char span[TRACE_SPAN_LEN]; /* likewise: who called */
    uint8_t flags;
    str state; /* tracestate as it came, several fields joined; empty: none, or malformed */
};

/* A traceparent of version 00, or what a later version has in common with it. */
NODISCARD bool trace_parse(str traceparent, struct trace *ret);
/* Whether a tracestate has the form it must have to be passed on. */
NODISCARD bool trace_state_valid(str state);

/* What the request says; false when it says nothing, or nothing valid. The state is in the arena
 * or the request. */
NODISCARD bool trace_of_request(const struct request *req, struct arena *a, struct trace *ret);
/* A new trace, not sampled. */
void trace_new(struct trace *ret);
/* traceparent for a request of our own within the trace, with a fresh span; no NUL. */
str trace_child(const struct trace *t, char out[TRACE_PARENT_LEN]);
