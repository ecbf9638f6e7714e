#include "http/range.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* The first byte gives the size; whatever is served lies inside it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    ARENA_CLEANUP struct arena a = {0};
    uint64_t size = n > 0 ? data[0] : 0, sum = 0;
    str header = n > 0 ? str_make(data + 1, n - 1) : STR("");
    struct range *ranges;
    size_t count;
    if (range_parse(&a, header, size, 8, &ranges, &count) != RANGE_SOME)
        return 0;
    for (size_t i = 0; i < count; i++) {
        if (ranges[i].n == 0 || ranges[i].first >= size || ranges[i].n > size - ranges[i].first)
            abort();
        sum += ranges[i].n;
    }
    if (count == 0 || count > 8 || (count > 1 && sum > size))
        abort();
    return 0;
}
