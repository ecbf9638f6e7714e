/* Receive buffers and the budget they are drawn from. Only http/ uses this; sinks see body.h.
 *
 * Why it cannot deadlock and why nobody starves:
 *
 * - A stream's buffer is taken only when its socket is about to be read, is filled with what is
 *   there, and is pushed to the sink at once, or put back when nothing was there. HTTP/2 fills it
 *   further while the sink has others of the same body, and pushes it when they are home. So a
 *   buffer that is out waits for a sink whose workers are busy, never for a client, and it always
 *   comes home.
 * - Therefore everyone who waits for budget gets it, without any reserve: waiters stand in one
 *   queue for all reactors, first come first served, and nobody passes it while it is not empty.
 * The largest buffer is smaller than the least budget.
 * - Small bodies and heads, which do wait for clients, are counted apart (a quarter of the whole):
 *   slow clients cannot take the streams' memory. They never wait for budget: what does not fit is
 *   refused with ERR_OVERLOADED. A body may always grow while all others together hold less than
 *   the share, so one body of any allowed size gets through even when the share is smaller.
 *
 * Each reactor keeps a few free buffers, which are outside the budget but bounded, and gives back
 * to the kernel what one second did not need. */
#pragma once

#include "http/body.h"

/* Shared by all reactors. */
struct budget {
    pthread_mutex_t lock; /* guards everything below */
    size_t stream_bytes, stream_bytes_max;
    size_t small_bytes, small_bytes_max;
    struct budget_wait *first, **last;
};

void budget_init(struct budget *b, uint64_t total_bytes);
void budget_release(struct budget *b);
/* Any thread: someone waits, or most is taken. */
bool budget_short(struct budget *b);
/* Any thread: bytes that are taken. */
uint64_t budget_used(struct budget *b);

/* Someone who waits for stream budget; embedded in its owner. */
struct budget_wait {
    struct budget_wait *next;
    size_t bytes;
    struct reactor *reactor;
    struct task granted; /* run on `reactor` when the bytes are the waiter's */
};

/* Takes w->bytes; false: queued, and w->granted will run (always; there is no way to leave). */
NODISCARD bool budget_take(struct budget *b, struct budget_wait *w);
void budget_give(struct budget *b, size_t bytes);

/* Small bodies and heads: who holds `own` wants `more`. */
NODISCARD bool budget_take_small(struct budget *b, size_t own, size_t more);
void budget_give_small(struct budget *b, size_t bytes);

/* Buffers of one reactor; its thread only, but for the references (body.h). */
enum { IOBUF_CLASSES = 5 }; /* 4, 16, 64 and 256 KiB, 1 MiB */

struct iobuf_pool {
    struct reactor *reactor;
    void (*on_home)(struct iobuf *b); /* the last reference is gone: take it back with iobuf_put */
    struct iobuf *free[IOBUF_CLASSES];
    unsigned free_n[IOBUF_CLASSES];
    unsigned unused_n[IOBUF_CLASSES]; /* least free_n since the last trim */
    size_t free_bytes;
    struct timer trim;
};

void iobuf_pool_init(struct iobuf_pool *p, struct reactor *r, void (*on_home)(struct iobuf *b));
void iobuf_pool_release(struct iobuf_pool *p);

/* The smallest class that holds n bytes, else the largest. */
unsigned iobuf_class(uint64_t n);
size_t iobuf_class_capacity(unsigned class);
/* What a buffer of the class counts in the budget: all memory it takes. */
size_t iobuf_class_charge(unsigned class);

/* An empty buffer with one reference. The charge must have been taken. Aborts when the machine has
 * no memory. */
struct iobuf *iobuf_get(struct iobuf_pool *p, unsigned class);
/* Back into the pool; no reference is left, or only the one iobuf_get gave. Returns the charge,
 * which the caller gives back to the budget. */
size_t iobuf_put(struct iobuf_pool *p, struct iobuf *b);
