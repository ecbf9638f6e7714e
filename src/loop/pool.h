/* The worker pool: the threads on which handlers may block, and strands, which are serial queues
 * on top of it.
 *
 * The queue is bounded: a full one refuses with ERR_OVERLOADED, which becomes 503. Strand steps and
 * pool_submit_always are exempt: their number is bounded by what was admitted before (the receive
 * budget, open requests). */
#pragma once

#include "loop/reactor.h"

#include <pthread.h>

struct pool;

enum { WORKER_NONE = -1 }; /* "not on a worker" where a worker's index is asked for */

/* `index` (0 .. threads_n - 1) tells the job which worker it is on, and so which database reader it
 * may use. The job may free itself. */
struct job {
    struct job *next;
    void (*run)(struct job *j, int worker);
    uint64_t at_us; /* the pool's: when it was queued; while it runs: when that began (monotonic) */
};

NODISCARD enum err pool_new(struct pool **ret, unsigned threads_n, unsigned queue_max);
/* Runs what is queued, and what that queues, then joins the threads. NULL-safe. */
void pool_free(struct pool *p);
unsigned pool_threads(const struct pool *p);

struct pool_load {
    unsigned busy;  /* workers that are not idle */
    size_t waiting; /* jobs */
};
/* Any thread. */
struct pool_load pool_load(struct pool *p);

/* Any thread, never blocks. ERR_OVERLOADED when queue_max jobs wait. */
NODISCARD enum err pool_submit(struct pool *p, struct job *j);
/* Any thread. For work that must happen because something was admitted already. */
void pool_submit_always(struct pool *p, struct job *j);

/* Serial queue: tasks run one at a time, in order, on some worker. */
struct strand {
    struct job job;
    struct pool *pool;
    pthread_mutex_t lock; /* guards the list and `busy` */
    pthread_cond_t idle;
    struct task *head, **tail;
    bool busy;
};

void strand_init(struct strand *s, struct pool *p);
/* No task may be queued or posted any more. Waits for a worker that is just leaving the last one,
 * which may be what led to this call; so never call it from one of the strand's own tasks. */
void strand_release(struct strand *s);
/* Any thread. */
void strand_post(struct strand *s, struct task *t);
