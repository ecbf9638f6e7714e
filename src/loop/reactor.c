/* The loop: one turn waits for descriptors, then runs their callbacks, the mailbox and the timers.
 *
 * Mailbox: a lock-free stack that many threads push to and the reactor takes whole and reverses.
 * Before it sleeps the reactor raises `asleep` and then looks at the mailbox once more; a poster
 * pushes first and then lowers `asleep`. Whichever comes second sees the other's write, so no
 * message is slept over, and at most one poster pays for the wake-up.
 *
 * Timers: a hashed wheel of SLOTS ticks. A timer hangs in the slot its due tick falls into and is
 * met once per revolution until it is due. A bitmap of occupied slots tells how long to sleep. */
#include "loop/reactor.h"

#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { TICK_MS = 16, SLOTS = 512, WORD_BITS = 64, EVENTS_MAX = 128 };

struct reactor {
    int epoll_fd;
    int wake_fd;
    unsigned index;
    atomic_ulong thread; /* pthread_t of the running thread, or 0 */
    atomic_bool stopping;
    atomic_bool asleep;  /* in, or about to enter, a wait that a post must end */
    atomic_uint posting; /* threads inside reactor_post, which what they post may outlive */
    _Atomic(struct task *) mailbox;

    uint64_t now_ms;
    uint64_t tick; /* the last one whose timers ran */
    struct timer *wheel[SLOTS];
    uint64_t occupied[SLOTS / WORD_BITS];
    struct timer *expired;

    struct epoll_event events[EVENTS_MAX];
    int event_i, event_n; /* events[event_i .. event_n) are fetched, not yet delivered */
};

enum err reactor_new(struct reactor **ret, unsigned index)
{
    struct reactor *r = calloc(1, sizeof *r);
    if (!r)
        abort();
    r->index = index;
    r->now_ms = clock_mono_ms();
    r->tick = r->now_ms / TICK_MS;
    r->wake_fd = -1;
    r->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (r->epoll_fd >= 0)
        r->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    /* Edge-triggered: every write to the eventfd is one event, so it need not be read. */
    struct epoll_event wake = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};
    if (r->wake_fd < 0 || epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, r->wake_fd, &wake) < 0) {
        enum err e = err_from_errno(errno);
        reactor_free(r);
        return e;
    }
    *ret = r;
    return OK;
}

void reactor_free(struct reactor *r)
{
    if (!r)
        return;
    /* The last message may have led here before its poster was through. */
    while (atomic_load_explicit(&r->posting, memory_order_acquire) > 0)
        sched_yield();
    if (r->wake_fd >= 0)
        close(r->wake_fd);
    if (r->epoll_fd >= 0)
        close(r->epoll_fd);
    free(r);
}

unsigned reactor_index(const struct reactor *r)
{
    return r->index;
}

bool reactor_is_current(const struct reactor *r)
{
    return atomic_load_explicit(&r->thread, memory_order_relaxed) == (unsigned long)pthread_self();
}

uint64_t reactor_now_ms(const struct reactor *r)
{
    return r->now_ms;
}

/* Descriptors. */

enum err reactor_watch(struct reactor *r, struct watch *w, uint32_t events)
{
    if (events == 0)
        reactor_unwatch(r, w);
    if (events == w->events)
        return OK;
    struct epoll_event event = {.events = events, .data.ptr = w};
    if (epoll_ctl(r->epoll_fd, w->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, w->fd, &event) < 0)
        return err_from_errno(errno);
    w->events = events;
    return OK;
}

