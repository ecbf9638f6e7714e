/* What is under review and due: judged on a reader, settled on the writer.
 *
 * A verdict counts only while review_from is what it was when the row was read: whoever ends the
 * use of something sets it anew. A verdict "garbage" is asked for again in the transaction that
 * acts on it; but not of links, where the question may be long: who begins to use one ends its
 * review. */
#include "base/clock.h"
#include "jobs/gc_private.h"
#include "registry/blob.h"
#include "registry/manifest.h"
#include "registry/review.h"

struct kind;

/* A chunk's way through db_tx: rows `from` to `from + done`. May run several times. */
struct settling {
    struct gc_run *run;
    const struct kind *kind;
    size_t from, n, done;
    struct gc_report freed;
};

/* One kind of row. */
struct kind {
    enum gc_point judged, removed;
    enum query due, clear;
    enum err (*live)(const struct gc_run *run, const struct kind *kind, struct db_conn *conn,
                     const struct gc_due *due, bool *live);
    enum query live_query; /* for live_by_query */
    bool is_final;         /* the verdict holds while the row is untouched */
    /* Writer: removes the row, unless it was touched. */
    enum err (*remove)(struct settling *s, struct db_conn *conn, const struct gc_due *due);
    /* Dry run: counts what remove would. */
    enum err (*preview)(struct gc_run *run, const struct gc_due *due);
};

/* The row itself, if its review_from is still what it was. */
static enum err take(struct db_conn *conn, enum query q, const struct gc_due *due, bool *taken)
{
    int64_t changes;
    enum err e =
        db_exec_count(conn, q, &changes, DB_INT(due->a), DB_INT(due->b), DB_INT(due->review_from));
    if (!e)
        *taken = changes > 0;
    return e;
}

static enum err live_by_query(const struct gc_run *run, const struct kind *kind,
                              struct db_conn *conn, const struct gc_due *due, bool *live)
{
    DB_CURSOR struct db_cursor c = db_query(conn, kind->live_query, DB_INT(due->a), DB_INT(due->b));
    *live = db_next(&c);
    return c.err;
}

static enum err repository_about(const struct gc_run *run, struct db_conn *conn, int64_t id,
                                 struct repository *ret, bool *covered)
{
    DB_CURSOR struct db_cursor c = db_query(conn, Q_GC_REPOSITORY_ABOUT, DB_INT(id));
    if (!db_next(&c))
        return c.err ? c.err : ERR_NOT_FOUND;
    *ret = (struct repository){.id = id, .project = db_int(&c, 0)};
    *covered = gc_covers(run->gc, db_text(&c, 1));
    return OK;
}

static enum err blob_about(struct db_conn *conn, int64_t id, struct blob *ret)
{
    DB_CURSOR struct db_cursor c = db_query(conn, Q_GC_BLOB_ABOUT, DB_INT(id));
    if (!db_next(&c))
        return c.err ? c.err : ERR_NOT_FOUND;
    if (db_text(&c, 0).n != STORE_KEY_LEN)
        return ERR_DB_CORRUPT;
    *ret = (struct blob){.id = id, .size_bytes = (uint64_t)db_int(&c, 1)};
    memcpy(ret->store_key, db_text(&c, 0).p, STORE_KEY_LEN);
    return OK;
}

/* Manifests: a repository's, a = repository, b = body. */

static enum err manifest_about(const struct gc_run *run, struct db_conn *conn, int64_t body,
                               struct manifest_gone *ret)
{
    DB_CURSOR struct db_cursor c = db_query(conn, Q_GC_BODY_ABOUT, DB_INT(body));
    if (!db_next(&c))
        return c.err ? c.err : ERR_NOT_FOUND;
    *ret = (struct manifest_gone){.body = body,
                                  .size_bytes = (uint64_t)db_int(&c, 1),
                                  .by = STR("gc"),
                                  .now_us = run->now_us,
                                  .review_from = run->requeued_us};
    return digest_from_stored(db_bytes(&c, 0), &ret->digest) ? OK : ERR_DB_CORRUPT;
}

static enum err manifest_live(const struct gc_run *run, const struct kind *kind,
                              struct db_conn *conn, const struct gc_due *due, bool *live)
{
    struct repository repository;
    bool covered;
    enum err e = repository_about(run, conn, due->a, &repository, &covered);
    if (!e && covered)
        return gc_manifest_live(conn, due->a, due->b, run->cutoff_us, live);
    *live = true;
    return e == ERR_NOT_FOUND ? OK : e;
}

