#include "base/arena.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

/* The first block of a request holds a parsed head and a small answer; later blocks double up to
 * BLOCK_MAX, and what is larger than that gets a block of its own. */
enum { BLOCK_FIRST = 4096, BLOCK_MAX = 64 * 1024 };

struct arena_block {
    struct arena_block *older;
    size_t cap;
    max_align_t data[];
};

void arena_release(struct arena *a)
{
    for (struct arena_block *b = a->block; b;) {
        struct arena_block *older = b->older;
        free(b);
        b = older;
    }
    *a = (struct arena){0};
}

void arena_reset(struct arena *a)
{
    struct arena_block *b = a->block;
    while (b && b->older) {
        struct arena_block *older = b->older;
        a->total_bytes -= b->cap;
        free(b);
        b = older;
    }
    a->block = b;
    a->used = 0;
}

static void block_add(struct arena *a, size_t need)
{
    size_t cap = a->block ? a->block->cap * 2 : BLOCK_FIRST;
    if (cap > BLOCK_MAX)
        cap = BLOCK_MAX;
    if (cap < need)
        cap = need;
    struct arena_block *b = malloc(sizeof *b + cap);
    if (!b)
        abort();
    b->older = a->block;
    b->cap = cap;
    a->block = b;
    a->used = 0;
    a->total_bytes += cap;
}

void *arena_alloc(struct arena *a, size_t n)
{
    const size_t align = _Alignof(max_align_t);
    if (n > SIZE_MAX - align)
        abort();
    n = (n + align - 1) & ~(align - 1);
    if (!a->block || n > a->block->cap - a->used)
        block_add(a, n);
    void *p = (char *)a->block->data + a->used;
    a->used += n;
    return memset(p, 0, n);
}

void *arena_array(struct arena *a, size_t n, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes))
        abort();
    return arena_alloc(a, bytes);
}

char *arena_cstr(struct arena *a, str s)
{
    char *p = arena_alloc(a, s.n + 1);
    if (s.n)
        memcpy(p, s.p, s.n);
    return p;
}

str arena_str(struct arena *a, str s)
{
    return str_make(arena_cstr(a, s), s.n);
}

str arena_vprintf(struct arena *a, const char *fmt, va_list args)
{
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    if (n < 0)
        abort();
    char *p = arena_alloc(a, (size_t)n + 1);
    vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return str_make(p, (size_t)n);
}

str arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    str s = arena_vprintf(a, fmt, args);
    va_end(args);
    return s;
}