void reactor_unwatch(struct reactor *r, struct watch *w)
{
    if (w->events == 0)
        return;
    (void)epoll_ctl(r->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
    w->events = 0;
    for (int i = r->event_i; i < r->event_n; i++)
        if (r->events[i].data.ptr == w)
            r->events[i].data.ptr = NULL;
}

static void deliver_events(struct reactor *r)
{
    while (r->event_i < r->event_n) {
        const struct epoll_event *event = &r->events[r->event_i++];
        struct watch *w = event->data.ptr;
        if (w) /* else the wake-up, or removed meanwhile */
            w->on_ready(w, event->events);
    }
}

/* Timers. */

static unsigned slot_of(const struct timer *t)
{
    return (unsigned)(t->due_ms / TICK_MS % SLOTS);
}

static void timer_link(struct timer **list, struct timer *t)
{
    t->next = *list;
    t->link = list;
    if (t->next)
        t->next->link = &t->next;
    *list = t;
}

static void timer_unlink(struct timer *t)
{
    *t->link = t->next;
    if (t->next)
        t->next->link = t->link;
    t->next = NULL;
    t->link = NULL;
}

void reactor_timer_cancel(struct reactor *r, struct timer *t)
{
    if (!t->link)
        return;
    timer_unlink(t);
    unsigned slot = slot_of(t);
    if (!r->wheel[slot])
        r->occupied[slot / WORD_BITS] &= ~(1ull << slot % WORD_BITS);
}

void reactor_timer_set(struct reactor *r, struct timer *t, uint64_t delay_ms)
{
    reactor_timer_cancel(r, t);
    uint64_t tick = (r->now_ms + delay_ms + TICK_MS - 1) / TICK_MS;
    if (tick <= r->tick) /* that slot has had its turn */
        tick = r->tick + 1;
    t->due_ms = tick * TICK_MS;
    unsigned slot = slot_of(t);
    timer_link(&r->wheel[slot], t);
    r->occupied[slot / WORD_BITS] |= 1ull << slot % WORD_BITS;
}

/* Moves what is due in a slot to `expired`, then runs it from there: callbacks may set and cancel
 * any timer, also those that are about to run. */
static void run_slot(struct reactor *r, unsigned slot)
{
    for (struct timer *t = r->wheel[slot], *next; t; t = next) {
        next = t->next;
        if (t->due_ms <= r->now_ms) {
            timer_unlink(t);
            timer_link(&r->expired, t);
        }
    }
    if (!r->wheel[slot])
        r->occupied[slot / WORD_BITS] &= ~(1ull << slot % WORD_BITS);
    while (r->expired) {
        struct timer *t = r->expired;
        timer_unlink(t);
        t->on_expire(t);
    }
}

static void run_timers(struct reactor *r)
{
    uint64_t now_tick = r->now_ms / TICK_MS;
    if (now_tick - r->tick > SLOTS) /* slept over a revolution: each slot once is enough */
        r->tick = now_tick - SLOTS;
    while (r->tick < now_tick) {
        unsigned slot = (unsigned)(++r->tick % SLOTS);
        if (r->wheel[slot])
            run_slot(r, slot);
    }
}

/* Milliseconds to the next tick that has timers, or -1 when none are set. */
static int sleep_ms(const struct reactor *r)
{
    for (uint64_t ahead = 1; ahead <= SLOTS;) {
        unsigned slot = (unsigned)((r->tick + ahead) % SLOTS);
        uint64_t word = r->occupied[slot / WORD_BITS] >> slot % WORD_BITS;
        if (word) {
            uint64_t due_ms = (r->tick + ahead + (unsigned)__builtin_ctzll(word)) * TICK_MS;
            return due_ms > r->now_ms ? (int)(due_ms - r->now_ms) : 0;
        }
        ahead += WORD_BITS - slot % WORD_BITS;
    }
    return -1;
}

/* Mailbox. */

static void wake(struct reactor *r)
{
    const uint64_t one = 1;
    ssize_t n;
    do {
        n = write(r->wake_fd, &one, sizeof one);
    } while (n < 0 && errno == EINTR);
}

void reactor_post(struct reactor *r, struct task *t)
{
    atomic_fetch_add_explicit(&r->posting, 1, memory_order_relaxed);
    struct task *head = atomic_load_explicit(&r->mailbox, memory_order_relaxed);
    do {
        t->next = head;
    } while (!atomic_compare_exchange_weak(&r->mailbox, &head, t));
    if (atomic_load(&r->asleep) && atomic_exchange(&r->asleep, false))
        wake(r);
    atomic_fetch_sub_explicit(&r->posting, 1, memory_order_release);
}

static void run_mailbox(struct reactor *r)
{
    if (!atomic_load_explicit(&r->mailbox, memory_order_relaxed))
        return;
    struct task *newest = atomic_exchange(&r->mailbox, NULL), *oldest = NULL;
    while (newest) {
        struct task *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest) {
        struct task *next = oldest->next;
        oldest->run(oldest);
        oldest = next;
    }
}

void reactor_stop(struct reactor *r)
{
    atomic_store(&r->stopping, true);
    wake(r);
}

static void fetch_events(struct reactor *r)
{
    int timeout_ms = sleep_ms(r);
    if (timeout_ms != 0) {
        atomic_store(&r->asleep, true);
        if (atomic_load(&r->mailbox))
            timeout_ms = 0;
    }
    int n = epoll_wait(r->epoll_fd, r->events, EVENTS_MAX, timeout_ms);
    atomic_store_explicit(&r->asleep, false, memory_order_relaxed);
    r->event_i = 0;
    r->event_n = n > 0 ? n : 0;
    r->now_ms = clock_mono_ms();
}

void reactor_run(struct reactor *r)
{
    atomic_store(&r->thread, (unsigned long)pthread_self());
    while (!atomic_load_explicit(&r->stopping, memory_order_acquire)) {
        fetch_events(r);
        deliver_events(r);
        run_mailbox(r);
        run_timers(r);
    }
    atomic_store(&r->thread, 0);
}
