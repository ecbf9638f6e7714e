#include "api/metrics.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* What does not name it does not get it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const str name = STR_INIT("application/openmetrics-text");
    str accept = str_make(data, n);
    bool named = false;
    for (size_t i = 0; i + name.n <= n; i++)
        named |= str_eq_nocase(str_make(accept.p + i, name.n), name);
    if (metrics_accept_open(accept) && !named)
        abort();
    return 0;
}
