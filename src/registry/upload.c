#include "registry/upload.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "registry/upload_begun.h"

enum { KEEP_ROWS = 500 };

enum err upload_find(struct registry *registry, struct db_conn *conn, str uuid,
                     const struct upload_owner *owner, struct upload_row *ret)
{
    struct upload_begun begun;
    if (upload_begun_find(registry->begun, uuid, owner->full_name, owner->principal, &begun)) {
        *ret = (struct upload_row){.algorithm = begun.algorithm};
        return OK;
    }
    DB_CURSOR struct db_cursor c = db_query(conn, Q_UPLOAD_FIND, DB_TEXT(uuid),
                                            DB_TEXT(owner->full_name), DB_TEXT(owner->principal));
    if (!db_next(&c))
        return c.err ? c.err : ERR_BLOB_UPLOAD_UNKNOWN;
    *ret = (struct upload_row){
        .algorithm = (enum digest_algorithm)db_int(&c, 0),
        .offset_bytes = (uint64_t)db_int(&c, 1),
    };
    return OK;
}

enum err upload_create(struct registry *registry, const struct upload_owner *owner,
                       enum digest_algorithm algorithm, char uuid[UUID_LEN])
{
    if (atomic_fetch_add(&registry->uploads_n, 1) >= registry->uploads_max) {
        atomic_fetch_sub(&registry->uploads_n, 1);
        metric_limit(LIMIT_UPLOADS);
        return ERR_TOO_MANY_REQUESTS;
    }
    uint8_t id[16];
    uuid_new(id);
    uuid_format(id, uuid);
    int64_t now_us = clock_wall_us();
    struct upload_begun begun = {.algorithm = algorithm,
                                 .full_name = owner->full_name,
                                 .principal = owner->principal,
                                 .begun_us = now_us,
                                 .touched_us = now_us};
    memcpy(begun.uuid, uuid, UUID_LEN);
    upload_begun_add(registry->begun, &begun);
    return OK;
}

static enum err insert(struct db_conn *conn, const struct upload_begun *begun,
                       uint64_t offset_bytes)
{
    return db_exec(conn, Q_UPLOAD_SET, DB_TEXT(str_make(begun->uuid, UUID_LEN)),
                   DB_TEXT(begun->full_name), DB_TEXT(begun->principal), DB_INT(begun->algorithm),
                   DB_INT(offset_bytes), DB_INT(begun->begun_us), DB_INT(begun->touched_us));
}

struct advance {
    str uuid;
    uint64_t offset_bytes;
    int64_t now_us;
    const struct upload_begun *begun; /* NULL: it has a row */
};

static enum err advance_tx(struct db_conn *conn, void *arg)
{
    const struct advance *advance = arg;
    if (advance->begun)
        return insert(conn, advance->begun, advance->offset_bytes);
    return db_exec(conn, Q_UPLOAD_ADVANCE, DB_INT(advance->offset_bytes), DB_INT(advance->now_us),
                   DB_TEXT(advance->uuid));
}

enum err upload_advance(struct registry *registry, str uuid, const struct upload_owner *owner,
                        uint64_t offset_bytes)
{
    struct upload_begun begun;
    struct advance advance = {uuid, offset_bytes, clock_wall_us(), NULL};
    if (upload_begun_find(registry->begun, uuid, owner->full_name, owner->principal, &begun)) {
        begun.touched_us = advance.now_us;
        advance.begun = &begun;
        if (!offset_bytes) {
            upload_begun_touch(registry->begun, uuid, advance.now_us);
            return OK;
        }
    }
    enum err e = db_tx(registry->db, advance_tx, &advance);
    if (!e && advance.begun)
        upload_begun_remove(registry->begun, uuid);
    return e;
}

struct delete
{
    str uuid;
    int64_t deleted; /* rows */
};

static enum err delete_tx(struct db_conn *conn, void *arg)
{
    struct delete *delete = arg;
    return db_exec_count(conn, Q_UPLOAD_DELETE, &delete->deleted, DB_TEXT(delete->uuid));
}

/* After the commit. One that was begun has no row, but for what is left of a commit that seemed to
 * fail. */
static void ended(struct registry *registry, const struct delete *delete)
{
    if (upload_begun_remove(registry->begun, delete->uuid) || delete->deleted)
        atomic_fetch_sub(&registry->uploads_n, 1);
}

enum err upload_delete(struct registry *registry, str uuid)
{
    struct delete delete = {.uuid = uuid};
    enum err e = db_tx(registry->db, delete_tx, &delete);
    if (!e)
        ended(registry, &delete);
    return e;
}

struct keep {
    struct upload_begun list[KEEP_ROWS];
    size_t n;
};

static enum err keep_tx(struct db_conn *conn, void *arg)
{
    const struct keep *keep = arg;
    enum err e = OK;
    for (size_t i = 0; !e && i < keep->n; i++)
        e = insert(conn, &keep->list[i], 0);
    return e;
}

enum err upload_keep_begun(struct registry *registry)
{
    ARENA_CLEANUP struct arena a = {0};
    struct keep *keep = ARENA_NEW(&a, struct keep);
    enum err e = OK;
    do {
        ARENA_CLEANUP struct arena texts = {0};
        keep->n = 0;
        while (keep->n < KEEP_ROWS &&
               upload_begun_take(registry->begun, &texts, &keep->list[keep->n]))
            keep->n++;
        if (keep->n)
            e = db_tx(registry->db, keep_tx, keep);
    } while (!e && keep->n);
    return e;
}

