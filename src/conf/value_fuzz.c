#include "conf/address.h"
#include "conf/value.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void round_trip(str s, enum err (*parse)(str, uint64_t *), str (*format)(uint64_t, char *))
{
    char text[VALUE_TEXT_MAX];
    uint64_t v, again;
    if (!parse(s, &v) && (parse(format(v, text), &again) || again != v))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    str s = str_make(data, n);
    round_trip(s, count_parse, count_format);
    round_trip(s, size_parse, size_format);
    round_trip(s, duration_parse, duration_format);
    if (address_is_listen(s) && str_find(s, ':') == s.n)
        abort();
    if (address_is_network(s) && address_is_url(s))
        abort();
    return 0;
}
