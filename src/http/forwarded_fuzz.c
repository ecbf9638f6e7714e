#include "http/forwarded.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const str names[] = {STR_INIT("forwarded"), STR_INIT("x-forwarded-for"),
                                STR_INIT("x-forwarded-proto"), STR_INIT("x-forwarded-host")};
    struct cidr trusted;
    struct field fields[8];
    size_t field_n = 0;
    str rest = str_make(data, n), line;
    if (!cidr_parse(STR("10.0.0.0/8"), &trusted))
        abort();
    while (field_n < 8 && str_next(&rest, '\n', &line)) /* first byte chooses the field */
        fields[field_n++] = (struct field){names[line.n ? line.p[0] & 3 : 0], str_skip(line, 1)};
    struct forwarded f = {.client = trusted.base, .host = STR("h")};
    forwarded_resolve(&trusted, 1, fields, field_n, &f);
    if (f.client.family == 0 || f.host.n == 0)
        abort();
    return 0;
}