struct commit {
    const struct upload_commit *what;
    struct delete delete;
    str store_key; /* ours; p == NULL when the stored content is linked instead */
    bool replace;  /* the stored content's file is unusable: its row gets our key */
    bool adopted;  /* our file is in use now */
};

static enum err commit_blob(struct db_conn *conn, struct commit *commit, struct blob *blob)
{
    const struct upload_commit *what = commit->what;
    enum err e;
    commit->adopted = false;
    if (!commit->store_key.p) {
        e = blob_find(conn, &what->digest, blob);
        return !e && blob->damaged ? ERR_BLOB_UNKNOWN : e; /* found rotten meanwhile */
    }
    e = blob_adopt(conn, &what->digest, what->size_bytes, commit->store_key, what->maker.now_us,
                   blob, &commit->adopted);
    if (!e && !commit->adopted && commit->replace) {
        commit->adopted = true;
        e = db_exec(conn, Q_DEAD_BLOB_ADD, DB_TEXT(str_make(blob->store_key, STORE_KEY_LEN)),
                    DB_INT(blob->size_bytes), DB_INT(what->maker.now_us));
        if (!e)
            e = db_exec(conn, Q_BLOB_REPLACE_KEY, DB_TEXT(commit->store_key), DB_INT(blob->id));
    }
    return e;
}

static enum err commit_tx(struct db_conn *conn, void *arg)
{
    struct commit *commit = arg;
    const struct upload_commit *what = commit->what;
    struct repository repository;
    struct blob blob;
    enum err e = commit_blob(conn, commit, &blob);
    if (!e)
        e = repository_ensure(conn, what->name, &what->maker, &repository);
    if (!e)
        e = blob_link(conn, &repository, &blob, what->maker.now_us);
    return e ? e : delete_tx(conn, &commit->delete);
}

/* Whether the content is stored already, and its file can be read and is whole as far as its size
 * tells. Otherwise what is being pushed takes its place. */
static enum err look_up(struct registry *registry, struct db_conn *conn,
                        const struct upload_commit *what, bool *stored, bool *damaged)
{
    struct blob blob;
    struct file *file;
    enum err e = blob_find(conn, &what->digest, &blob);
    *stored = *damaged = false;
    if (e)
        return e == ERR_BLOB_UNKNOWN ? OK : e;
    e = blob_open(registry->store, &blob, &file);
    if (e == OK)
        file_unref(file);
    if (e && e != ERR_BLOB_UNKNOWN && e != ERR_BLOB_UNREADABLE)
        return e;
    *stored = e == OK && !blob.damaged;
    *damaged = !*stored;
    return OK;
}

/* Publishes the bytes, unless content that is stored already will do. */
static enum err provide(struct registry *registry, struct db_conn *conn, struct upload *upload,
                        struct commit *commit, char key[STORE_KEY_LEN])
{
    bool stored;
    enum err e = look_up(registry, conn, commit->what, &stored, &commit->replace);
    if (e || stored)
        return e;
    e = upload_publish(upload, commit->what->size_bytes, key);
    if (!e)
        commit->store_key = str_make(key, STORE_KEY_LEN);
    return e;
}

enum err upload_finish(struct registry *registry, struct db_conn *conn, struct upload *upload,
                       const struct upload_commit *what)
{
    char key[STORE_KEY_LEN], uuid[UUID_LEN];
    memcpy(uuid, upload->uuid, UUID_LEN);
    struct commit commit = {.what = what, .delete.uuid = str_make(uuid, UUID_LEN)};
    enum err e;
    do { /* again when the stored content was collected, or found rotten, before it was linked */
        e = provide(registry, conn, upload, &commit, key);
        if (e)
            return e;
        e = db_tx(registry->db, commit_tx, &commit);
    } while (e == ERR_BLOB_UNKNOWN && !commit.store_key.p);
    if (!e)
        ended(registry, &commit.delete);
    /* One of the two names is left over. After a commit that failed in the middle, which may turn
     * out to have happened, the upload's goes, so that nobody can write behind the blob's. */
    bool unknown = e == ERR_IO || e == ERR_DB || e == ERR_DB_CORRUPT;
    enum err swept = OK;
    if (commit.store_key.p && !unknown && (e || !commit.adopted))
        swept = store_blob_unlink(registry->store, commit.store_key);
    if (!swept && (!e || unknown))
        swept = upload_discard(upload);
    if (swept)
        LOG(WARN, "stray_file_left", log_str("upload", commit.delete.uuid), log_err(swept));
    return e;
}

struct mount {
    const struct name *from, *to;
    const struct digest *digest;
    const struct maker *maker;
};

static enum err mount_tx(struct db_conn *conn, void *arg)
{
    const struct mount *mount = arg;
    struct repository repository;
    struct blob blob;
    enum err e = blob_find_linked(conn, mount->from->full, mount->digest, &blob);
    if (!e)
        e = repository_ensure(conn, mount->to, mount->maker, &repository);
    return e ? e : blob_link(conn, &repository, &blob, mount->maker->now_us);
}

enum err blob_mount(struct registry *registry, const struct name *from, const struct name *to,
                    const struct digest *digest, const struct maker *maker)
{
    struct mount mount = {from, to, digest, maker};
    return db_tx(registry->db, mount_tx, &mount);
}
