#include "registry/manifest.h"

#include "registry/referrer.h"
#include "registry/tag.h"

static enum err find(struct db_conn *conn, str full_name, const struct reference *reference,
                     struct arena *a, struct manifest_view *ret)
{
    DB_CURSOR struct db_cursor c =
        reference->is_digest
            ? db_query(conn, Q_MANIFEST_GET_BY_DIGEST, DB_TEXT(full_name),
                       DB_BYTES(digest_stored(&reference->digest)))
            : db_query(conn, Q_MANIFEST_GET_BY_TAG, DB_TEXT(full_name), DB_TEXT(reference->tag));
    if (!db_next(&c))
        return c.err ? c.err : ERR_MANIFEST_UNKNOWN;
    *ret = (struct manifest_view){
        .media_type = db_copy(&c, 1, a),
        .size_bytes = (uint64_t)db_int(&c, 2),
        .review_from = db_int(&c, 3),
        .body = db_int(&c, 4),
    };
    return digest_from_stored(db_bytes(&c, 0), &ret->digest) ? OK : ERR_DB_CORRUPT;
}

/* On a connection without a snapshot the body may just have been collected. */
static enum err read_bytes(struct db_conn *conn, struct arena *a, struct manifest_view *view)
{
    DB_CURSOR struct db_cursor c = db_query(conn, Q_MANIFEST_BYTES, DB_INT(view->body));
    if (!db_next(&c))
        return c.err ? c.err : ERR_MANIFEST_UNKNOWN;
    view->bytes = db_copy(&c, 0, a);
    return view->bytes.n == view->size_bytes ? OK : ERR_DB_CORRUPT;
}

enum err manifest_get(struct db_conn *conn, str full_name, const struct reference *reference,
                      bool with_bytes, struct arena *a, struct manifest_view *ret)
{
    struct manifest_view view;
    enum err e = find(conn, full_name, reference, a, &view);
    if (!e && with_bytes)
        e = read_bytes(conn, a, &view);
    if (!e)
        *ret = view;
    return e;
}

/* Size of the content a reference names, if it is linked in the repository. */
static enum err find_linked(struct db_conn *conn, const struct repository *repository,
                            const struct manifest_ref *ref, uint64_t *size_bytes)
{
    enum query q = ref->is_manifest ? Q_MANIFEST_IS_LINKED : Q_BLOB_IS_LINKED;
    DB_CURSOR struct db_cursor c =
        db_query(conn, q, DB_INT(repository->id), DB_BYTES(digest_stored(&ref->digest)));
    if (!db_next(&c))
        return c.err ? c.err : ERR_NOT_FOUND;
    *size_bytes = (uint64_t)db_int(&c, ref->is_manifest ? 1 : 0);
    return OK;
}

/* This is where a manifest's references are checked: each must be linked in this repository, not
 * merely exist somewhere, or a push could read other people's content. */
static enum err check_references(struct db_conn *conn, const struct repository *repository,
                                 struct manifest_put *put)
{
    const struct manifest *manifest = put->manifest;
    bool any_missing = false;
    put->wrong_size = -1;
    for (size_t i = 0; i < manifest->ref_n; i++) {
        const struct manifest_ref *ref = &manifest->refs[i];
        uint64_t size_bytes;
        enum err e = find_linked(conn, repository, ref, &size_bytes);
        put->missing[i] = e == ERR_NOT_FOUND && !ref->optional && !put->sparse;
        any_missing |= put->missing[i];
        if (e && e != ERR_NOT_FOUND)
            return e;
        if (!e && size_bytes != ref->size_bytes && put->wrong_size < 0)
            put->wrong_size = (int64_t)i;
    }
    if (any_missing)
        return ERR_MANIFEST_BLOB_UNKNOWN;
    return put->wrong_size < 0 ? OK : ERR_MANIFEST_INVALID;
}

static enum err insert_references(struct db_conn *conn, int64_t body,
                                  const struct manifest *manifest)
{
    for (size_t i = 0; i < manifest->ref_n; i++) {
        const struct manifest_ref *ref = &manifest->refs[i];
        enum query q = ref->is_manifest ? Q_MANIFEST_CHILD_INSERT : Q_MANIFEST_BLOB_INSERT;
        enum err e =
            db_exec(conn, q, DB_INT(body), DB_INT(i), DB_BYTES(digest_stored(&ref->digest)));
        if (e)
            return e;
    }
    return OK;
}

static enum err body_insert(struct db_conn *conn, const struct manifest_put *put, int64_t *ret)
{
    const struct manifest *manifest = put->manifest;
    struct db_value subject =
        manifest->has_subject ? DB_BYTES(digest_stored(&manifest->subject)) : DB_NULL;
    {
        DB_CURSOR struct db_cursor c = db_query(
            conn, Q_MANIFEST_BODY_INSERT, DB_BYTES(digest_stored(&put->digest)),
            DB_TEXT(manifest_type_text(manifest->type)), DB_TEXT_OR_NULL(manifest->artifact_type),
            subject, DB_TEXT_OR_NULL(manifest->annotations), DB_INT(put->bytes.n),
            DB_BYTES(put->bytes));
        if (!db_next(&c))
            return c.err ? c.err : ERR_DB;
        *ret = db_int(&c, 0);
    }
    enum err e = insert_references(conn, *ret, manifest);
    return e ? e : facts_insert(conn, *ret, put->facts);
}

static enum err body_ensure(struct db_conn *conn, const struct manifest_put *put, int64_t *ret)
{
    {
        DB_CURSOR struct db_cursor c =
            db_query(conn, Q_MANIFEST_BODY_FIND, DB_BYTES(digest_stored(&put->digest)));
        if (db_next(&c)) {
            *ret = db_int(&c, 0);
            return OK;
        }
        if (c.err)
            return c.err;
    }
    return body_insert(conn, put, ret);
}

