#include "jobs/collector.h"

#include "base/log.h"
#include "base/metrics.h"
#include "jobs/gc_fixture.h"

#include <sys/stat.h>

enum { LONG_MS = 60000 };

static struct fixture f;
static struct collector *collector;

static void open_collector(uint64_t wait_ms)
{
    log_init(STDERR_FILENO, LOG_LOGFMT, LOG_WARN);
    fixture_open(&f);
    need(collector_new(&collector, &f.gc, wait_ms), "collector");
}

static void close_collector(void)
{
    collector_free(collector);
    fixture_close(&f);
}

static void runs_when_asked(void)
{
    open_collector(LONG_MS);
    uint64_t id = 0;
    struct collection run;
    push_blob(&f, "team/app", STR("x"), HOUR_US);
    for (unsigned i = 1; i <= 3; i++) {
        CHECK_INT(collector_ask(collector, &(struct gc_ask){.now = i > 1}, &id), OK);
        CHECK_INT(id, i);
    }
    for (id = 3; id > 0; id--) { /* in any order */
        CHECK_INT(collector_wait(collector, id, LONG_MS, &run), OK);
        CHECK(run.finished);
        CHECK_INT(run.err, OK);
        CHECK_INT(run.report.blobs, id == 2);
    }
    CHECK_INT(collector_wait(collector, 4, LONG_MS, &run), ERR_NOT_FOUND);
    CHECK_INT(collector_wait(collector, 0, LONG_MS, &run), ERR_NOT_FOUND);
    close_collector();
}

static void keeps_the_last_reports(void)
{
    open_collector(LONG_MS);
    uint64_t id = 0;
    struct collection run;
    for (unsigned i = 0; i < COLLECTIONS_KEPT + 1; i++) {
        CHECK_INT(collector_ask(collector, &(struct gc_ask){0}, &id), OK);
        CHECK_INT(collector_wait(collector, id, LONG_MS, &run), OK);
    }
    CHECK_INT(collector_wait(collector, id, 0, &run), OK);
    CHECK_INT(collector_wait(collector, 2, 0, &run), OK);
    CHECK_INT(collector_wait(collector, 1, 0, &run), ERR_NOT_FOUND);
    close_collector();
}

/* Stopped in the middle of its waiting for the rate. */
static void ends_soon(void)
{
    fixture_open(&f);
    uint64_t id = 0;
    struct collection run;
    for (int i = 0; i < 3; i++)
        push_blob(&f, "team/app", arena_printf(&f.arena, "%d", i), HOUR_US);
    f.gc.rate = 1;
    need(collector_new(&collector, &f.gc, LONG_MS), "collector");
    CHECK_INT(collector_ask(collector, &(struct gc_ask){.now = true}, &id), OK);
    collector_stop(collector);
    CHECK_INT(collector_wait(collector, id, LONG_MS, &run), ERR_SHUTTING_DOWN);
    close_collector();
}

static void runs_by_itself(void)
{
    open_collector(1);
    push_blob(&f, "team/app", STR("x"), 30 * HOUR_US);
    uint64_t start_ms = clock_mono_ms();
    while (has_blob(&f, "team/app", STR("x")) && clock_mono_ms() - start_ms < LONG_MS)
        usleep(1000);
    CHECK(!has_blob(&f, "team/app", STR("x")));
    close_collector();
}

static void a_file_that_stays_is_a_failure(void)
{
    open_collector(LONG_MS);
    uint64_t id = 0;
    struct collection run;
    struct blob blob;
    struct digest digest = push_blob(&f, "team/app", STR("x"), HOUR_US);
    CHECK_INT(blob_find(f.conn, &digest, &blob), OK);
    str path = arena_printf(&f.arena, "%.*s/blobs/%.2s/%.*s", STR_ARG(f.dir), blob.store_key,
                            STORE_KEY_LEN, blob.store_key);
    CHECK_INT(unlink(path.p), 0); /* a directory in its place: even root cannot unlink it */
    CHECK_INT(mkdir(path.p, 0700), 0);
    int64_t failed = metric_value_at(METRIC_GC_RUNS, OUTCOME_FAILED),
            ok = metric_value_at(METRIC_GC_RUNS, OUTCOME_OK);
    CHECK_INT(collector_ask(collector, &(struct gc_ask){.now = true}, &id), OK);
    CHECK_INT(collector_wait(collector, id, LONG_MS, &run), OK);
    CHECK_INT(run.report.files_failed, 1);
    CHECK_INT(metric_value_at(METRIC_GC_RUNS, OUTCOME_FAILED), failed + 1);
    CHECK_INT(rmdir(path.p), 0);
    CHECK_INT(collector_ask(collector, &(struct gc_ask){.now = true}, &id), OK);
    CHECK_INT(collector_wait(collector, id, LONG_MS, &run), OK);
    CHECK_INT(run.report.files_failed, 0); /* what is not there is as good as unlinked */
    CHECK_INT(metric_value_at(METRIC_GC_RUNS, OUTCOME_OK), ok + 1);
    close_collector();
}

TESTS({"runs when asked", runs_when_asked}, {"keeps the last reports", keeps_the_last_reports},
      {"ends soon", ends_soon}, {"runs by itself", runs_by_itself},
      {"a file that stays is a failure", a_file_that_stays_is_a_failure})
