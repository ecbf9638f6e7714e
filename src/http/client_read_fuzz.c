#include "http/client_read.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* However the bytes arrive, verdict, status and body are the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    ARENA_CLEANUP struct arena a = {0};
    struct client_reader whole = {.arena = &a, .body = BUF_INIT(4096)}, pieces = whole;
    enum err e = client_read(&whole, str_make(data, n)), f = OK;
    for (size_t i = 0; i < n && !f; i++)
        f = client_read(&pieces, str_make(data + i, 1));
    if (e != f ||
        (!e && (whole.step != pieces.step || whole.answer.status != pieces.answer.status ||
                !str_eq(whole.answer.body, pieces.answer.body))))
        abort();
    buf_release(&whole.body);
    buf_release(&pieces.body);
    return 0;
}
