#include "jobs/scrub.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "registry/damage.h"

#include <pthread.h>
#include <stdlib.h>

enum {
    CHUNK = 64,              /* rows read at a time */
    BYTES_LEAST = 64 * 1024, /* what a small file counts as: opening it costs, too */
    SAVE_MS = 10 * 1000,     /* between two notes of the position */
    RETRY_MS = 60 * 1000,    /* after a failure of the database or the store */
    UNREADABLE_NAMED = 100,  /* of a pass; those beyond are counted only */
};

struct scrub {
    struct scrub_config config;
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock; /* guards `stopping` and `status` */
    pthread_cond_t wake;
    bool stopping;
    struct scrub_status status;
    /* The pass's own. */
    int64_t position;
    int64_t started_us;
    unsigned unreadable_n; /* since it began or went on */
    uint64_t saved_ms;
    uint64_t due_us; /* of the next read, monotonic */
};

struct scrub *scrub_new(const struct scrub_config *config)
{
    struct scrub *s = calloc(1, sizeof *s);
    if (!s)
        abort();
    s->config = *config;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->wake, &attr);
    pthread_condattr_destroy(&attr);
    return s;
}

void scrub_stop(struct scrub *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_cond_broadcast(&s->wake);
    pthread_mutex_unlock(&s->lock);
}

