#include "http/h2_head.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Each line is a field, its name before the first tab. A head that is accepted is within its
 * limits, and has what every request has. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct head_limits limits = {
        .head_bytes_max = 4096, .target_bytes_max = 512, .fields_max = 20};
    ARENA_CLEANUP struct arena a = {0};
    struct error why = {0};
    struct head head;
    struct h2_head h;
    h2_head_init(&h, &limits, &a, &why);
    bool harmless = true;
    str rest = str_make((const char *)data, n), line, name, value;
    while (harmless && str_next(&rest, '\n', &line)) {
        str_cut(line, '\t', &name, &value);
        harmless = h2_head_add(&h, name, value);
    }
    enum err e = h2_head_finish(&h, n % 2 == 0, &head);
    if (e ? why.code != e || why.message.n == 0
          : head.field_n > 20 || head.target.n > 512 || head.path.p[0] != '/' || head.host.n == 0 ||
                h.bytes > 4096 || !harmless)
        abort();
    return 0;
}
