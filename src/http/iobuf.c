#include "http/iobuf.h"

#include <stdlib.h>
#include <sys/mman.h>

enum {
    HEADER_BYTES = 4096,   /* struct iobuf has a page of its own in front of the data */
    CAPACITY_FIRST = 4096, /* class 0; each further one is four times as large */
    FREE_BYTES_MAX = 8 * 1024 * 1024,
    TRIM_MS = 1000,
};

_Static_assert(sizeof(struct iobuf) <= HEADER_BYTES, "the data begins on a page");

/* Budget. */

void budget_init(struct budget *b, uint64_t total_bytes)
{
    *b = (struct budget){.small_bytes_max = (size_t)(total_bytes / 4)};
    b->stream_bytes_max = (size_t)total_bytes - b->small_bytes_max;
    b->last = &b->first;
    pthread_mutex_init(&b->lock, NULL);
}

void budget_release(struct budget *b)
{
    pthread_mutex_destroy(&b->lock);
}

bool budget_short(struct budget *b)
{
    pthread_mutex_lock(&b->lock);
    bool yes = b->first || b->stream_bytes > b->stream_bytes_max / 4 * 3;
    pthread_mutex_unlock(&b->lock);
    return yes;
}

uint64_t budget_used(struct budget *b)
{
    pthread_mutex_lock(&b->lock);
    uint64_t bytes = b->stream_bytes + b->small_bytes;
    pthread_mutex_unlock(&b->lock);
    return bytes;
}

static bool fits(const struct budget *b, size_t bytes)
{
    return bytes <= b->stream_bytes_max - b->stream_bytes;
}

bool budget_take(struct budget *b, struct budget_wait *w)
{
    pthread_mutex_lock(&b->lock);
    bool taken = !b->first && fits(b, w->bytes);
    if (taken) {
        b->stream_bytes += w->bytes;
    } else {
        w->next = NULL;
        *b->last = w;
        b->last = &w->next;
    }
    pthread_mutex_unlock(&b->lock);
    return taken;
}

void budget_give(struct budget *b, size_t bytes)
{
    pthread_mutex_lock(&b->lock);
    b->stream_bytes -= bytes;
    for (struct budget_wait *w; (w = b->first) && fits(b, w->bytes);) {
        b->stream_bytes += w->bytes;
        if (!(b->first = w->next))
            b->last = &b->first;
        reactor_post(w->reactor, &w->granted);
    }
    pthread_mutex_unlock(&b->lock);
}

bool budget_take_small(struct budget *b, size_t own, size_t more)
{
    pthread_mutex_lock(&b->lock);
    bool taken = b->small_bytes - own < b->small_bytes_max;
    if (taken)
        b->small_bytes += more;
    pthread_mutex_unlock(&b->lock);
    return taken;
}

void budget_give_small(struct budget *b, size_t bytes)
{
    if (bytes == 0)
        return;
    pthread_mutex_lock(&b->lock);
    b->small_bytes -= bytes;
    pthread_mutex_unlock(&b->lock);
}

/* Buffers. They are mapped, not allocated, so that what is freed leaves the process at once. */

unsigned iobuf_class(uint64_t n)
{
    unsigned class = 0;
    while (class < IOBUF_CLASSES - 1 && iobuf_class_capacity(class) < n)
        class ++;
    return class;
}

size_t iobuf_class_capacity(unsigned class)
{
    return (size_t)CAPACITY_FIRST << 2 * class;
}

size_t iobuf_class_charge(unsigned class)
{
    return iobuf_class_capacity(class) + HEADER_BYTES;
}

static struct iobuf *map_iobuf(unsigned class)
{
    void *p = mmap(NULL, iobuf_class_charge(class), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        abort();
    return p;
}

static void unmap_iobuf(struct iobuf *b)
{
    munmap(b, b->cap + HEADER_BYTES);
}

static struct iobuf *pop_free(struct iobuf_pool *p, unsigned class)
{
    struct iobuf *b = p->free[class];
    if (!b)
        return NULL;
    p->free[class] = b->next;
    p->free_bytes -= iobuf_class_charge(class);
    if (--p->free_n[class] < p->unused_n[class])
        p->unused_n[class] = p->free_n[class];
    return b;
}

static void trim(struct timer *t)
{
    struct iobuf_pool *p = (struct iobuf_pool *)((char *)t - offsetof(struct iobuf_pool, trim));
    for (unsigned class = 0; class < IOBUF_CLASSES; class ++) {
        for (unsigned n = p->unused_n[class]; n > 0; n--)
            unmap_iobuf(pop_free(p, class));
        p->unused_n[class] = p->free_n[class];
    }
    if (p->free_bytes > 0)
        reactor_timer_set(p->reactor, t, TRIM_MS);
}

void iobuf_pool_init(struct iobuf_pool *p, struct reactor *r, void (*on_home)(struct iobuf *b))
{
    *p = (struct iobuf_pool){.reactor = r, .on_home = on_home, .trim.on_expire = trim};
}

void iobuf_pool_release(struct iobuf_pool *p)
{
    reactor_timer_cancel(p->reactor, &p->trim);
    for (unsigned class = 0; class < IOBUF_CLASSES; class ++)
        for (struct iobuf *b; (b = pop_free(p, class));)
            unmap_iobuf(b);
}

static void come_home(struct task *t)
{
    struct iobuf *b = (struct iobuf *)((char *)t - offsetof(struct iobuf, home));
    b->pool->on_home(b);
}

struct iobuf *iobuf_get(struct iobuf_pool *p, unsigned class)
{
    struct iobuf *b = pop_free(p, class);
    if (!b)
        b = map_iobuf(class);
    *b = (struct iobuf){.p = (char *)b + HEADER_BYTES,
                        .cap = iobuf_class_capacity(class),
                        .home.run = come_home,
                        .pool = p};
    atomic_init(&b->refs, 1);
    return b;
}

size_t iobuf_put(struct iobuf_pool *p, struct iobuf *b)
{
    unsigned class = iobuf_class(b->cap);
    size_t charge = iobuf_class_charge(class);
    if (p->free_bytes + charge > FREE_BYTES_MAX) {
        unmap_iobuf(b);
        return charge;
    }
    b->next = p->free[class];
    p->free[class] = b;
    p->free_n[class]++;
    p->free_bytes += charge;
    if (!p->trim.link)
        reactor_timer_set(p->reactor, &p->trim, TRIM_MS);
    return charge;
}

void iobuf_ref(struct iobuf *b)
{
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
}

void iobuf_unref(struct iobuf *b)
{
    if (atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1)
        reactor_post(b->pool->reactor, &b->home);
}
