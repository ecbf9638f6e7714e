#include "base/str.h"

static unsigned char lower(unsigned char c)
{
    return c >= 'A' && c <= 'Z' ? (unsigned char)(c | 0x20) : c;
}

int str_cmp(str a, str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n ? memcmp(a.p, b.p, n) : 0;
    if (order)
        return order;
    return (a.n > b.n) - (a.n < b.n);
}

bool str_eq_nocase(str a, str b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++) {
        if (lower((unsigned char)a.p[i]) != lower((unsigned char)b.p[i]))
            return false;
    }
    return true;
}

bool str_starts(str s, str prefix)
{
    return s.n >= prefix.n && str_eq(str_first(s, prefix.n), prefix);
}

bool str_ends(str s, str suffix)
{
    return s.n >= suffix.n && str_eq(str_skip(s, s.n - suffix.n), suffix);
}

size_t str_find(str s, char c)
{
    const char *at = s.n ? memchr(s.p, c, s.n) : NULL;
    return at ? (size_t)(at - s.p) : s.n;
}

size_t str_rfind(str s, char c)
{
    const char *at = s.n ? memrchr(s.p, c, s.n) : NULL;
    return at ? (size_t)(at - s.p) : s.n;
}

bool str_contains(str s, str needle)
{
    return needle.n == 0 || (s.n && memmem(s.p, s.n, needle.p, needle.n));
}

bool str_cut(str s, char c, str *head, str *tail)
{
    size_t at = str_find(s, c);
    bool found = at < s.n;
    *head = str_first(s, at);
    *tail = found ? str_skip(s, at + 1) : str_make(NULL, 0);
    return found;
}

bool str_next(str *rest, char c, str *part)
{
    if (!rest->p)
        return false;
    str tail;
    bool more = str_cut(*rest, c, part, &tail);
    *rest = more ? tail : str_make(NULL, 0);
    return true;
}

str str_trim(str s)
{
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = str_skip(s, 1);
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

bool str_u64(str s, uint64_t *ret)
{
    uint64_t v = 0;
    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        if (__builtin_mul_overflow(v, 10u, &v) ||
            __builtin_add_overflow(v, (uint64_t)(s.p[i] - '0'), &v))
            return false;
    }
    *ret = v;
    return true;
}

bool str_eq_secret(str a, str b)
{
    if (a.n != b.n)
        return false;
    volatile unsigned char difference = 0;
    for (size_t i = 0; i < a.n; i++)
        difference |= (unsigned char)(a.p[i] ^ b.p[i]);
    return difference == 0;
}

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    unsigned m = a < b ? a : b;
    return m < c ? m : c;
}

/* Only pairs of positions at most `max` apart can matter, and two rows beyond it end it. */
unsigned str_distance(str a, str b, unsigned max)
{
    enum { LONGEST = 128 };
    unsigned rows[3][LONGEST + 2];
    size_t apart = a.n > b.n ? a.n - b.n : b.n - a.n;
    if (a.n > LONGEST || b.n > LONGEST || apart > max)
        return max + 1;
    unsigned *before = rows[0], *last = rows[1], *row = rows[2], last_least = 0;
    for (unsigned j = 0; j <= b.n + 1; j++)
        last[j] = j;
    for (unsigned i = 1; i <= a.n; i++) {
        unsigned first = i > max ? i - max : 1, least = first == 1 ? i : max + 1;
        row[first - 1] = least;
        for (unsigned j = first; j <= b.n && j <= i + max; j++) {
            bool same = a.p[i - 1] == b.p[j - 1];
            row[j] = min3(last[j] + 1, row[j - 1] + 1, last[j - 1] + !same);
            bool swapped = i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1];
            if (swapped && before[j - 2] + 1 < row[j])
                row[j] = before[j - 2] + 1;
            row[j + 1] = max + 1; /* for the next row, if this one ends here */
            least = row[j] < least ? row[j] : least;
        }
        if (least > max && last_least > max)
            return max + 1;
        last_least = least;
        unsigned *spare = before;
        before = last;
        last = row;
        row = spare;
    }
    return last[b.n] > max ? max + 1 : last[b.n];
}
