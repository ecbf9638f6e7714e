/* Uploads that nobody goes on with, and files of uploads that have no row. */
#include "base/clock.h"
#include "jobs/gc_private.h"
#include "registry/upload_begun.h"

enum { BATCH_MAX = 256 };

struct expiring {
    char uuid[UUID_LEN];
    int64_t touched_us;
    int64_t until_us;
    bool begun;      /* has no row (registry/upload_begun.h) */
    int64_t deleted; /* 1: it was there, and is not any more */
};

static enum err expire_tx(struct db_conn *conn, void *arg)
{
    struct expiring *x = arg;
    return db_exec_count(conn, Q_GC_UPLOAD_EXPIRE, &x->deleted,
                         DB_TEXT(str_make(x->uuid, UUID_LEN)), DB_INT(x->until_us));
}

static enum err has_row(const struct gc_run *run, str uuid, bool *ret)
{
    DB_CURSOR struct db_cursor c = db_query(run->gc->reader, Q_GC_UPLOAD_EXISTS, DB_TEXT(uuid));
    *ret = db_next(&c);
    return c.err;
}

/* Removes the row, or the upload from those that were begun. Such a one has no row, but for what is
 * left of a commit that seemed to fail; it is counted once. */
static enum err end(struct gc_run *run, struct expiring *x)
{
    struct registry *registry = run->gc->registry;
    str uuid = str_make(x->uuid, UUID_LEN);
    bool begun = x->begun && upload_begun_expire(registry->begun, uuid, x->until_us);
    bool row = !x->begun;
    enum err e = begun ? has_row(run, uuid, &row) : OK;
    if (begun)
        x->until_us = INT64_MAX;
    if (!e && row)
        e = db_tx(registry->db, expire_tx, x);
    x->deleted = begun || (!e && x->deleted);
    if (x->deleted && registry->uploads)
        atomic_fetch_sub(&registry->uploads_n, 1);
    return e;
}

/* The upload is taken first, as a request does: it cannot move any more. *busy counts those that
 * somebody is at after all. */
static enum err expire(struct gc_run *run, struct upload_table *table, struct expiring *x,
                       size_t *busy)
{
    UPLOAD_CLEANUP struct upload *upload = NULL;
    enum err e = upload_checkout(table, str_make(x->uuid, UUID_LEN), &upload);
    if (e == ERR_BLOB_UPLOAD_BUSY) {
        ++*busy;
        return OK;
    }
    if (!e)
        e = gc_at(run, GC_UPLOAD_HELD);
    if (!e)
        e = end(run, x);
    if (e || !x->deleted)
        return e;
    run->report->uploads++;
    e = gc_at(run, GC_UPLOAD_EXPIRED);
    return e ? e : upload_discard(upload);
}

static enum err read_due(const struct gc_run *run, const struct expiring *last,
                         struct expiring *list, size_t *n)
{
    DB_CURSOR struct db_cursor c =
        db_query(run->gc->reader, Q_GC_UPLOAD_DUE, DB_INT(last->until_us), DB_INT(last->touched_us),
                 DB_TEXT(str_make(last->uuid, UUID_LEN)), DB_INT(BATCH_MAX));
    *n = 0;
    while (*n < BATCH_MAX && db_next(&c)) {
        struct expiring *x = &list[(*n)++];
        *x = (struct expiring){.touched_us = db_int(&c, 1), .until_us = last->until_us};
        if (db_text(&c, 0).n != UUID_LEN)
            return ERR_DB_CORRUPT;
        memcpy(x->uuid, db_text(&c, 0).p, UUID_LEN);
    }
    return c.err;
}

static int64_t idle_since(const struct gc_run *run)
{
    return run->ask->now ? run->now_us : run->now_us - (int64_t)run->gc->uploads_expire_ms * 1000;
}

static enum err expire_begun(struct gc_run *run, struct upload_table *table)
{
    char uuids[BATCH_MAX][UUID_LEN];
    size_t n, skip = 0;
    int64_t until_us = idle_since(run);
    do {
        uint64_t start_us = clock_mono_us();
        n = upload_begun_idle(run->gc->registry->begun, until_us, skip, uuids, BATCH_MAX);
        enum err e = n ? gc_at(run, GC_UPLOADS_LISTED) : OK;
        for (size_t i = 0; !e && i < n && !run->ask->dry_run; i++) {
            struct expiring x = {.until_us = until_us, .begun = true};
            memcpy(x.uuid, uuids[i], UUID_LEN);
            e = expire(run, table, &x, &skip);
        }
        if (run->ask->dry_run) {
            run->report->uploads += n;
            skip += n;
        }
        if (!e)
            e = gc_pace(run, start_us, n);
        if (e)
            return e;
    } while (n > 0);
    return OK;
}

static enum err expire_rows(struct gc_run *run, struct upload_table *table)
{
    struct expiring list[BATCH_MAX];
    struct expiring last = {.touched_us = INT64_MIN, .uuid = "                                   "};
    size_t n, busy = 0;
    last.until_us = idle_since(run);
    do {
        uint64_t start_us = clock_mono_us();
        enum err e = read_due(run, &last, list, &n);
        if (!e && n)
            e = gc_at(run, GC_UPLOADS_LISTED);
        for (size_t i = 0; !e && i < n && !run->ask->dry_run; i++)
            e = expire(run, table, &list[i], &busy);
        if (run->ask->dry_run)
            run->report->uploads += n;
        if (!e)
            e = gc_pace(run, start_us, n);
        if (e)
            return e;
        if (n)
            last = list[n - 1];
    } while (n > 0);
    return OK;
}

/* Stray files: left by a crash in a POST that had all of the blob in it, or behind the row of an
 * upload that ended. A uuid is drawn once, and its upload is begun, if it ever is, before there is
 * a file: one that is not among those begun, has no row, and that no request has taken, will never
 * be wanted. */

struct listing {
    struct gc_run *run;
    struct upload_table *table;
};

static enum err is_known(const struct gc_run *run, str uuid, bool *ret)
{
    const struct registry *registry = run->gc->registry;
    *ret = registry->begun && upload_begun_has(registry->begun, uuid);
    return *ret ? OK : has_row(run, uuid, ret);
}

static enum err sweep_file(void *arg, const struct store_entry *entry)
{
    const struct listing *l = arg;
    UPLOAD_CLEANUP struct upload *upload = NULL;
    bool known;
    if (!entry->is_proper)
        return OK; /* not ours */
    /* Asked first: an upload that is known is not touched, its client may come back any time. */
    enum err e = is_known(l->run, entry->name, &known);
    if (e || known)
        return e;
    e = upload_checkout(l->table, entry->name, &upload);
    if (e)
        return e == ERR_BLOB_UPLOAD_BUSY ? OK : e;
    l->run->report->stray_uploads++;
    return l->run->ask->dry_run ? OK : upload_discard(upload);
}

enum err gc_expire_uploads(struct gc_run *run)
{
    struct registry *registry = run->gc->registry;
    struct upload_table *own = registry->uploads ? NULL : upload_table_new(registry->store, 0);
    struct upload_table *table = own ? own : registry->uploads;
    struct listing listing = {run, table};
    enum err e = registry->begun ? expire_begun(run, table) : OK;
    if (!e)
        e = expire_rows(run, table);
    if (!e)
        e = store_list_uploads(registry->store, sweep_file, &listing);
    upload_table_free(own);
    return e;
}
