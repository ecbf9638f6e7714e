#include "http/h1_parse.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* However the bytes arrive, the verdict and what is left over are the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct h1_chunked whole = {0}, pieces = {0};
    str rest = str_make(data, n), out;
    enum err e = OK, f = OK;
    while (rest.n > 0 && !whole.done && !(e = h1_chunked_next(&whole, &rest, &out)))
        continue;
    size_t used = 0;
    while (used < n && !pieces.done && !f) {
        str byte = str_make(data + used++, 1);
        while (byte.n > 0 && !f)
            f = h1_chunked_next(&pieces, &byte, &out);
    }
    if (e != f || whole.total != pieces.total || whole.done != pieces.done)
        abort();
    if (!e && used != n - rest.n)
        abort();
    return 0;
}
