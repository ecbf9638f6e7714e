#include "http/request.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A decoded value is never longer than the query. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    ARENA_CLEANUP struct arena a = {0};
    struct request req = {.arena = &a, .query = str_make(data, n)};
    static const str keys[] = {STR_INIT("digest"), STR_INIT("a b"), STR_INIT("")};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        str value;
        for (size_t k = 0; k < 100 && request_query_nth(&req, keys[i], k, &value); k++)
            if (value.n > n)
                abort();
    }
    return 0;
}
