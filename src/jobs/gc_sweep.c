/* Sweeps: what became garbage because an option changed, which no event tells of. Options change
 * with a restart, so a sweep after each start, and on request, is enough; it reads a lot and writes
 * next to nothing. */
#include "base/clock.h"
#include "jobs/gc_private.h"
#include "registry/repository.h"

/* gc.untagged */

struct queueing {
    const struct gc_run *run;
    int64_t repository;
    size_t n;
};

static enum err queue_tx(struct db_conn *conn, void *arg)
{
    const struct queueing *q = arg;
    enum err e = OK;
    for (size_t i = 0; !e && i < q->n; i++)
        e = db_exec(conn, Q_GC_MANIFEST_QUEUE, DB_INT(q->run->requeued_us), DB_INT(q->repository),
                    DB_INT(q->run->due[i].a));
    return e;
}

/* Up to a chunk of bodies behind *last, which becomes the last one. */
static enum err read_bodies(struct gc_run *run, int64_t repository, int64_t *last, size_t *n)
{
    DB_CURSOR struct db_cursor c =
        db_query(run->gc->reader, Q_GC_MANIFEST_UNQUEUED, DB_INT(repository), DB_INT(*last),
                 DB_INT(GC_CHUNK_ROWS));
    *n = 0;
    while (*n < GC_CHUNK_ROWS && db_next(&c))
        run->due[(*n)++] = (struct gc_due){.a = *last = db_int(&c, 0)};
    return c.err;
}

/* Those that no tag leads to come under review. */
static enum err sweep_repository(struct gc_run *run, int64_t repository)
{
    int64_t last = 0;
    size_t n;
    do {
        uint64_t start_us = clock_mono_us();
        struct queueing q = {.run = run, .repository = repository};
        enum err e = read_bodies(run, repository, &last, &n);
        for (size_t i = 0; !e && i < n; i++) {
            bool live;
            e = gc_manifest_live(run->gc->reader, repository, run->due[i].a, run->cutoff_us, &live);
            if (!e && !live)
                run->due[q.n++] = run->due[i];
        }
        if (!e && run->ask->dry_run)
            run->report->manifests += run->ask->now ? q.n : 0;
        else if (!e && q.n)
            e = db_tx(run->gc->registry->db, queue_tx, &q);
        if (!e)
            e = gc_pace(run, start_us, n);
        if (e)
            return e;
    } while (n == GC_CHUNK_ROWS);
    return OK;
}

/* The next repository behind `last` in the catalog; *found false at the end. */
static enum err next_repository(const struct gc_run *run, struct arena *a, str *last, bool *found)
{
    DB_CURSOR struct db_cursor c =
        db_query(run->gc->reader, Q_CATALOG_ALL, DB_TEXT(*last), DB_INT(1));
    *found = db_next(&c);
    if (*found)
        *last = db_copy(&c, 0, a);
    return c.err;
}

enum err gc_sweep_untagged(struct gc_run *run)
{
    char name[NAME_LENGTH_MAX];
    str last = STR("");
    bool found = run->ask->sweep && run->gc->untagged_n > 0;
    while (found) {
        ARENA_CLEANUP struct arena a = {0};
        struct repository repository;
        enum err e = next_repository(run, &a, &last, &found);
        if (!e && found && gc_covers(run->gc, last)) {
            e = repository_find(run->gc->reader, last, &repository);
            if (!e)
                e = sweep_repository(run, repository.id);
        }
        if (e || (e = gc_pace(run, 0, 0)))
            return e;
        if (found)
            last = str_make(memcpy(name, last.p, last.n), last.n);
    }
    return OK;
}

/* tags.history */

struct forgetting {
    int64_t repository;
    str name;
    uint64_t max;
    int64_t forgotten;
};

/* The statement forgets a few at a time. */
static enum err forget_tx(struct db_conn *conn, void *arg)
{
    enum { ROUNDS = 60 };
    struct forgetting *f = arg;
    int64_t n = 1;
    enum err e = OK;
    f->forgotten = 0;
    for (int i = 0; !e && n && i < ROUNDS; i++) {
        e = db_exec_count(conn, Q_TAG_FORGET, &n, DB_INT(f->repository), DB_TEXT(f->name),
                          DB_INT(f->max));
        f->forgotten += e ? 0 : n;
    }
    return e;
}

static enum err is_long(const struct gc_run *run, const struct forgetting *f, bool *ret)
{
    DB_CURSOR struct db_cursor c = db_query(
        run->gc->reader, Q_GC_TAG_IS_LONG, DB_INT(f->repository), DB_TEXT(f->name), DB_INT(f->max));
    *ret = db_next(&c);
    return c.err;
}

/* Dry run: what would be forgotten of a tag that is long. */
static enum err count_beyond(struct gc_run *run, const struct forgetting *f)
{
    DB_CURSOR struct db_cursor c =
        db_query(run->gc->reader, Q_GC_TAG_COUNT, DB_INT(f->repository), DB_TEXT(f->name));
    if (db_next(&c) && (uint64_t)db_int(&c, 0) > f->max)
        run->report->tag_lifetimes += (uint64_t)db_int(&c, 0) - f->max;
    return c.err;
}

static enum err trim(struct gc_run *run, struct forgetting *f)
{
    bool more;
    enum err e = is_long(run, f, &more);
    if (!e && more && run->ask->dry_run)
        return count_beyond(run, f);
    while (!e && more) {
        e = db_tx(run->gc->registry->db, forget_tx, f);
        if (e)
            return e;
        run->report->tag_lifetimes += (uint64_t)f->forgotten;
        e = is_long(run, f, &more);
    }
    return e;
}

/* The tag behind f's, in the order of their keys; false at the end. */
static enum err next_tag(const struct gc_run *run, struct forgetting *f, char name[TAG_LENGTH_MAX],
                         bool *found)
{
    char next[TAG_LENGTH_MAX];
    {
        DB_CURSOR struct db_cursor c =
            db_query(run->gc->reader, Q_GC_TAG_NEXT, DB_INT(f->repository), DB_TEXT(f->name));
        *found = db_next(&c);
        if (!*found)
            return c.err;
        f->repository = db_int(&c, 0);
        f->name = str_first(db_text(&c, 1), TAG_LENGTH_MAX);
        memcpy(next, f->name.p, f->name.n);
    }
    f->name.p = memcpy(name, next, f->name.n);
    return OK;
}

enum err gc_sweep_history(struct gc_run *run)
{
    char name[TAG_LENGTH_MAX];
    struct forgetting f = {.max = run->gc->tags_history_max, .name = STR("")};
    bool found = run->ask->sweep && f.max > 0;
    while (found) {
        uint64_t start_us = clock_mono_us();
        enum err e = next_tag(run, &f, name, &found);
        if (!e && found)
            e = trim(run, &f);
        if (!e)
            e = gc_pace(run, start_us, 1);
        if (e)
            return e;
    }
    return OK;
}
