/* Growing byte buffer with a hard ceiling chosen at init.
 *
 * Overflow is sticky: appends past the ceiling are dropped and `full` is set, so a writer checks
 * once at the end. Memory is the heap's; buf_release frees it. One thread at a time. */
#pragma once

#include "base/str.h"

struct buf {
    char *p;
    size_t n;     /* bytes used */
    size_t cap;   /* bytes allocated */
    size_t limit; /* never grows past this */
    bool full;    /* an append did not fit */
};

#define BUF_INIT(limit_bytes)  \
    {                          \
        .limit = (limit_bytes) \
    }
#define BUF_CLEANUP __attribute__((cleanup(buf_release)))

void buf_release(struct buf *b);
static inline void buf_clear(struct buf *b)
{
    b->n = 0;
    b->full = false;
}
static inline str buf_str(const struct buf *b)
{
    return (str){b->p, b->n};
}

/* Room for `n` more bytes at the end, or NULL (and full) when that passes the ceiling. Bytes
 * become part of the buffer with buf_added. */
char *buf_room(struct buf *b, size_t n);
static inline void buf_added(struct buf *b, size_t n)
{
    b->n += n;
}

/* Each returns false when the buffer is full (also when it was full before). */
bool buf_add(struct buf *b, str s);
bool buf_byte(struct buf *b, char c);
bool buf_u64(struct buf *b, uint64_t v);
bool buf_printf(struct buf *b, const char *fmt, ...) PRINTF(2, 3);
