#include "api/content_range.h"

bool content_range_parse(str header, uint64_t *first, uint64_t *last)
{
    str range, total, from, to;
    uint64_t a, b;
    if (str_starts(header, STR("bytes ")) || str_starts(header, STR("bytes=")))
        header = str_skip(header, 6);
    str_cut(header, '/', &range, &total);
    if (!str_cut(range, '-', &from, &to) || !str_u64(from, &a) || !str_u64(to, &b))
        return false;
    if (a > INT64_MAX || b > INT64_MAX - 1)
        return false;
    *first = a;
    *last = b;
    return true;
}
