#include "registry/tag_history.h"

/* A row of Q_TAG_LOG. */
static enum err read_lifetime(const struct db_cursor *c, struct arena *a, struct tag_lifetime *ret)
{
    *ret = (struct tag_lifetime){
        .id = db_int(c, 0),
        .from_us = db_int(c, 2),
        .from_by = db_copy(c, 3, a),
        .until_us = db_is_null(c, 4) ? TAG_NOW : db_int(c, 4),
        .until_by = db_copy(c, 5, a),
        .media_type = db_copy(c, 6, a),
    };
    return digest_from_stored(db_bytes(c, 1), &ret->digest) ? OK : ERR_DB_CORRUPT;
}

enum err tag_log(struct db_conn *conn, const struct repository *repository, str name,
                 const struct tag_lifetime *last, size_t limit, struct arena *a,
                 struct tag_lifetime **list, size_t *n)
{
    struct tag_lifetime *items = ARENA_ARRAY(a, limit, struct tag_lifetime);
    size_t count = 0;
    DB_CURSOR struct db_cursor c = db_query(conn, Q_TAG_LOG, DB_INT(repository->id), DB_TEXT(name),
                                            DB_INT(last ? last->from_us : INT64_MAX),
                                            DB_INT(last ? last->id : INT64_MAX), DB_INT(limit));
    while (count < limit && db_next(&c)) {
        enum err e = read_lifetime(&c, a, &items[count++]);
        if (e)
            return e;
    }
    if (c.err)
        return c.err;
    if (count == 0 && limit > 0 && !last)
        return ERR_TAG_UNKNOWN;
    *list = items;
    *n = count;
    return OK;
}

enum err tag_began(struct db_conn *conn, const struct repository *repository, str name,
                   int64_t *ret)
{
    DB_CURSOR struct db_cursor c =
        db_query(conn, Q_TAG_BEGAN, DB_INT(repository->id), DB_TEXT(name));
    if (!db_next(&c))
        return c.err ? c.err : ERR_TAG_UNKNOWN;
    *ret = db_int(&c, 0);
    return OK;
}

/* Lifetimes do not overlap, so the last one to begin by then is the only one that counts. */
static enum err find_at(struct db_conn *conn, const struct repository *repository, str name,
                        int64_t at_us, struct arena *a, struct tag_lifetime *ret)
{
    bool now = at_us == TAG_NOW;
    const struct tag_lifetime later = {.from_us = now ? 0 : at_us + 1};
    struct tag_lifetime *found;
    size_t n;
    enum err e = tag_log(conn, repository, name, now ? NULL : &later, 1, a, &found, &n);
    if (e)
        return e;
    if (n == 0 || (found->until_us != TAG_NOW && found->until_us <= at_us))
        return ERR_TAG_ABSENT;
    *ret = *found;
    return OK;
}

enum err tag_at(struct db_conn *conn, const struct repository *repository, str name, int64_t at_us,
                struct arena *a, struct tag_lifetime *ret)
{
    int64_t began_us;
    enum err e = find_at(conn, repository, name, at_us, a, ret);
    if (e != ERR_TAG_ABSENT)
        return e;
    e = tag_began(conn, repository, name, &began_us);
    return e ? e : ERR_TAG_ABSENT;
}

static enum err check_pointed_at(struct db_conn *conn, const struct repository *repository,
                                 const struct tag_restore *r)
{
    int64_t began_us;
    enum err e = tag_began(conn, repository, r->tag, &began_us);
    if (e)
        return e;
    DB_CURSOR struct db_cursor c = db_query(conn, Q_TAG_POINTED_AT, DB_INT(repository->id),
                                            DB_TEXT(r->tag), DB_BYTES(digest_stored(&r->digest)));
    return db_next(&c) ? OK : c.err ? c.err : ERR_TAG_ABSENT;
}

static enum err check_linked(struct db_conn *conn, const struct repository *repository,
                             const struct digest *digest)
{
    DB_CURSOR struct db_cursor c = db_query(conn, Q_MANIFEST_IS_LINKED, DB_INT(repository->id),
                                            DB_BYTES(digest_stored(digest)));
    return db_next(&c) ? OK : c.err ? c.err : ERR_MANIFEST_DELETED;
}

enum err tag_restore_tx(struct db_conn *conn, void *arg)
{
    struct tag_restore *r = arg;
    struct repository repository;
    struct tag_lifetime then;
    struct digest current;
    enum err e = repository_find(conn, r->name->full, &repository);
    if (e)
        return e;
    if (r->by_digest) {
        e = check_pointed_at(conn, &repository, r);
    } else if (!(e = tag_at(conn, &repository, r->tag, r->at_us, r->arena, &then))) {
        r->digest = then.digest;
    }
    if (!e)
        e = check_linked(conn, &repository, &r->digest);
    if (e)
        return e;
    e = tag_get(conn, &repository, r->tag, &current);
    if (e && e != ERR_MANIFEST_UNKNOWN)
        return e;
    r->changed = e || !digest_eq(&current, &r->digest);
    return tag_set(conn, &repository, r->tag, &r->digest, &r->maker);
}
