#include "registry/referrer.h"

enum err referrer_add(struct db_conn *conn, const struct repository *repository,
                      const struct manifest *manifest, const struct digest *digest, int64_t body)
{
    return db_exec(conn, Q_REFERRER_INSERT, DB_INT(repository->id),
                   DB_BYTES(digest_stored(&manifest->subject)), DB_BYTES(digest_stored(digest)),
                   DB_TEXT_OR_NULL(manifest->artifact_type), DB_INT(body));
}

enum err referrer_remove(struct db_conn *conn, const struct repository *repository,
                         const struct digest *digest, int64_t body)
{
    return db_exec(conn, Q_REFERRER_DELETE, DB_INT(repository->id), DB_BYTES(digest_stored(digest)),
                   DB_INT(body));
}

static enum err write_descriptor(struct db_cursor *c, struct arena *a, struct json_writer *w,
                                 struct digest *digest)
{
    if (!digest_from_stored(db_bytes(c, 0), digest))
        return ERR_DB_CORRUPT;
    jw_object(w);
    jw_field(w, "mediaType", db_text(c, 1));
    jw_field(w, "digest", digest_text(a, digest));
    jw_key(w, "size");
    jw_int(w, db_int(c, 3));
    if (!db_is_null(c, 2))
        jw_field(w, "artifactType", db_text(c, 2));
    if (!db_is_null(c, 4)) {
        jw_key(w, "annotations");
        jw_raw(w, db_text(c, 4));
    }
    jw_end(w);
    return OK;
}

static struct db_cursor query_page(struct db_conn *conn, const struct repository *repository,
                                   const struct referrer_page *page)
{
    struct db_value subject = DB_BYTES(digest_stored(page->subject));
    struct db_value last = DB_BYTES(digest_stored(&page->last));
    if (page->artifact_type.p)
        return db_query(conn, Q_REFERRER_LIST_TYPE, DB_INT(repository->id), subject,
                        DB_TEXT(page->artifact_type), last, DB_INT(page->limit + 1));
    return db_query(conn, Q_REFERRER_LIST, DB_INT(repository->id), subject, last,
                    DB_INT(page->limit + 1));
}

enum err referrer_list(struct db_conn *conn, const struct repository *repository,
                       struct referrer_page *page, struct arena *a, struct json_writer *w,
                       bool *more)
{
    struct referrer_page start = *page; /* the statement keeps slices of it */
    size_t written = 0;
    DB_CURSOR struct db_cursor c = query_page(conn, repository, &start);
    *more = false;
    while (db_next(&c)) {
        size_t annotations = db_text(&c, 4).n;
        bool fits = written < page->limit && w->out->n + annotations + 1024 < page->bytes_max;
        if (!fits && (written || page->limit == 0)) {
            *more = page->limit > 0;
            break;
        }
        enum err e = write_descriptor(&c, a, w, &page->last);
        if (e)
            return e;
        written++;
    }
    return c.err;
}
