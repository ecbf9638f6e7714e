#include "jobs/collector.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "registry/review.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

enum { SWEEP_MS = 24 * 3600 * 1000 };

struct asked {
    struct gc_ask ask;
    struct collection result;
};

struct collector {
    struct gc gc;
    uint64_t wait_ms;
    uint64_t swept_ms; /* the thread's: when it last swept, 0: never */
    pthread_t thread;
    atomic_bool stop;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t moved; /* something was asked, finished or stopped */
    uint64_t asked_n, finished_n;
    struct asked asked[COLLECTIONS_KEPT]; /* by id % COLLECTIONS_KEPT; ids begin at 1 */
};

static struct timespec deadline(uint64_t wait_ms)
{
    uint64_t due_ms = clock_mono_ms() + wait_ms;
    return (struct timespec){.tv_sec = (time_t)(due_ms / 1000),
                             .tv_nsec = (long)(due_ms % 1000) * 1000000};
}

/* Whatever is under review is due within the delay and its slack: no need to come back later than
 * that, however long the interval. */
static uint64_t interval_ms(const struct collector *c)
{
    uint64_t delay_ms = c->gc.registry->review_delay_ms;
    uint64_t due_ms = delay_ms + (uint64_t)review_slack_us(delay_ms) / 1000;
    if (due_ms < 1000)
        due_ms = 1000;
    return c->wait_ms < due_ms ? c->wait_ms : due_ms;
}

/* The run that is next: an asked one (its id), or, with 0, one of its own. False: stop. */
static bool wait_for_work(struct collector *c, uint64_t *id, struct gc_ask *ask)
{
    struct timespec due = deadline(interval_ms(c));
    int rc = 0;
    pthread_mutex_lock(&c->lock);
    while (!atomic_load(&c->stop) && c->asked_n == c->finished_n && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&c->moved, &c->lock, &due);
    *id = c->asked_n > c->finished_n ? c->finished_n + 1 : 0;
    if (*id)
        *ask = c->asked[*id % COLLECTIONS_KEPT].ask;
    pthread_mutex_unlock(&c->lock);
    return !atomic_load(&c->stop);
}

static void log_run(const struct gc_ask *ask, bool asked, enum err e, const struct gc_report *r)
{
    bool did = r->blobs || r->links || r->manifests || r->bodies || r->uploads ||
               r->stray_uploads || r->tag_lifetimes || r->files || r->files_failed;
    if (!asked && !did && !e)
        return;
    const struct log_field fields[] = {log_str("result", e ? str_from(err_name(e)) : (str){0}),
                                       log_cstr("mode", ask->dry_run ? "dry-run"
                                                        : ask->now   ? "now"
                                                                     : ""),
#define X(name, help) log_int(#name, (int64_t)r->name),
                                       GC_REPORT_TABLE(X)
#undef X
    };
    bool failed = (e && e != ERR_SHUTTING_DOWN) || r->files_failed;
    enum log_level level = failed ? LOG_WARN : LOG_INFO;
    if (log_enabled(level))
        log_event(level, "gc", fields, sizeof fields / sizeof *fields);
}

static void finish(struct collector *c, uint64_t id, enum err e, const struct gc_report *report)
{
    pthread_mutex_lock(&c->lock);
    struct collection *result = &c->asked[id % COLLECTIONS_KEPT].result;
    result->finished = true;
    result->err = e;
    result->report = *report;
    c->finished_n = id;
    pthread_cond_broadcast(&c->moved);
    pthread_mutex_unlock(&c->lock);
}