static enum err manifest_remove(struct settling *s, struct db_conn *conn, const struct gc_due *due)
{
    struct repository repository;
    struct manifest_gone gone;
    bool taken, covered;
    enum err e = take(conn, Q_GC_MANIFEST_TAKE, due, &taken);
    if (e || !taken)
        return e;
    s->freed.manifests++;
    e = repository_about(s->run, conn, due->a, &repository, &covered);
    if (!e)
        e = manifest_about(s->run, conn, due->b, &gone);
    if (e)
        return e == ERR_NOT_FOUND ? ERR_DB_CORRUPT : e;
    return manifest_unlinked(conn, &repository, &gone);
}

static enum err manifest_preview(struct gc_run *run, const struct gc_due *due)
{
    run->report->manifests++;
    return OK;
}

/* Links of blobs: a = repository, b = blob. */

static enum err link_remove(struct settling *s, struct db_conn *conn, const struct gc_due *due)
{
    struct repository repository;
    struct blob blob;
    bool taken, covered;
    enum err e = take(conn, Q_GC_LINK_TAKE, due, &taken);
    if (e || !taken)
        return e;
    s->freed.links++;
    e = repository_about(s->run, conn, due->a, &repository, &covered);
    if (!e)
        e = blob_about(conn, due->b, &blob);
    if (e)
        return e == ERR_NOT_FOUND ? ERR_DB_CORRUPT : e;
    /* A blob is seen through links only, and this one has had its time: the blob need not wait. */
    return blob_unlinked(conn, &repository, &blob, due->review_from);
}

static enum err link_preview(struct gc_run *run, const struct gc_due *due)
{
    run->report->links++;
    DB_CURSOR struct db_cursor c = db_query(run->gc->reader, Q_GC_LINK_LAST, DB_INT(due->b),
                                            DB_INT(due->a), DB_INT(run->cutoff_us));
    if (db_next(&c)) {
        run->report->blobs++;
        run->report->blob_bytes += (uint64_t)db_int(&c, 0);
    }
    return c.err;
}

/* Bodies: a = body. All of one body goes at once: half of its rows would be another manifest. */

static enum err body_remove(struct settling *s, struct db_conn *conn, const struct gc_due *due)
{
    bool taken = false;
    enum err e = take(conn, Q_GC_BODY_CLEAR, due, &taken);
    if (e || !taken)
        return e;
    static const enum query parts[] = {Q_GC_BODY_FACTS, Q_GC_BODY_CHILDREN, Q_GC_BODY_BLOBS,
                                       Q_GC_BODY_DELETE};
    for (size_t i = 0; !e && i < sizeof parts / sizeof *parts; i++)
        e = db_exec(conn, parts[i], DB_INT(due->a));
    s->freed.bodies++;
    return e;
}

static enum err body_preview(struct gc_run *run, const struct gc_due *due)
{
    run->report->bodies++;
    return OK;
}

/* Blobs: a = blob. */

static enum err blob_remove(struct settling *s, struct db_conn *conn, const struct gc_due *due)
{
    struct blob blob;
    bool taken = false;
    enum err e = blob_about(conn, due->a, &blob);
    if (!e)
        e = take(conn, Q_GC_BLOB_TAKE, due, &taken);
    if (e || !taken)
        return e == ERR_NOT_FOUND ? OK : e;
    s->freed.blobs++;
    s->freed.blob_bytes += blob.size_bytes;
    return db_exec(conn, Q_DEAD_BLOB_ADD, DB_TEXT(str_make(blob.store_key, STORE_KEY_LEN)),
                   DB_INT(blob.size_bytes), DB_INT(s->run->now_us));
}

static enum err blob_preview(struct gc_run *run, const struct gc_due *due)
{
    struct blob blob;
    enum err e = blob_about(run->gc->reader, due->a, &blob);
    if (!e) {
        run->report->blobs++;
        run->report->blob_bytes += blob.size_bytes;
    }
    return e == ERR_NOT_FOUND ? OK : e;
}

/* In this order each kind finds what the one before it has let go. */
static const struct kind kinds[] = {
    {GC_MANIFESTS_JUDGED, GC_MANIFESTS_REMOVED, Q_GC_MANIFEST_DUE, Q_GC_MANIFEST_CLEAR,
     manifest_live, Q_COUNT, false, manifest_remove, manifest_preview},
    {GC_LINKS_JUDGED, GC_LINKS_REMOVED, Q_GC_LINK_DUE, Q_GC_LINK_CLEAR, live_by_query,
     Q_GC_LINK_LIVE, true, link_remove, link_preview},
    {GC_BODIES_JUDGED, GC_BODIES_REMOVED, Q_GC_BODY_DUE, Q_GC_BODY_CLEAR, live_by_query,
     Q_GC_BODY_LIVE, false, body_remove, body_preview},
    {GC_BLOBS_JUDGED, GC_BLOBS_REMOVED, Q_GC_BLOB_DUE, Q_GC_BLOB_CLEAR, live_by_query,
     Q_GC_BLOB_LIVE, false, blob_remove, blob_preview},
};

