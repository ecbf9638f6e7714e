#include "base/clock.h"
#include "base/metrics.h"
#include "jobs/gc_private.h"
#include "registry/damage.h"
#include "registry/review.h"

#include <time.h>

/* What a run of all that is under review lets go of is due in the same run, though each further use
 * that ends moves its time on by a microsecond (REVIEW_LATER). */
enum { REQUEUED_AHEAD_US = 1000000 };

static bool stopped(const struct gc_run *run)
{
    return run->gc->stop && atomic_load(run->gc->stop);
}

enum err gc_at(struct gc_run *run, enum gc_point point)
{
    if (stopped(run) || (run->point && !run->point(run->point_arg, point)))
        return ERR_SHUTTING_DOWN;
    return OK;
}

enum err gc_pace(struct gc_run *run, uint64_t start_us, uint64_t handled)
{
    enum { NAP_US = 50000 };
    uint64_t rate = run->gc->rate;
    uint64_t due_us = rate ? start_us + handled * 1000000 / rate : 0;
    for (uint64_t now_us; !stopped(run) && (now_us = clock_mono_us()) < due_us;) {
        uint64_t us = due_us - now_us < NAP_US ? due_us - now_us : NAP_US;
        nanosleep(&(struct timespec){.tv_nsec = (long)us * 1000}, NULL);
    }
    return stopped(run) ? ERR_SHUTTING_DOWN : OK;
}

bool gc_covers(const struct gc *gc, str full_name)
{
    for (size_t i = 0; i < gc->untagged_n; i++) {
        if (name_matches(full_name, gc->untagged[i]))
            return true;
    }
    return false;
}

/* What a run does, in this order: manifests let go of links, links of blobs. */
static enum err (*const steps[])(struct gc_run *run) = {
    gc_expire_uploads, gc_sweep_history, gc_sweep_untagged, gc_collect_due, gc_unlink_dead,
};

enum err gc_run_with(const struct gc *gc, const struct gc_ask *ask, gc_point_fn *point,
                     void *point_arg, struct gc_report *report)
{
    uint64_t start_us = clock_mono_us();
    ARENA_CLEANUP struct arena arena = {0};
    struct gc_run *run = ARENA_NEW(&arena, struct gc_run);
    *report = (struct gc_report){0};
    run->gc = gc;
    run->ask = ask;
    run->report = report;
    run->point = point;
    run->point_arg = point_arg;
    run->now_us = clock_wall_us();
    run->cutoff_us =
        ask->now ? run->now_us : review_cutoff_us(gc->registry->review_delay_ms, run->now_us);
    run->requeued_us = ask->now ? run->now_us - REQUEUED_AHEAD_US : run->now_us;
    enum err e = gc_at(run, GC_START);
    for (size_t i = 0; !e && i < sizeof steps / sizeof *steps; i++)
        e = steps[i](run);
    report->elapsed_us = clock_mono_us() - start_us;
    return e;
}

enum err gc_count(const struct gc *gc)
{
    DB_CURSOR struct db_cursor c = db_query(gc->reader, Q_REVIEW_COUNT);
    uint64_t damaged;
    if (!db_next(&c))
        return c.err ? c.err : ERR_DB;
    metric_set(METRIC_GC_QUEUE, db_int(&c, 0));
    return blob_damaged_count(gc->reader, &damaged);
}

enum err gc_run(const struct gc *gc, const struct gc_ask *ask, struct gc_report *report)
{
    return gc_run_with(gc, ask, NULL, NULL, report);
}
