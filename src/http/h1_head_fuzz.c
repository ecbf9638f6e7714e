#include "http/h1_parse.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A head that is accepted is within its limits, and its body is known by one length only. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct head_limits limits = {
        .head_bytes_max = 4096, .target_bytes_max = 512, .fields_max = 20};
    ARENA_CLEANUP struct arena a = {0};
    str bytes = str_make(data, n);
    size_t scanned = 0, length = h1_head_length(bytes, &scanned);
    struct head head;
    struct error why = {0};
    enum err e = h1_head_parse(length ? str_first(bytes, length) : bytes, &limits, &a, &head, &why);
    if (e && (why.code != e || why.message.n == 0))
        abort();
    if (!e &&
        (head.field_n > 20 || head.target.n > 512 || head.path.p[0] != '/' ||
         head.chunked != (head.body_bytes == BODY_UNKNOWN) || (!head.http_1_0 && head.host.n == 0)))
        abort();
    return 0;
}
