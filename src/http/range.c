#include "http/range.h"

#include "base/metrics.h"

/* Reads digits off the front of *s, saturating: a position past 2^64 is past any content. False
 * when there are none. */
static bool take_number(str *s, uint64_t *ret)
{
    size_t i = 0;
    uint64_t v = 0;
    for (; i < s->n && s->p[i] >= '0' && s->p[i] <= '9'; i++)
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, s->p[i] - '0', &v))
            v = UINT64_MAX;
    *s = str_skip(*s, i);
    *ret = v;
    return i > 0;
}

enum spec { SPEC_MALFORMED, SPEC_REVERSED, SPEC_OUTSIDE, SPEC_INSIDE };

/* One int-range or suffix-range against `size`. */
static enum spec parse_spec(str s, uint64_t size, struct range *ret)
{
    uint64_t first, last;
    if (!take_number(&s, &first)) { /* -n: the last n bytes */
        if (s.n == 0 || s.p[0] != '-')
            return SPEC_MALFORMED;
        s = str_skip(s, 1);
        if (!take_number(&s, &last) || s.n > 0)
            return SPEC_MALFORMED;
        if (last == 0 || size == 0)
            return SPEC_OUTSIDE;
        ret->n = last < size ? last : size;
        ret->first = size - ret->n;
        return SPEC_INSIDE;
    }
    if (s.n == 0 || s.p[0] != '-')
        return SPEC_MALFORMED;
    s = str_skip(s, 1);
    if (!take_number(&s, &last))
        last = UINT64_MAX;
    if (s.n > 0)
        return SPEC_MALFORMED;
    if (last < first)
        return SPEC_REVERSED;
    if (first >= size)
        return SPEC_OUTSIDE;
    ret->first = first;
    ret->n = (last < size ? last + 1 : size) - first;
    return SPEC_INSIDE;
}

static size_t count_commas(str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += s.p[i] == ',';
    return n;
}

enum range_verdict range_parse(struct arena *a, str header, uint64_t size, unsigned parts_max,
                               struct range **ranges, size_t *n)
{
    str unit, rest, part;
    if (!str_cut(header, '=', &unit, &rest) || !str_eq_nocase(unit, STR("bytes")))
        return RANGE_NONE;
    size_t room = count_commas(rest) + 1;
    struct range *out = ARENA_ARRAY(a, room < parts_max ? room : parts_max, struct range);
    size_t asked = 0, inside = 0, reversed = 0;
    uint64_t sum = 0;
    while (str_next(&rest, ',', &part)) {
        part = str_trim(part);
        if (part.n == 0)
            continue; /* RFC 9110 5.6.1.2: empty list elements are ignored */
        struct range r;
        enum spec spec = parse_spec(part, size, &r);
        if (spec != SPEC_MALFORMED && ++asked > parts_max) {
            metric_limit(LIMIT_RANGES);
            return RANGE_NONE;
        }
        if (spec == SPEC_MALFORMED)
            return RANGE_NONE;
        reversed += spec == SPEC_REVERSED;
        if (spec == SPEC_INSIDE) {
            out[inside++] = r;
            if (__builtin_add_overflow(sum, r.n, &sum))
                return RANGE_NONE;
        }
    }
    if (asked == 0 || (asked > 1 && (reversed > 0 || sum > size)))
        return RANGE_NONE;
    if (inside == 0)
        return RANGE_UNSATISFIABLE;
    *ranges = out;
    *n = inside;
    return RANGE_SOME;
}
