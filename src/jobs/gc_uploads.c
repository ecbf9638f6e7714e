/* Uploads that nobody goes on with, and files of uploads that have no row. */
#include "base/clock.h"
#include "jobs/gc_private.h"

enum { BATCH_MAX = 256 };

struct expiring {
    char uuid[UUID_LEN];
    int64_t touched_us;
    int64_t until_us;
    int64_t deleted; /* rows */
};

static enum err expire_tx(struct db_conn *conn, void *arg)
{
    struct expiring *x = arg;
    return db_exec_count(conn, Q_GC_UPLOAD_EXPIRE, &x->deleted,
                         DB_TEXT(str_make(x->uuid, UUID_LEN)), DB_INT(x->until_us));
}

/* The upload is taken first, as a request does: it cannot move any more. */
static enum err expire(struct gc_run *run, struct upload_table *table, struct expiring *x)
{
    UPLOAD_CLEANUP struct upload *upload = NULL;
    enum err e = upload_checkout(table, str_make(x->uuid, UUID_LEN), &upload);
    if (e == ERR_BLOB_UPLOAD_BUSY)
        return OK; /* somebody is at it after all */
    if (!e)
        e = gc_at(run, GC_UPLOAD_HELD);
    if (!e)
        e = db_tx(run->gc->registry->db, expire_tx, x);
    if (e || !x->deleted)
        return e;
    if (run->gc->registry->uploads)
        atomic_fetch_sub(&run->gc->registry->uploads_n, (uint64_t)x->deleted);
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

static enum err expire_rows(struct gc_run *run, struct upload_table *table)
{
    struct expiring list[BATCH_MAX];
    struct expiring last = {.touched_us = INT64_MIN, .uuid = "                                   "};
    size_t n;
    last.until_us =
        run->ask->now ? run->now_us : run->now_us - (int64_t)run->gc->uploads_expire_ms * 1000;
    do {
        uint64_t start_us = clock_mono_us();
        enum err e = read_due(run, &last, list, &n);
        for (size_t i = 0; !e && i < n && !run->ask->dry_run; i++)
            e = expire(run, table, &list[i]);
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
 * upload that ended. A uuid is drawn once and has its row, if it ever has one, before its file: a
 * file without a row, and without a request that has taken it, will never be wanted. */

struct listing {
    struct gc_run *run;
    struct upload_table *table;
};

static enum err has_row(const struct gc_run *run, str uuid, bool *ret)
{
    DB_CURSOR struct db_cursor c = db_query(run->gc->reader, Q_GC_UPLOAD_EXISTS, DB_TEXT(uuid));
    *ret = db_next(&c);
    return c.err;
}

static enum err sweep_file(void *arg, const struct store_entry *entry)
{
    const struct listing *l = arg;
    UPLOAD_CLEANUP struct upload *upload = NULL;
    bool known;
    if (!entry->is_proper)
        return OK; /* not ours */
    /* Asked first: an upload that is known is not touched, its client may come back any time. */
    enum err e = has_row(l->run, entry->name, &known);
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
    enum err e = expire_rows(run, table);
    if (!e)
        e = store_list_uploads(registry->store, sweep_file, &listing);
    upload_table_free(own);
    return e;
}
