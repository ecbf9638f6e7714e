#include "base/clock.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* What was parsed survives being written and parsed again. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char text[CLOCK_RFC3339_LEN];
    int64_t us, again;
    if (clock_rfc3339_parse(str_make(data, n), &us) &&
        (!clock_rfc3339_parse(clock_rfc3339(us, text), &again) || us != again))
        abort();
    return 0;
}
