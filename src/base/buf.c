#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void buf_release(struct buf *b)
{
    free(b->p);
    *b = (struct buf){.limit = b->limit};
}

char *buf_room(struct buf *b, size_t n)
{
    if (b->full || n > b->limit || b->n > b->limit - n) {
        b->full = true;
        return NULL;
    }
    if (!b->p || n > b->cap - b->n) {
        size_t cap = b->cap ? b->cap : 256;
        while (cap < b->n + n)
            cap *= 2;
        if (cap > b->limit)
            cap = b->limit;
        char *p = realloc(b->p, cap);
        if (!p)
            abort();
        b->p = p;
        b->cap = cap;
    }
    return b->p + b->n;
}

bool buf_add(struct buf *b, str s)
{
    if (s.n == 0)
        return !b->full;
    char *p = buf_room(b, s.n);
    if (!p)
        return false;
    memcpy(p, s.p, s.n);
    b->n += s.n;
    return true;
}

bool buf_byte(struct buf *b, char c)
{
    return buf_add(b, str_make(&c, 1));
}

bool buf_u64(struct buf *b, uint64_t v)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    return buf_add(b, str_make(digits + at, sizeof digits - at));
}

bool buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *p = n < 0 ? NULL : buf_room(b, (size_t)n + 1);
    if (p) {
        vsnprintf(p, (size_t)n + 1, fmt, again);
        b->n += (size_t)n;
    }
    va_end(again);
    return p != NULL;
}
