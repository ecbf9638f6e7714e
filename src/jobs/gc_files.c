/* Files of dead blobs. Their rows are gone since a commit that is durable, and store keys are never
 * used again, so there is nobody left who could ask for them. */
#include "base/clock.h"
#include "base/hex.h"
#include "jobs/gc_private.h"

#include <unistd.h>

enum { BATCH_MAX = 256 };

struct batch {
    size_t n;
    char keys[BATCH_MAX][STORE_KEY_LEN];
    bool unlinked[BATCH_MAX];
};

static str key_at(const struct batch *b, size_t i)
{
    return str_make(b->keys[i], STORE_KEY_LEN);
}

static enum err read_batch(const struct gc_run *run, str after, struct batch *b)
{
    DB_CURSOR struct db_cursor c =
        db_query(run->gc->reader, Q_DEAD_BLOB_LIST, DB_TEXT(after), DB_INT(BATCH_MAX));
    size_t n = 0;
    while (n < BATCH_MAX && db_next(&c)) {
        if (db_text(&c, 0).n != STORE_KEY_LEN)
            return ERR_DB_CORRUPT;
        memcpy(b->keys[n++], db_text(&c, 0).p, STORE_KEY_LEN);
    }
    b->n = n;
    return c.err;
}

/* Before the rows that tell of them go, the files must be gone for good. */
static enum err sync_removals(const struct gc_run *run, const struct batch *b)
{
    bool touched[STORE_SHARDS] = {0};
    for (size_t i = 0; i < b->n; i++) {
        uint8_t shard;
        if (b->unlinked[i] && hex_decode(str_first(key_at(b, i), 2), true, &shard, 1))
            touched[shard] = true;
    }
    enum err e = OK;
    for (unsigned i = 0; !e && i < STORE_SHARDS; i++) {
        if (touched[i])
            e = store_shard_sync(run->gc->registry->store, i);
    }
    return e;
}

/* One file that cannot be unlinked must not keep the others. */
static enum err unlink_batch(struct gc_run *run, struct batch *b)
{
    struct store *store = run->gc->registry->store;
    int held;
    enum err e = store_hold_exclude(store, &held);
    if (e)
        return e;
    for (size_t i = 0; i < b->n; i++) {
        b->unlinked[i] = store_blob_unlink(store, key_at(b, i)) == OK;
        run->report->files += b->unlinked[i];
        run->report->files_failed += !b->unlinked[i];
    }
    e = sync_removals(run, b);
    close(held);
    return e;
}

static enum err drop_tx(struct db_conn *conn, void *arg)
{
    const struct batch *b = arg;
    enum err e = OK;
    for (size_t i = 0; !e && i < b->n; i++) {
        if (b->unlinked[i])
            e = db_exec(conn, Q_DEAD_BLOB_DROP, DB_TEXT(key_at(b, i)));
    }
    return e;
}

static enum err collect_batch(struct gc_run *run, struct batch *b)
{
    uint64_t start_us = clock_mono_us();
    enum err e = gc_at(run, GC_FILES_LISTED);
    if (!e)
        e = unlink_batch(run, b);
    if (!e)
        e = gc_at(run, GC_FILES_UNLINKED);
    if (!e)
        e = db_tx(run->gc->registry->db, drop_tx, b);
    if (!e)
        e = gc_at(run, GC_FILES_DROPPED);
    return e ? e : gc_pace(run, start_us, b->n);
}

/* Dry run: those that wait, and those of the blobs that would be removed. */
static enum err count_dead(struct gc_run *run)
{
    DB_CURSOR struct db_cursor c = db_query(run->gc->reader, Q_DEAD_BLOB_COUNT);
    if (db_next(&c))
        run->report->files += (uint64_t)db_int(&c, 0) + run->report->blobs;
    return c.err;
}

enum err gc_unlink_dead(struct gc_run *run)
{
    if (run->ask->dry_run)
        return count_dead(run);
    struct batch b = {0};
    char last[STORE_KEY_LEN];
    str after = STR("");
    enum err e = read_batch(run, after, &b);
    while (!e && b.n) {
        e = collect_batch(run, &b);
        if (e == ERR_BUSY) { /* a backup reads them; they are there for the next run */
            run->report->files_left += b.n;
            e = OK;
        }
        memcpy(last, b.keys[b.n - 1], sizeof last);
        after = str_make(last, sizeof last);
        if (!e)
            e = read_batch(run, after, &b);
    }
    return e;
}
