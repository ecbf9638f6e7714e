#include "registry/tag.h"

/* The tag's current lifetime. */
static enum err tag_find(struct db_conn *conn, const struct repository *repository, str name,
                         int64_t *id, struct digest *digest)
{
    DB_CURSOR struct db_cursor c =
        db_query(conn, Q_TAG_FIND, DB_INT(repository->id), DB_TEXT(name));
    if (!db_next(&c))
        return c.err ? c.err : ERR_MANIFEST_UNKNOWN;
    *id = db_int(&c, 0);
    return digest_from_stored(db_bytes(&c, 1), digest) ? OK : ERR_DB_CORRUPT;
}

enum err tag_get(struct db_conn *conn, const struct repository *repository, str name,
                 struct digest *ret)
{
    int64_t id;
    return tag_find(conn, repository, name, &id, ret);
}

/* A tag's newest lifetime; id 0: it has none. */
struct newest {
    int64_t id;
    int64_t since_us; /* when it began, or, if it is over, ended */
    bool open;
    struct digest digest;
};

static enum err tag_find_newest(struct db_conn *conn, const struct repository *repository, str name,
                                struct newest *ret)
{
    *ret = (struct newest){0};
    DB_CURSOR struct db_cursor c =
        db_query(conn, Q_TAG_FIND_NEWEST, DB_INT(repository->id), DB_TEXT(name));
    if (!db_next(&c))
        return c.err;
    ret->id = db_int(&c, 0);
    ret->open = db_is_null(&c, 3);
    ret->since_us = db_int(&c, ret->open ? 2 : 3);
    return digest_from_stored(db_bytes(&c, 1), &ret->digest) ? OK : ERR_DB_CORRUPT;
}

/* Ends a lifetime; the manifest it kept alive is reviewed. */
static enum err end_lifetime(struct db_conn *conn, const struct repository *repository, int64_t id,
                             const struct digest *digest, str by, int64_t now_us)
{
    enum err e =
        db_exec(conn, Q_TAG_END, DB_INT(now_us), DB_TEXT(by), DB_INT(repository->id), DB_INT(id));
    return e ? e
             : db_exec(conn, Q_REVIEW_MANIFEST, DB_INT(now_us), DB_INT(repository->id),
                       DB_BYTES(digest_stored(digest)));
}

enum err tag_set(struct db_conn *conn, const struct repository *repository, str name,
                 const struct digest *digest, const struct maker *maker)
{
    struct newest newest;
    enum err e = tag_find_newest(conn, repository, name, &newest);
    if (e || (newest.open && digest_eq(&newest.digest, digest)))
        return e;
    int64_t now_us = maker->now_us > newest.since_us ? maker->now_us : newest.since_us;
    if (newest.open)
        e = end_lifetime(conn, repository, newest.id, &newest.digest, maker->principal, now_us);
    if (!e)
        e = db_exec(conn, Q_TAG_INSERT, DB_INT(repository->id), DB_TEXT(name),
                    DB_BYTES(digest_stored(digest)), DB_INT(now_us), DB_TEXT(maker->principal));
    if (!e && newest.id && maker->tag_history_max)
        e = db_exec(conn, Q_TAG_FORGET, DB_INT(repository->id), DB_TEXT(name),
                    DB_INT(maker->tag_history_max));
    return e;
}

enum err tag_end(struct db_conn *conn, const struct repository *repository, str name, str by,
                 int64_t now_us)
{
    int64_t id;
    struct digest digest;
    enum err e = tag_find(conn, repository, name, &id, &digest);
    return e ? e : end_lifetime(conn, repository, id, &digest, by, now_us);
}

enum err tag_end_by_digest(struct db_conn *conn, const struct repository *repository,
                           const struct digest *digest, str by, int64_t now_us)
{
    return db_exec(conn, Q_TAG_END_BY_DIGEST, DB_INT(now_us), DB_TEXT(by), DB_INT(repository->id),
                   DB_BYTES(digest_stored(digest)));
}

enum err tag_list(struct db_conn *conn, const struct repository *repository, str last, size_t limit,
                  struct arena *a, str **names, size_t *n)
{
    str *list = ARENA_ARRAY(a, limit, str);
    size_t count = 0;
    DB_CURSOR struct db_cursor c =
        db_query(conn, Q_TAG_LIST, DB_INT(repository->id), DB_TEXT(last), DB_INT(limit));
    while (count < limit && db_next(&c))
        list[count++] = db_copy(&c, 0, a);
    if (c.err)
        return c.err;
    *names = list;
    *n = count;
    return OK;
}

enum { LOOKED_AT_MAX = 2000, FARTHEST = 3 };

/* How unlike two tags are; a common beginning counts for more than letters in the middle. */
static unsigned unlikeness(str wanted, str tag)
{
    unsigned distance = str_distance(wanted, tag, FARTHEST);
    bool begins = str_starts(tag, wanted) || str_starts(wanted, tag);
    return begins && distance > 2 ? 2 : distance;
}

enum err tag_near(struct db_conn *conn, const struct repository *repository, str name,
                  struct arena *a, str near[TAG_NEAR_MAX], size_t *n)
{
    unsigned scores[TAG_NEAR_MAX];
    size_t count = 0;
    DB_CURSOR struct db_cursor c =
        db_query(conn, Q_TAG_LIST, DB_INT(repository->id), DB_TEXT(STR("")), DB_INT(LOOKED_AT_MAX));
    while (db_next(&c)) {
        unsigned score = unlikeness(name, db_text(&c, 0));
        size_t at = count;
        while (at > 0 && scores[at - 1] > score)
            at--;
        if (score > FARTHEST || at == TAG_NEAR_MAX)
            continue;
        count += count < TAG_NEAR_MAX;
        for (size_t i = count - 1; i > at; i--) {
            scores[i] = scores[i - 1];
            near[i] = near[i - 1];
        }
        scores[at] = score;
        near[at] = db_copy(&c, 0, a);
    }
    *n = count;
    return c.err;
}
