/* Slices: a pointer and a length, passed by value, never NUL-terminated by contract.
 *
 * Everything that is parsed in Berth is cut out of a larger buffer as a `str`; nothing is copied
 * until it must outlive that buffer. All functions here are pure and callable from any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define NODISCARD         __attribute__((warn_unused_result))
#define PRINTF(fmt, args) __attribute__((format(printf, fmt, args), nonnull(fmt)))

typedef struct {
    const char *p; /* may be NULL when n is 0 */
    size_t n;
} str;

/* A slice of a string literal: STR("abc"). */
#define STR(lit) ((str){"" lit, sizeof(lit) - 1})
/* The same for static initialisers. */
#define STR_INIT(lit)           \
    {                           \
        "" lit, sizeof(lit) - 1 \
    }
/* printf("%.*s", STR_ARG(s)) */
#define STR_ARG(s) (int)(s).n, ((s).p ? (s).p : "")

static inline str str_make(const void *p, size_t n)
{
    return (str){p, n};
}

/* Slice of a C string; NULL gives the empty slice. */
static inline str str_from(const char *z)
{
    return (str){z, z ? strlen(z) : 0};
}

static inline bool str_eq(str a, str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* Byte order: shorter first when one is the other's prefix. */
int str_cmp(str a, str b);

/* ASCII letters compare without case; other bytes exactly. */
bool str_eq_nocase(str a, str b);

bool str_starts(str s, str prefix);
bool str_ends(str s, str suffix);

/* First position of `c`, or s.n when absent. */
size_t str_find(str s, char c);
/* Last position of `c`, or s.n when absent. */
size_t str_rfind(str s, char c);
bool str_contains(str s, str needle);

static inline str str_skip(str s, size_t n)
{
    return n >= s.n ? (str){s.p + s.n, 0} : (str){s.p + n, s.n - n};
}

static inline str str_first(str s, size_t n)
{
    return (str){s.p, n < s.n ? n : s.n};
}

/* Splits at the first `c`: head before it, tail after it. False (and head = s, tail empty) when
 * there is none. head and tail may alias s. */
bool str_cut(str s, char c, str *head, str *tail);

/* Iterates over the parts of *rest between `c`s: takes the next part off, false at the end.
 * "a,,b" has three parts, "" has one (empty) when p is not NULL. */
bool str_next(str *rest, char c, str *part);

/* Without leading and trailing SP and HTAB. */
str str_trim(str s);

/* Decimal digits only, no sign, no space; false when empty, malformed or over the type. */
NODISCARD bool str_u64(str s, uint64_t *ret);

/* Equal in time that depends on the lengths only. For secrets. */
NODISCARD bool str_eq_secret(str a, str b);

/* Edit distance (insert, delete, replace, swap of neighbours), at most `max` + 1. Inputs longer
 * than 128 bytes count as far apart. Used to suggest near names. */
unsigned str_distance(str a, str b, unsigned max);