/* The due rows behind `last`. */
static enum err read_due(struct gc_run *run, const struct kind *kind, const struct gc_due *last,
                         size_t *n)
{
    *n = 0;
    DB_CURSOR struct db_cursor c =
        db_query(run->gc->reader, kind->due, DB_INT(run->cutoff_us), DB_INT(last->review_from),
                 DB_INT(last->a), DB_INT(last->b), DB_INT(GC_CHUNK_ROWS));
    while (*n < GC_CHUNK_ROWS && db_next(&c))
        run->due[(*n)++] =
            (struct gc_due){.a = db_int(&c, 0), .b = db_int(&c, 1), .review_from = db_int(&c, 2)};
    return c.err;
}

/* Verdicts on the chunk, or on its beginning when that takes long, so that no state of the database
 * is held for long. */
static enum err judge(struct gc_run *run, const struct kind *kind, size_t *n)
{
    DB_SNAPSHOT struct db_snapshot snapshot = db_snapshot_begin(run->gc->reader);
    uint64_t start_us = clock_mono_us();
    enum err e = snapshot.err;
    for (size_t i = 0; !e && i < *n; i++) {
        e = kind->live(run, kind, run->gc->reader, &run->due[i], &run->due[i].live);
        if (clock_mono_us() - start_us > GC_JUDGE_US)
            *n = i + 1;
    }
    return e;
}

static enum err settle(struct settling *s, struct db_conn *conn, const struct gc_due *due)
{
    bool live = due->live, cleared;
    enum err e = live || s->kind->is_final ? OK : s->kind->live(s->run, s->kind, conn, due, &live);
    if (e)
        return e;
    return live ? take(conn, s->kind->clear, due, &cleared) : s->kind->remove(s, conn, due);
}

static enum err settle_tx(struct db_conn *conn, void *arg)
{
    struct settling *s = arg;
    uint64_t start_us = clock_mono_us();
    enum err e = OK;
    s->freed = (struct gc_report){0};
    for (s->done = 0; !e && s->from + s->done < s->n; s->done++) {
        if (s->done && clock_mono_us() - start_us > GC_CHUNK_US)
            break;
        e = settle(s, conn, &s->run->due[s->from + s->done]);
    }
    return e;
}

static void add_freed(struct gc_report *to, const struct gc_report *freed)
{
#define X(name, help) to->name += freed->name;
    GC_REPORT_TABLE(X)
#undef X
}

static enum err settle_chunk(struct gc_run *run, const struct kind *kind, size_t n)
{
    struct settling s = {.run = run, .kind = kind, .n = n};
    enum err e = OK;
    for (; !e && s.from < n; s.from += s.done) {
        uint64_t start_us = clock_mono_us();
        e = db_tx(run->gc->registry->db, settle_tx, &s);
        if (e)
            break;
        add_freed(run->report, &s.freed);
        run->report->reviewed += s.done;
        e = gc_pace(run, start_us, s.done);
    }
    return e;
}

static enum err preview_chunk(struct gc_run *run, const struct kind *kind, size_t n)
{
    enum err e = OK;
    run->report->reviewed += n;
    for (size_t i = 0; !e && i < n; i++) {
        if (!run->due[i].live)
            e = kind->preview(run, &run->due[i]);
    }
    return e;
}

/* Until nothing of the kind is due. Rows that were settled are not due any more, so a real run
 * reads from the start every time. */
static enum err collect_kind(struct gc_run *run, const struct kind *kind)
{
    struct gc_due last = {.review_from = INT64_MIN};
    size_t n;
    do {
        enum err e = read_due(run, kind, &last, &n);
        if (!e)
            e = judge(run, kind, &n);
        if (!e)
            e = gc_at(run, kind->judged);
        if (e)
            return e;
        if (run->ask->dry_run && n)
            last = run->due[n - 1];
        e = run->ask->dry_run ? preview_chunk(run, kind, n) : settle_chunk(run, kind, n);
        if (!e)
            e = gc_at(run, kind->removed);
        if (e)
            return e;
    } while (n > 0);
    return OK;
}

enum err gc_collect_due(struct gc_run *run)
{
    enum err e = OK;
    for (size_t i = 0; !e && i < sizeof kinds / sizeof *kinds; i++)
        e = collect_kind(run, &kinds[i]);
    return e;
}
