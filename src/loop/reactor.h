/* A reactor: one thread, one epoll set, timers, and a mailbox other threads post to.
 *
 * Nothing that runs on a reactor may block: no SQL, no fsync, no DNS, no cold disk. Unless a
 * function says "any thread", it is called on the reactor's own thread. */
#pragma once

#include "base/err.h"

#include <stdatomic.h>
#include <sys/epoll.h>

struct reactor;

/* A descriptor of interest; embedded in its owner. on_ready gets EPOLLIN, EPOLLOUT, EPOLLHUP, ...
 * The owner may free itself inside its own on_ready; events already fetched for a removed watch
 * are dropped. */
struct watch {
    int fd;
    uint32_t events; /* what epoll knows now; 0: not in the set */
    void (*on_ready)(struct watch *w, uint32_t events);
};

/* One-shot timer; embedded in its owner. */
struct timer {
    struct timer *next, **link; /* bucket list; link NULL: not set */
    uint64_t due_ms;
    void (*on_expire)(struct timer *t);
};

/* A message to a reactor, or one step of a strand; embedded in its owner, which keeps it alive
 * until run has been called. */
struct task {
    struct task *next;
    void (*run)(struct task *t);
};

/* Any thread. */
NODISCARD enum err reactor_new(struct reactor **ret, unsigned index);
void reactor_free(struct reactor *r);

/* Runs until reactor_stop, which may come first. */
void reactor_run(struct reactor *r);
/* Any thread, also from a signal handler: reactor_run returns after the current turn. */
void reactor_stop(struct reactor *r);
unsigned reactor_index(const struct reactor *r);
bool reactor_is_current(const struct reactor *r);

/* Adds the watch or changes its events; 0 removes it from the set (idempotent). Level-triggered.
 * With EPOLLEXCLUSIVE a watch can only be added and removed. */
NODISCARD enum err reactor_watch(struct reactor *r, struct watch *w, uint32_t events);
void reactor_unwatch(struct reactor *r, struct watch *w);

/* Sets or moves a timer; it fires once, at or after delay_ms from now, resolution 16 ms. */
void reactor_timer_set(struct reactor *r, struct timer *t, uint64_t delay_ms);
void reactor_timer_cancel(struct reactor *r, struct timer *t);
/* Monotonic milliseconds, read once per turn. */
uint64_t reactor_now_ms(const struct reactor *r);

/* Any thread. Runs the task on the reactor, tasks of one thread in order. Wakes the reactor only
 * when it sleeps. Never fails. A task that posts itself again runs in the next turn. */
void reactor_post(struct reactor *r, struct task *t);
