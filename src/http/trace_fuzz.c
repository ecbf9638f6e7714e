#include "http/trace.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* The first line is a traceparent, the second a tracestate. What was accepted goes on unchanged. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct trace t, again;
    char out[TRACE_PARENT_LEN];
    str parent, state;
    str_cut(str_make(data, n), '\n', &parent, &state);
    if (trace_parse(parent, &t) &&
        (!trace_parse(trace_child(&t, out), &again) || memcmp(t.id, again.id, sizeof t.id) != 0 ||
         memcmp(t.span, again.span, sizeof t.span) == 0 || (again.flags & ~3) != 0))
        abort();
    if (trace_state_valid(state) && (state.n == 0 || str_find(state, '\r') < state.n))
        abort();
    return 0;
}
