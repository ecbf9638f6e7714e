#include "registry/upload.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"

enum err upload_find(struct db_conn *conn, str uuid, str full_name, str principal,
                     struct upload_row *ret)
{
    DB_CURSOR struct db_cursor c =
        db_query(conn, Q_UPLOAD_FIND, DB_TEXT(uuid), DB_TEXT(full_name), DB_TEXT(principal));
    if (!db_next(&c))
        return c.err ? c.err : ERR_BLOB_UPLOAD_UNKNOWN;
    *ret = (struct upload_row){
        .algorithm = (enum digest_algorithm)db_int(&c, 0),
        .offset_bytes = (uint64_t)db_int(&c, 1),
    };
    return OK;
}

struct create {
    str uuid, full_name, principal;
    enum digest_algorithm algorithm;
};

static enum err create_tx(struct db_conn *conn, void *arg)
{
    const struct create *create = arg;
    return db_exec(conn, Q_UPLOAD_INSERT, DB_TEXT(create->uuid), DB_TEXT(create->full_name),
                   DB_TEXT(create->principal), DB_INT(create->algorithm), DB_INT(clock_wall_us()));
}

enum err upload_create(struct registry *registry, str full_name, str principal,
                       enum digest_algorithm algorithm, char uuid[UUID_LEN])
{
    uint8_t id[16];
    uuid_new(id);
    struct create create = {.uuid = uuid_format(id, uuid),
                            .full_name = full_name,
                            .principal = principal,
                            .algorithm = algorithm};
    if (atomic_fetch_add(&registry->uploads_n, 1) >= registry->uploads_max) {
        atomic_fetch_sub(&registry->uploads_n, 1);
        metric_limit(LIMIT_UPLOADS);
        return ERR_TOO_MANY_REQUESTS;
    }
    enum err e = db_tx(registry->db, create_tx, &create);
    if (e)
        atomic_fetch_sub(&registry->uploads_n, 1);
    return e;
}

struct advance {
    str uuid;
    uint64_t offset_bytes;
};

static enum err advance_tx(struct db_conn *conn, void *arg)
{
    const struct advance *advance = arg;
    return db_exec(conn, Q_UPLOAD_ADVANCE, DB_INT(advance->offset_bytes), DB_INT(clock_wall_us()),
                   DB_TEXT(advance->uuid));
}

enum err upload_advance(struct registry *registry, str uuid, uint64_t offset_bytes)
{
    struct advance advance = {uuid, offset_bytes};
    return db_tx(registry->db, advance_tx, &advance);
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

enum err upload_delete(struct registry *registry, str uuid)
{
    struct delete delete = {.uuid = uuid};
    enum err e = db_tx(registry->db, delete_tx, &delete);
    if (!e)
        atomic_fetch_sub(&registry->uploads_n, (uint64_t) delete.deleted);
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

/* Whether the content is stored already, and its file is whole as far as its size tells. */
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
    if (e && e != ERR_BLOB_UNKNOWN)
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
        atomic_fetch_sub(&registry->uploads_n, (uint64_t)commit.delete.deleted);
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
