/* Arenas: memory that belongs to a lifetime, not to a variable.
 *
 * A request, a configuration generation or a batch owns one arena; everything allocated from it
 * dies with arena_release or arena_reset. There is no free. An arena belongs to one thread at a
 * time. Allocation never returns NULL: what goes into an arena is bounded by the option table
 * (head, body, page sizes), and when the machine itself has no memory left the process aborts. */
#pragma once

#include "base/str.h"

#include <stdarg.h>

struct arena_block;

struct arena {
    struct arena_block *block; /* newest first */
    size_t used;               /* in the newest block */
    size_t total_bytes;        /* allocated from the system */
};

/* An empty arena is all zeroes: struct arena a = {0}. */

/* Frees every block. The arena is empty and usable again. */
void arena_release(struct arena *a);

/* Forgets all allocations but keeps the oldest block, so that reuse does not touch malloc. */
void arena_reset(struct arena *a);

/* `n` zeroed bytes aligned for any type. */
void *arena_alloc(struct arena *a, size_t n);

/* Array of `n` zeroed elements; aborts on overflow of the product. */
void *arena_array(struct arena *a, size_t n, size_t size);

#define ARENA_NEW(a, type)      ((type *)arena_alloc((a), sizeof(type)))
#define ARENA_ARRAY(a, n, type) ((type *)arena_array((a), (n), sizeof(type)))

/* Copy of the slice; the result also has a NUL after it. */
str arena_str(struct arena *a, str s);
/* The same as a C string. */
char *arena_cstr(struct arena *a, str s);
/* Formatted text; NUL-terminated. */
str arena_printf(struct arena *a, const char *fmt, ...) PRINTF(2, 3);
str arena_vprintf(struct arena *a, const char *fmt, va_list args) PRINTF(2, 0);

#define ARENA_CLEANUP __attribute__((cleanup(arena_release)))
