#include "registry/blob.h"

#include "registry/review.h"

static enum err blob_read(struct db_cursor *c, struct blob *ret)
{
    if (!db_next(c))
        return c->err ? c->err : ERR_BLOB_UNKNOWN;
    str key = db_text(c, 2);
    if (key.n != STORE_KEY_LEN)
        return ERR_DB_CORRUPT;
    ret->id = db_int(c, 0);
    ret->size_bytes = (uint64_t)db_int(c, 1);
    memcpy(ret->store_key, key.p, STORE_KEY_LEN);
    ret->damaged = db_int(c, 3);
    ret->review_from = db_is_null(c, 4) ? REVIEW_NEVER : db_int(c, 4);
    return OK;
}

enum err blob_find_linked(struct db_conn *conn, str full_name, const struct digest *digest,
                          struct blob *ret)
{
    DB_CURSOR struct db_cursor c =
        db_query(conn, Q_BLOB_FIND_LINKED, DB_TEXT(full_name), DB_BYTES(digest_stored(digest)));
    return blob_read(&c, ret);
}

enum err blob_find(struct db_conn *conn, const struct digest *digest, struct blob *ret)
{
    DB_CURSOR struct db_cursor c = db_query(conn, Q_BLOB_FIND, DB_BYTES(digest_stored(digest)));
    return blob_read(&c, ret);
}

static enum err read_error(enum err e)
{
    if (e == ERR_NOT_FOUND || e == ERR_SIZE_INVALID)
        return ERR_BLOB_UNKNOWN;
    /* That there are no descriptors left says nothing of the blob. */
    return e && e != ERR_NO_FILES ? ERR_BLOB_UNREADABLE : e;
}

enum err blob_open(struct store *store, const struct blob *blob, struct file **ret)
{
    str key = str_make(blob->store_key, STORE_KEY_LEN);
    return read_error(store_blob_open(store, key, blob->size_bytes, ret));
}

enum err blob_serve(struct store *store, const struct db_conn *conn, const struct blob *blob,
                    struct file **ret)
{
    str key = str_make(blob->store_key, STORE_KEY_LEN);
    if (db_may_block(conn))
        return read_error(store_blob_open_kept(store, key, blob->size_bytes, ret));
    struct file *kept = store_blob_find_kept(store, key, blob->size_bytes);
    if (!kept)
        return ERR_WOULD_BLOCK;
    *ret = kept;
    return OK;
}

enum err blob_load(struct store *store, const struct blob *blob, struct arena *a, str *ret)
{
    str key = str_make(blob->store_key, STORE_KEY_LEN);
    char *bytes = arena_alloc(a, blob->size_bytes + 1);
    enum err e = read_error(store_blob_read(store, key, blob->size_bytes, bytes));
    if (!e)
        *ret = str_make(bytes, blob->size_bytes);
    return e;
}

/* A project counts a blob once, however many of its repositories link it: the bytes to add. */
static enum err project_add(struct db_conn *conn, const struct repository *repository,
                            const struct blob *blob, int64_t *bytes)
{
    DB_CURSOR struct db_cursor c =
        db_query(conn, Q_PROJECT_BLOB_ADD, DB_INT(repository->project), DB_INT(blob->id));
    if (!db_next(&c))
        return c.err ? c.err : ERR_DB;
    *bytes = db_int(&c, 0) == 1 ? (int64_t)blob->size_bytes : 0;
    return OK;
}

/* The other way: the bytes to take off. */
static enum err project_remove(struct db_conn *conn, const struct repository *repository,
                               const struct blob *blob, int64_t *bytes)
{
    bool last;
    {
        DB_CURSOR struct db_cursor c =
            db_query(conn, Q_PROJECT_BLOB_REMOVE, DB_INT(repository->project), DB_INT(blob->id));
        if (!db_next(&c))
            return c.err ? c.err : ERR_DB_CORRUPT;
        last = db_int(&c, 0) == 0;
    }
    *bytes = last ? (int64_t)blob->size_bytes : 0;
    if (!last)
        return OK;
    return db_exec(conn, Q_PROJECT_BLOB_DELETE, DB_INT(repository->project), DB_INT(blob->id));
}

enum err blob_link(struct db_conn *conn, const struct repository *repository,
                   const struct blob *blob, int64_t now_us)
{
    int64_t added, project_bytes = 0;
    enum err e = db_exec_count(conn, Q_BLOB_LINK, &added, DB_INT(repository->id), DB_INT(blob->id),
                               DB_INT(now_us));
    if (!e && added == 0)
        e = db_exec(conn, Q_BLOB_LEASE, DB_INT(now_us), DB_INT(repository->id), DB_INT(blob->id));
    if (e || added == 0)
        return e;
    e = project_add(conn, repository, blob, &project_bytes);
    return e ? e : repository_add_size(conn, repository, (int64_t)blob->size_bytes, project_bytes);
}

enum err blob_adopt(struct db_conn *conn, const struct digest *digest, uint64_t size_bytes,
                    str store_key, int64_t now_us, struct blob *ret, bool *adopted)
{
    enum err e = blob_find(conn, digest, ret);
    if (e != ERR_BLOB_UNKNOWN) {
        *adopted = false;
        return e;
    }
    DB_CURSOR struct db_cursor c = db_query(conn, Q_BLOB_INSERT, DB_BYTES(digest_stored(digest)),
                                            DB_INT(size_bytes), DB_TEXT(store_key), DB_INT(now_us));
    if (!db_next(&c))
        return c.err ? c.err : ERR_DB;
    *ret = (struct blob){.id = db_int(&c, 0), .size_bytes = size_bytes};
    memcpy(ret->store_key, store_key.p, STORE_KEY_LEN);
    *adopted = true;
    return OK;
}

static enum err check_unused(struct db_conn *conn, const struct repository *repository,
                             const struct blob *blob)
{
    DB_CURSOR struct db_cursor c =
        db_query(conn, Q_GC_LINK_LIVE, DB_INT(repository->id), DB_INT(blob->id));
    return db_next(&c) ? ERR_BLOB_IN_USE : c.err;
}

enum err blob_unlinked(struct db_conn *conn, const struct repository *repository,
                       const struct blob *blob, int64_t review_from)
{
    int64_t project_bytes = 0;
    enum err e = project_remove(conn, repository, blob, &project_bytes);
    if (!e)
        e = repository_add_size(conn, repository, -(int64_t)blob->size_bytes, -project_bytes);
    return e ? e : db_exec(conn, Q_BLOB_REVIEW, DB_INT(review_from), DB_INT(blob->id));
}

enum err blob_unlink(struct db_conn *conn, const struct repository *repository,
                     const struct digest *digest, int64_t now_us)
{
    struct blob blob;
    int64_t removed;
    enum err e = blob_find(conn, digest, &blob);
    if (!e)
        e = check_unused(conn, repository, &blob);
    if (!e)
        e = db_exec_count(conn, Q_BLOB_UNLINK, &removed, DB_INT(repository->id), DB_INT(blob.id));
    if (!e && removed == 0)
        e = ERR_BLOB_UNKNOWN; /* whether or not it exists elsewhere */
    return e ? e : blob_unlinked(conn, repository, &blob, now_us);
}