void scrub_free(struct scrub *s)
{
    if (!s)
        return;
    scrub_stop(s);
    if (s->has_thread)
        pthread_join(s->thread, NULL);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

struct scrub_status scrub_status(struct scrub *s)
{
    pthread_mutex_lock(&s->lock);
    struct scrub_status status = s->status;
    pthread_mutex_unlock(&s->lock);
    return status;
}

static void count(struct scrub *s, struct scrub_status more)
{
    pthread_mutex_lock(&s->lock);
    s->status.passes += more.passes;
    s->status.blobs += more.blobs;
    s->status.bytes += more.bytes;
    s->status.damaged += more.damaged;
    s->status.unreadable += more.unreadable;
    s->status.failures += more.failures;
    pthread_mutex_unlock(&s->lock);
    metric_add_at(METRIC_SCRUB_PASSES, OUTCOME_OK, more.passes);
    metric_add_at(METRIC_SCRUB_PASSES, OUTCOME_FAILED, more.failures);
    metric_add(METRIC_SCRUB_BLOBS, more.blobs);
    metric_add(METRIC_SCRUB_BYTES, more.bytes);
    metric_add(METRIC_SCRUB_DAMAGED, more.damaged);
    metric_add(METRIC_SCRUB_UNREADABLE, more.unreadable);
}

/* Until then on the monotonic clock; ERR_SHUTTING_DOWN when stopped. */
static enum err wait_until(struct scrub *s, uint64_t mono_us)
{
    struct timespec at = {
        .tv_sec = (time_t)(mono_us / 1000000),
        .tv_nsec = (long)(mono_us % 1000000 * 1000),
    };
    pthread_mutex_lock(&s->lock);
    while (!s->stopping && clock_mono_us() < mono_us)
        pthread_cond_timedwait(&s->wake, &s->lock, &at);
    bool stopping = s->stopping;
    pthread_mutex_unlock(&s->lock);
    return stopping ? ERR_SHUTTING_DOWN : OK;
}

/* Time that was not used is not saved up: after a pause the rate is no higher. */
static enum err spend(struct scrub *s, uint64_t bytes)
{
    uint64_t now = clock_mono_us();
    if (s->due_us < now)
        s->due_us = now;
    enum err e = wait_until(s, s->due_us);
    s->due_us += (uint64_t)((double)bytes * 1e6 / (double)s->config.rate_bytes);
    return e;
}

static enum err pace(void *arg, uint64_t bytes)
{
    return spend(arg, bytes);
}

/* The pass's row. */

struct save {
    int64_t started_us, position;
    struct db_value finished;
};

static enum err save_tx(struct db_conn *conn, void *arg)
{
    const struct save *save = arg;
    return db_exec(conn, Q_PASS_SET, DB_TEXT(STR("scrub")), DB_INT(save->started_us),
                   DB_INT(save->position), save->finished);
}

static enum err save(struct scrub *s, bool finished)
{
    struct save save = {
        .started_us = s->started_us,
        .position = s->position,
        .finished = finished ? DB_INT(clock_wall_us()) : DB_NULL,
    };
    s->saved_ms = clock_mono_ms();
    return db_tx(s->config.db, save_tx, &save);
}

/* *open: a pass is under way. Without any, started_us is 0. */
static enum err load(struct scrub *s, bool *open)
{
    DB_CURSOR struct db_cursor c = db_query(s->config.reader, Q_PASS_GET, DB_TEXT(STR("scrub")));
    *open = false;
    s->started_us = s->position = 0;
    if (!db_next(&c))
        return c.err;
    s->started_us = db_int(&c, 0);
    *open = db_is_null(&c, 2);
    s->position = *open ? db_int(&c, 1) : 0;
    return OK;
}

/* Blobs. */

struct row {
    int64_t id;
    struct digest digest;
    uint64_t size_bytes;
    char key[STORE_KEY_LEN];
    bool usable;
};

static enum err read_rows(struct scrub *s, struct row rows[CHUNK], size_t *n)
{
    DB_CURSOR struct db_cursor c =
        db_query(s->config.reader, Q_SCRUB_BLOBS, DB_INT(s->position), DB_INT(CHUNK));
    for (*n = 0; db_next(&c); ++*n) {
        struct row *row = &rows[*n];
        str key = db_text(&c, 3);
        *row = (struct row){.id = db_int(&c, 0), .size_bytes = (uint64_t)db_int(&c, 2)};
        row->usable = digest_from_stored(db_bytes(&c, 1), &row->digest) &&
                      digest_algorithm(&row->digest) != DIGEST_OTHER && key.n == STORE_KEY_LEN;
        if (row->usable)
            memcpy(row->key, key.p, STORE_KEY_LEN);
    }
    return c.err;
}

static const char *verdict_text(enum err verdict)
{
    return verdict == ERR_NOT_FOUND      ? "its file is gone"
           : verdict == ERR_SIZE_INVALID ? "its file has another size"
           : verdict == ERR_IO           ? "its file cannot be read"
                                         : "its bytes do not hash to its digest";
}

/* A blob that was collected or pushed again meanwhile is not marked: then nothing was wrong. */
static enum err condemn(struct scrub *s, const struct row *row, enum err verdict)
{
    ARENA_CLEANUP struct arena a = {0};
    bool marked = false;
    str key = str_make(row->key, STORE_KEY_LEN);
    enum err e = blob_quarantine(s->config.db, s->config.store, row->id, key, &marked);
    if (!marked)
        return e;
    uint64_t damaged;
    enum err uncounted = blob_damaged_count(s->config.reader, &damaged);
    (void)uncounted; /* only the metric was wanted, and the next one counts again */
    count(s, (struct scrub_status){.damaged = 1});
    LOG(ERROR, "blob_damaged", log_str("digest", digest_text(&a, &row->digest)),
        log_int("bytes", (int64_t)row->size_bytes), log_str("file", key),
        log_cstr("reason", verdict_text(verdict)));
    return e; /* the file may still be where it was: nobody reads it there */
}

/* Nothing is known of a blob whose file belongs to another user. It must not keep those behind it
 * from being read. */
static enum err pass_over(struct scrub *s, const struct row *row)
{
    ARENA_CLEANUP struct arena a = {0};
    count(s, (struct scrub_status){.unreadable = 1});
    if (s->unreadable_n++ < UNREADABLE_NAMED)
        LOG(ERROR, "blob_unreadable", log_str("digest", digest_text(&a, &row->digest)),
            log_str("file", str_make(row->key, STORE_KEY_LEN)), log_err(ERR_PERMISSION));
    return row->size_bytes < BYTES_LEAST ? OK : spend(s, BYTES_LEAST);
}

static enum err check_row(struct scrub *s, const struct row *row)
{
    if (!row->usable)
        return OK; /* fsck tells */
    enum err e = OK;
    if (row->size_bytes < BYTES_LEAST)
        e = spend(s, BYTES_LEAST - row->size_bytes);
    if (e)
        return e;
    enum err verdict = blob_verify(s->config.store, str_make(row->key, STORE_KEY_LEN),
                                   row->size_bytes, &row->digest, pace, s);
    if (verdict == ERR_PERMISSION)
        return pass_over(s, row);
    if (verdict && !blob_verify_condemns(verdict))
        return verdict;
    count(s, (struct scrub_status){.blobs = 1, .bytes = row->size_bytes});
    return verdict ? condemn(s, row, verdict) : OK;
}

static enum err check_chunk(struct scrub *s, struct row rows[CHUNK], size_t *n)
{
    enum err e = read_rows(s, rows, n);
    for (size_t i = 0; !e && i < *n; i++) {
        e = check_row(s, &rows[i]);
        if (e)
            break;
        s->position = rows[i].id;
        if (clock_mono_ms() - s->saved_ms >= SAVE_MS)
            e = save(s, false);
    }
    return e;
}

static enum err begin(struct scrub *s)
{
    bool open;
    enum err e = load(s, &open);
    if (e || open)
        return e;
    s->started_us = clock_wall_us();
    return save(s, false);
}

enum err scrub_pass(struct scrub *s)
{
    ARENA_CLEANUP struct arena a = {0};
    struct row *rows = ARENA_ARRAY(&a, CHUNK, struct row);
    size_t n = 1;
    s->unreadable_n = 0;
    enum err e = begin(s);
    while (!e && n)
        e = check_chunk(s, rows, &n);
    if (e == ERR_SHUTTING_DOWN && s->started_us && save(s, false))
        return e; /* what could not be noted is read once more */
    if (!e)
        e = save(s, true);
    if (!e)
        count(s, (struct scrub_status){.passes = 1});
    return e;
}

/* The thread. */

/* When the next pass is due: at once when one is under way or none ever was. */
static enum err wait_for_turn(struct scrub *s)
{
    bool open;
    enum err e = load(s, &open);
    if (e || open || !s->started_us)
        return e;
    int64_t now = clock_wall_us();
    /* A clock that was wrong when the last pass began must not put the next one off for ever. */
    int64_t since_ms = now > s->started_us ? (now - s->started_us) / 1000 : 0;
    uint64_t left =
        (uint64_t)since_ms < s->config.interval_ms ? s->config.interval_ms - (uint64_t)since_ms : 0;
    return wait_until(s, clock_mono_us() + left * 1000);
}

static void log_pass(struct scrub *s, const struct scrub_status *before)
{
    struct scrub_status now = scrub_status(s);
    if (now.blobs == before->blobs && now.unreadable == before->unreadable)
        return; /* nothing was there to read */
    LOG(INFO, "scrub_finished", log_int("blobs", (int64_t)(now.blobs - before->blobs)),
        log_int("bytes", (int64_t)(now.bytes - before->bytes)),
        log_int("damaged", (int64_t)(now.damaged - before->damaged)),
        log_int("unreadable", (int64_t)(now.unreadable - before->unreadable)));
}

static void *run(void *arg)
{
    struct scrub *s = arg;
    enum err e = OK;
    while (e != ERR_SHUTTING_DOWN) {
        struct scrub_status before = scrub_status(s);
        e = wait_for_turn(s);
        if (!e)
            e = scrub_pass(s);
        if (!e) {
            log_pass(s, &before);
        } else if (e != ERR_SHUTTING_DOWN) {
            count(s, (struct scrub_status){.failures = 1});
            LOG(WARN, "scrub_interrupted", log_err(e), log_int("retry_ms", RETRY_MS));
            e = wait_until(s, clock_mono_us() + RETRY_MS * UINT64_C(1000));
        }
    }
    return NULL;
}

enum err scrub_start(struct scrub *s)
{
    s->has_thread = pthread_create(&s->thread, NULL, run, s) == 0;
    return s->has_thread ? OK : ERR_OVERLOADED;
}