/* The body's id when the repository has the manifest. */
static enum err linked_body(struct db_conn *conn, const struct repository *repository,
                            const struct digest *digest, int64_t *body, uint64_t *size_bytes)
{
    DB_CURSOR struct db_cursor c = db_query(conn, Q_MANIFEST_IS_LINKED, DB_INT(repository->id),
                                            DB_BYTES(digest_stored(digest)));
    if (!db_next(&c))
        return c.err ? c.err : ERR_MANIFEST_UNKNOWN;
    *body = db_int(&c, 0);
    *size_bytes = (uint64_t)db_int(&c, 1);
    return OK;
}

static enum err check_condition(struct db_conn *conn, const struct repository *repository,
                                const struct manifest_put *put)
{
    struct digest current = put->digest;
    int64_t body;
    uint64_t size_bytes;
    if (!put->condition)
        return OK;
    enum err e = put->tag_n ? tag_get(conn, repository, put->tags[0], &current)
                            : linked_body(conn, repository, &current, &body, &size_bytes);
    if (e && e != ERR_MANIFEST_UNKNOWN)
        return e;
    bool holds = put->condition(put->condition_arg, e ? NULL : &current);
    return holds ? OK : ERR_PRECONDITION_FAILED;
}

static enum err set_tags(struct db_conn *conn, const struct repository *repository,
                         const struct manifest_put *put)
{
    enum err e = OK;
    for (size_t i = 0; !e && i < put->tag_n; i++)
        e = tag_set(conn, repository, put->tags[i], &put->digest, &put->maker);
    return e;
}

enum err manifest_put_tx(struct db_conn *conn, void *arg)
{
    struct manifest_put *put = arg;
    const struct maker *maker = &put->maker;
    struct repository repository;
    int64_t body;
    uint64_t size_bytes;
    enum err e = repository_ensure(conn, put->name, maker, &repository);
    if (!e)
        e = check_condition(conn, &repository, put);
    if (!e)
        e = check_references(conn, &repository, put);
    if (e)
        return e;
    bool is_new = false;
    e = linked_body(conn, &repository, &put->digest, &body, &size_bytes);
    if (e == ERR_MANIFEST_UNKNOWN) {
        is_new = true;
        e = body_ensure(conn, put, &body);
    }
    if (!e)
        e = db_exec(conn, Q_MANIFEST_LINK, DB_INT(repository.id), DB_INT(body),
                    DB_INT(maker->now_us), DB_TEXT(maker->principal));
    if (!e) /* from here on they are in use, and nobody need look at them */
        e = db_exec(conn, Q_REVIEW_END_OF, DB_INT(repository.id), DB_INT(body));
    if (!e && is_new)
        e = repository_add_size(conn, &repository, (int64_t)put->bytes.n, (int64_t)put->bytes.n);
    if (!e && put->manifest->has_subject)
        e = referrer_add(conn, &repository, put->manifest, &put->digest, body);
    return e ? e : set_tags(conn, &repository, put);
}

enum err manifest_unlinked(struct db_conn *conn, const struct repository *repository,
                           const struct manifest_gone *gone)
{
    struct db_value from = DB_INT(gone->review_from), in = DB_INT(repository->id);
    struct db_value body = DB_INT(gone->body), digest = DB_BYTES(digest_stored(&gone->digest));
    enum err e = referrer_remove(conn, repository, &gone->digest, gone->body);
    if (!e)
        e = tag_end_by_digest(conn, repository, &gone->digest, gone->by, gone->now_us);
    if (!e)
        e = repository_add_size(conn, repository, -(int64_t)gone->size_bytes,
                                -(int64_t)gone->size_bytes);
    if (!e)
        e = db_exec(conn, Q_REVIEW_BLOBS_OF, from, in, body);
    if (!e)
        e = db_exec(conn, Q_REVIEW_CHILDREN_OF, from, in, body);
    if (!e)
        e = db_exec(conn, Q_REVIEW_REFERRERS_OF, from, in, digest);
    return e ? e : db_exec(conn, Q_REVIEW_BODY, from, body);
}

static enum err delete_by_digest(struct db_conn *conn, const struct repository *repository,
                                 const struct manifest_delete *del)
{
    struct manifest_gone gone = {
        .digest = del->reference->digest,
        .by = del->by,
        .now_us = del->now_us,
        .review_from = del->now_us,
    };
    enum err e = linked_body(conn, repository, &gone.digest, &gone.body, &gone.size_bytes);
    if (!e && del->condition && !del->condition(del->condition_arg, &gone.digest))
        e = ERR_PRECONDITION_FAILED;
    if (!e)
        e = db_exec(conn, Q_MANIFEST_UNLINK, DB_INT(repository->id), DB_INT(gone.body));
    return e ? e : manifest_unlinked(conn, repository, &gone);
}

static enum err delete_by_tag(struct db_conn *conn, const struct repository *repository,
                              const struct manifest_delete *del)
{
    struct digest current;
    enum err e = tag_get(conn, repository, del->reference->tag, &current);
    if (!e && del->condition && !del->condition(del->condition_arg, &current))
        e = ERR_PRECONDITION_FAILED;
    return e ? e : tag_end(conn, repository, del->reference->tag, del->by, del->now_us);
}

enum err manifest_delete_tx(struct db_conn *conn, void *arg)
{
    const struct manifest_delete *del = arg;
    struct repository repository;
    enum err e = repository_find(conn, del->name->full, &repository);
    if (e)
        return e;
    return del->reference->is_digest ? delete_by_digest(conn, &repository, del)
                                     : delete_by_tag(conn, &repository, del);
}