static void count_run(struct collector *c, const struct gc_ask *ask, enum err e,
                      const struct gc_report *r)
{
    if (e == ERR_SHUTTING_DOWN || ask->dry_run)
        return;
    bool failed = e || r->files_failed; /* as in the log, and for who asked */
    metric_add_at(METRIC_GC_RUNS, failed ? OUTCOME_FAILED : OUTCOME_OK, 1);
    metric_observe(METRIC_GC_TIME, r->elapsed_us);
    metric_add_at(METRIC_GC_REMOVED, GARBAGE_BLOBS, r->blobs);
    metric_add_at(METRIC_GC_REMOVED, GARBAGE_LINKS, r->links);
    metric_add_at(METRIC_GC_REMOVED, GARBAGE_MANIFESTS, r->manifests);
    metric_add_at(METRIC_GC_REMOVED, GARBAGE_BODIES, r->bodies);
    metric_add_at(METRIC_GC_REMOVED, GARBAGE_UPLOADS, r->uploads + r->stray_uploads);
    metric_add_at(METRIC_GC_REMOVED, GARBAGE_FILES, r->files);
    metric_add(METRIC_GC_BYTES, r->blob_bytes);
    if (!failed)
        metric_set(METRIC_GC_LAST, clock_wall_us());
    if ((e = gc_count(&c->gc)))
        LOG(WARN, "gc_not_counted", log_err(e));
}

static void *collector_main(void *arg)
{
    struct collector *c = arg;
    struct gc_ask ask = {0};
    uint64_t id;
    while (wait_for_work(c, &id, &ask)) {
        struct gc_report report;
        if (!id)
            ask = (struct gc_ask){0};
        if (!c->swept_ms || clock_mono_ms() - c->swept_ms > SWEEP_MS)
            ask.sweep = true;
        enum err e = gc_run(&c->gc, &ask, &report);
        if (!e && ask.sweep && !ask.dry_run)
            c->swept_ms = clock_mono_ms();
        log_run(&ask, id != 0, e, &report);
        count_run(c, &ask, e, &report);
        if (id)
            finish(c, id, e, &report);
    }
    return NULL;
}

enum err collector_new(struct collector **ret, const struct gc *gc, uint64_t wait_ms)
{
    struct collector *c = calloc(1, sizeof *c);
    if (!c)
        return ERR_OVERLOADED;
    c->gc = *gc;
    c->gc.stop = &c->stop;
    c->wait_ms = wait_ms;
    pthread_mutex_init(&c->lock, NULL);
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&c->moved, &clock);
    pthread_condattr_destroy(&clock);

    /* Signals are for the main thread. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&c->thread, NULL, collector_main, c);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc) {
        pthread_cond_destroy(&c->moved);
        pthread_mutex_destroy(&c->lock);
        free(c);
        return ERR_OVERLOADED;
    }
    pthread_setname_np(c->thread, "collector");
    *ret = c;
    return OK;
}

void collector_free(struct collector *c)
{
    if (!c)
        return;
    collector_stop(c);
    pthread_join(c->thread, NULL);
    pthread_cond_destroy(&c->moved);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

void collector_stop(struct collector *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&c->lock);
    atomic_store(&c->stop, true);
    pthread_cond_broadcast(&c->moved);
    pthread_mutex_unlock(&c->lock);
}

enum err collector_ask(struct collector *c, const struct gc_ask *ask, uint64_t *id)
{
    enum err e = OK;
    pthread_mutex_lock(&c->lock);
    if (c->asked_n - c->finished_n >= COLLECTIONS_KEPT - 1) {
        e = ERR_OVERLOADED;
    } else {
        *id = ++c->asked_n;
        c->asked[*id % COLLECTIONS_KEPT] = (struct asked){.ask = *ask, .result.id = *id};
        pthread_cond_broadcast(&c->moved);
    }
    pthread_mutex_unlock(&c->lock);
    return e;
}

enum err collector_wait(struct collector *c, uint64_t id, uint64_t wait_ms, struct collection *ret)
{
    struct timespec due = deadline(wait_ms);
    int rc = 0;
    enum err e = OK;
    pthread_mutex_lock(&c->lock);
    struct collection *result = &c->asked[id % COLLECTIONS_KEPT].result;
    while (id && result->id == id && !result->finished && !atomic_load(&c->stop) && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&c->moved, &c->lock, &due);
    if (id == 0 || result->id != id)
        e = ERR_NOT_FOUND;
    else if (!result->finished && atomic_load(&c->stop))
        e = ERR_SHUTTING_DOWN;
    else
        *ret = *result;
    pthread_mutex_unlock(&c->lock);
    return e;
}
