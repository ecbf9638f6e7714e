#include "registry/damage.h"

#include "base/clock.h"
#include "base/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { PIECE_BYTES = 1 << 20 };

/* Exactly n bytes. */
static enum err read_piece(struct file *f, uint64_t offset, char *p, size_t n)
{
    while (n) {
        ssize_t r = pread(f->fd, p, n, (off_t)offset);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return ERR_IO;
        p += r;
        n -= (size_t)r;
        offset += (uint64_t)r;
    }
    return OK;
}

/* Pages that were not in memory before are dropped behind the reading: what pulls keep there is
 * worth more than what was read once. */
static enum err hash_file(struct file *f, struct hasher *h, char *piece, blob_pace_fn *pace,
                          void *arg)
{
    for (uint64_t at = 0; at < f->size_bytes;) {
        uint64_t n = f->size_bytes - at < PIECE_BYTES ? f->size_bytes - at : PIECE_BYTES;
        bool resident = file_is_resident(f, at, n, clock_mono_ms());
        enum err e = pace ? pace(arg, n) : OK;
        if (!e)
            e = read_piece(f, at, piece, n);
        if (e)
            return e;
        if (!resident)
            (void)posix_fadvise(f->fd, (off_t)at, (off_t)n, POSIX_FADV_DONTNEED);
        hasher_update(h, piece, n);
        at += n;
    }
    return OK;
}

static enum err compare(struct file *f, const struct digest *digest, char *piece,
                        blob_pace_fn *pace, void *arg)
{
    struct digest got;
    HASHER_CLEANUP struct hasher *h = hasher_new(digest_algorithm(digest));
    enum err e = hash_file(f, h, piece, pace, arg);
    if (e)
        return e;
    hasher_peek(h, &got);
    return digest_eq(&got, digest) ? OK : ERR_DIGEST_INVALID;
}

enum err blob_verify(struct store *store, str key, uint64_t size_bytes, const struct digest *digest,
                     blob_pace_fn *pace, void *arg)
{
    uint64_t actual;
    struct file *f;
    enum err e = store_blob_stat(store, key, &actual);
    if (e)
        return e;
    if (actual != size_bytes)
        return ERR_SIZE_INVALID;
    e = store_blob_open(store, key, size_bytes, &f);
    if (e == ERR_IO) /* reads a byte already; perhaps the disk fails now and then */
        e = store_blob_open(store, key, size_bytes, &f);
    if (e)
        return e;
    ARENA_CLEANUP struct arena a = {0};
    char *piece = arena_alloc(&a, size_bytes < PIECE_BYTES ? size_bytes : PIECE_BYTES);
    e = compare(f, digest, piece, pace, arg);
    if (e == ERR_IO || e == ERR_DIGEST_INVALID) { /* perhaps only the copy in memory is bad */
        (void)posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED);
        e = compare(f, digest, piece, pace, arg);
    }
    file_unref(f);
    return e;
}

bool blob_verify_condemns(enum err e)
{
    return e == ERR_NOT_FOUND || e == ERR_SIZE_INVALID || e == ERR_DIGEST_INVALID || e == ERR_IO;
}

struct mark {
    int64_t blob;
    str key;
    int64_t changed;
};

static enum err mark_tx(struct db_conn *conn, void *arg)
{
    struct mark *mark = arg;
    return db_exec_count(conn, Q_BLOB_DAMAGED, &mark->changed, DB_INT(clock_wall_us()),
                         DB_INT(mark->blob), DB_TEXT(mark->key));
}

/* The mark comes first: a stop in between leaves a blob that nobody reads, and a file to move. */
enum err blob_quarantine(struct db *db, struct store *store, int64_t blob, str key, bool *marked)
{
    struct mark mark = {.blob = blob, .key = key};
    enum err e = db_tx(db, mark_tx, &mark);
    if (e)
        return e;
    *marked = mark.changed > 0;
    return *marked ? store_blob_quarantine(store, key) : OK;
}

enum err blob_damaged_count(struct db_conn *conn, uint64_t *ret)
{
    DB_CURSOR struct db_cursor c = db_query(conn, Q_BLOB_DAMAGED_COUNT);
    if (!db_next(&c))
        return c.err ? c.err : ERR_DB;
    *ret = (uint64_t)db_int(&c, 0);
    metric_set(METRIC_DAMAGED, (int64_t)*ret);
    return OK;
}
