#include "conf/value.h"

#include <stdio.h>

struct unit {
    str name;
    uint64_t factor;
};

/* Largest first: formatting takes the first that divides. An empty name ends the table. */
static const struct unit count_units[] = {{STR_INIT(""), 1}};
static const struct unit size_units[] = {{STR_INIT("TiB"), 1ull << 40},
                                         {STR_INIT("GiB"), 1ull << 30},
                                         {STR_INIT("MiB"), 1ull << 20},
                                         {STR_INIT("KiB"), 1ull << 10},
                                         {STR_INIT("B"), 1},
                                         {STR_INIT(""), 0}};
static const struct unit duration_units[] = {{STR_INIT("d"), 86400000}, {STR_INIT("h"), 3600000},
                                             {STR_INIT("m"), 60000},    {STR_INIT("s"), 1000},
                                             {STR_INIT("ms"), 1},       {STR_INIT(""), 0}};

/* A text without unit meets the closing row: factor 1 for counts, else 0, which suits zero only. */
static const struct unit *unit_find(const struct unit *units, str name)
{
    for (;; units++) {
        if (str_eq(units->name, name))
            return units;
        if (units->name.n == 0)
            return NULL;
    }
}

static enum err parse(const struct unit *units, str s, uint64_t *ret)
{
    size_t digits = 0;
    while (digits < s.n && s.p[digits] >= '0' && s.p[digits] <= '9')
        digits++;
    const struct unit *unit = unit_find(units, str_skip(s, digits));
    if (digits == 0 || !unit)
        return ERR_SYNTAX;
    uint64_t v;
    if (!str_u64(str_first(s, digits), &v))
        return ERR_LIMIT;
    if (unit->factor == 0 && v != 0)
        return ERR_SYNTAX;
    if (__builtin_mul_overflow(v, unit->factor, &v) || v > INT64_MAX)
        return ERR_LIMIT;
    *ret = v;
    return OK;
}

static str format(const struct unit *unit, uint64_t v, char out[VALUE_TEXT_MAX])
{
    while (v % unit->factor != 0)
        unit++;
    int n = snprintf(out, VALUE_TEXT_MAX, "%llu%.*s", (unsigned long long)(v / unit->factor),
                     STR_ARG(unit->name));
    return str_make(out, (size_t)n);
}

enum err count_parse(str s, uint64_t *ret)
{
    return parse(count_units, s, ret);
}

enum err size_parse(str s, uint64_t *ret)
{
    return parse(size_units, s, ret);
}

enum err duration_parse(str s, uint64_t *ret_ms)
{
    return parse(duration_units, s, ret_ms);
}

str count_format(uint64_t v, char out[VALUE_TEXT_MAX])
{
    return format(count_units, v, out);
}

str size_format(uint64_t v, char out[VALUE_TEXT_MAX])
{
    return v ? format(size_units, v, out) : STR("0B");
}

str duration_format(uint64_t ms, char out[VALUE_TEXT_MAX])
{
    return ms ? format(duration_units, ms, out) : STR("0s");
}
