/* Workers share one queue under one lock. Each sleeps on its own condition, and the one that fell
 * asleep last is woken first, as its caches are warmest.
 *
 * At most one wake-up is under way at a time: a submitter wakes one worker, and that worker wakes
 * the next if it leaves jobs behind. A burst from a reactor thus costs the reactor one system call,
 * not one per job, and no job waits while a worker sleeps for longer than one wake-up takes. */
#include "loop/pool.h"

#include "base/clock.h"
#include "base/metrics.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

struct worker {
    struct pool *pool;
    int index;
    pthread_t thread;
    pthread_cond_t wake;
    struct worker *next_idle;
    bool woken;
};

struct pool {
    pthread_mutex_t lock; /* guards everything below but `workers` and `threads_n` */
    struct job *head, **tail;
    size_t queued, queue_max;
    struct worker *idle; /* stack */
    bool waking;         /* a worker was woken and has not looked at the queue yet */
    bool stopping;
    unsigned threads_n, idle_n;
    struct worker workers[];
};

/* Takes a worker off the idle stack, for the caller to signal once the lock is free. */
static struct worker *choose_idle(struct pool *p)
{
    struct worker *w = p->idle;
    if (!w || p->waking || !p->head)
        return NULL;
    p->idle = w->next_idle;
    p->idle_n--;
    p->waking = true;
    w->woken = true;
    return w;
}

static void sleep_until_woken(struct worker *w)
{
    struct pool *p = w->pool;
    w->next_idle = p->idle;
    p->idle = w;
    p->idle_n++;
    while (!w->woken && !p->stopping)
        pthread_cond_wait(&w->wake, &p->lock);
    if (w->woken)
        p->waking = false;
    w->woken = false;
}

static struct job *take_job(struct worker *w)
{
    struct pool *p = w->pool;
    while (!p->head) {
        if (p->stopping)
            return NULL;
        sleep_until_woken(w);
    }
    struct job *j = p->head;
    p->head = j->next;
    if (!p->head)
        p->tail = &p->head;
    p->queued--;
    return j;
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct pool *p = w->pool;
    pthread_mutex_lock(&p->lock);
    for (struct job *j; (j = take_job(w));) {
        struct worker *next = choose_idle(p);
        pthread_mutex_unlock(&p->lock);
        if (next)
            pthread_cond_signal(&next->wake);
        uint64_t queued_us = j->at_us;
        j->at_us = clock_mono_us();
        metric_observe(METRIC_WORKER_WAIT, j->at_us - queued_us);
        j->run(j, w->index);
        pthread_mutex_lock(&p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* Signals go to the main thread: workers inherit a mask that blocks them all. */
static enum err start_worker(struct worker *w)
{
    sigset_t all, before;
    char name[16];
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int errnum = pthread_create(&w->thread, NULL, worker_main, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (errnum)
        return err_from_errno(errnum);
    snprintf(name, sizeof name, "worker %d", w->index);
    (void)pthread_setname_np(w->thread, name);
    return OK;
}

enum err pool_new(struct pool **ret, unsigned threads_n, unsigned queue_max)
{
    struct pool *p = calloc(1, sizeof *p + threads_n * sizeof p->workers[0]);
    if (!p)
        abort();
    pthread_mutex_init(&p->lock, NULL);
    p->tail = &p->head;
    p->queue_max = queue_max;
    for (unsigned i = 0; i < threads_n; i++) {
        struct worker *w = &p->workers[i];
        *w = (struct worker){.pool = p, .index = (int)i};
        pthread_cond_init(&w->wake, NULL);
        enum err e = start_worker(w);
        if (e) {
            pthread_cond_destroy(&w->wake);
            pool_free(p);
            return e;
        }
        p->threads_n++;
    }
    *ret = p;
    return OK;
}

void pool_free(struct pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    p->idle = NULL;
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->threads_n; i++)
        pthread_cond_signal(&p->workers[i].wake);
    for (unsigned i = 0; i < p->threads_n; i++)
        pthread_join(p->workers[i].thread, NULL);
    for (unsigned i = 0; i < p->threads_n; i++)
        pthread_cond_destroy(&p->workers[i].wake);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

unsigned pool_threads(const struct pool *p)
{
    return p->threads_n;
}

struct pool_load pool_load(struct pool *p)
{
    pthread_mutex_lock(&p->lock);
    struct pool_load load = {.busy = p->threads_n - p->idle_n, .waiting = p->queued};
    pthread_mutex_unlock(&p->lock);
    return load;
}

static enum err submit(struct pool *p, struct job *j, size_t queue_max)
{
    j->next = NULL;
    j->at_us = clock_mono_us();
    pthread_mutex_lock(&p->lock);
    if (p->queued >= queue_max) {
        pthread_mutex_unlock(&p->lock);
        return ERR_OVERLOADED;
    }
    *p->tail = j;
    p->tail = &j->next;
    p->queued++;
    struct worker *w = choose_idle(p);
    pthread_mutex_unlock(&p->lock);
    if (w)
        pthread_cond_signal(&w->wake);
    return OK;
}

enum err pool_submit(struct pool *p, struct job *j)
{
    return submit(p, j, p->queue_max);
}

void pool_submit_always(struct pool *p, struct job *j)
{
    (void)submit(p, j, SIZE_MAX);
}

/* Strands. */

enum { STRAND_BATCH = 16 }; /* tasks in one go before others get the worker */

static struct task *strand_take(struct strand *s)
{
    struct task *t = s->head;
    if (t && !(s->head = t->next))
        s->tail = &s->head;
    return t;
}

static void strand_run(struct job *j, int worker)
{
    struct strand *s = (struct strand *)((char *)j - offsetof(struct strand, job));
    (void)worker;
    pthread_mutex_lock(&s->lock);
    for (unsigned i = 0; i < STRAND_BATCH; i++) {
        struct task *t = strand_take(s);
        if (!t)
            break;
        pthread_mutex_unlock(&s->lock);
        t->run(t);
        pthread_mutex_lock(&s->lock);
    }
    bool more = s->head != NULL;
    if (!more) {
        s->busy = false;
        pthread_cond_signal(&s->idle);
    }
    pthread_mutex_unlock(&s->lock);
    /* Still busy, so nobody releases the strand before it has run again. */
    if (more)
        pool_submit_always(s->pool, &s->job);
}

void strand_init(struct strand *s, struct pool *p)
{
    *s = (struct strand){.job.run = strand_run, .pool = p};
    s->tail = &s->head;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->idle, NULL);
}

void strand_release(struct strand *s)
{
    pthread_mutex_lock(&s->lock);
    while (s->busy)
        pthread_cond_wait(&s->idle, &s->lock);
    pthread_mutex_unlock(&s->lock);
    pthread_cond_destroy(&s->idle);
    pthread_mutex_destroy(&s->lock);
}

void strand_post(struct strand *s, struct task *t)
{
    t->next = NULL;
    pthread_mutex_lock(&s->lock);
    *s->tail = t;
    s->tail = &t->next;
    bool start = !s->busy;
    s->busy = true;
    pthread_mutex_unlock(&s->lock);
    if (start)
        pool_submit_always(s->pool, &s->job);
}
