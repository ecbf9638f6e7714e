/* Manifests: bodies against their digests, what is noted about them against what they say, and what
 * they refer to. */
#include "base/clock.h"
#include "registry/check_private.h"
#include "registry/fact.h"
#include "registry/manifest_parse.h"
#include "registry/name.h"
#include "registry/referrer.h"
#include "json/read.h"

str check_manifest_where(const struct check_body *b)
{
    return arena_printf(b->arena, "manifest %.*s", STR_ARG(digest_text(b->arena, &b->digest)));
}

static str link_where(const struct check_body *b, str repository)
{
    return arena_printf(b->arena, "%.*s@%.*s", STR_ARG(repository),
                        STR_ARG(digest_text(b->arena, &b->digest)));
}

/* The next body behind b->id; b->id 0 when there is none. */
static enum err next_body(struct check_body *b, bool *malformed)
{
    DB_CURSOR struct db_cursor c = db_query(check_conn(b->check), Q_CHECK_BODY_NEXT, DB_INT(b->id));
    b->id = 0;
    if (!db_next(&c))
        return c.err;
    b->id = db_int(&c, 0);
    *malformed = !digest_from_stored(db_bytes(&c, 1), &b->digest) ||
                 digest_algorithm(&b->digest) == DIGEST_OTHER;
    b->media_type = db_copy(&c, 2, b->arena);
    b->artifact_type = db_copy(&c, 3, b->arena);
    b->subject = db_copy(&c, 4, b->arena);
    b->annotations = db_copy(&c, 5, b->arena);
    b->size_bytes = (uint64_t)db_int(&c, 6);
    b->bytes = db_copy(&c, 7, b->arena);
    return OK;
}

/* The repositories that link a body, in chunks. */
struct link {
    int64_t repository, project;
    str full_name;
};

static enum err read_links(struct db_conn *conn, struct arena *a, int64_t body, int64_t after,
                           struct link links[CHECK_CHUNK], size_t *n)
{
    DB_CURSOR struct db_cursor c =
        db_query(conn, Q_CHECK_BODY_LINKS, DB_INT(body), DB_INT(after), DB_INT(CHECK_CHUNK));
    for (*n = 0; db_next(&c); ++*n)
        links[*n] = (struct link){db_int(&c, 0), db_int(&c, 2), db_copy(&c, 1, a)};
    return c.err;
}

/* A body that rotted. */

/* As when it is deleted, but its tags stay: the push that repairs it finds them. */
static enum err review_what_it_named(struct db_conn *conn, const struct repository *repository,
                                     const struct check_body *b)
{
    struct db_value now = DB_INT(clock_wall_us()), in = DB_INT(repository->id);
    enum err e = db_exec(conn, Q_REVIEW_BLOBS_OF, now, in, DB_INT(b->id));
    if (!e)
        e = db_exec(conn, Q_REVIEW_CHILDREN_OF, now, in, DB_INT(b->id));
    return e ? e
             : db_exec(conn, Q_REVIEW_REFERRERS_OF, now, in, DB_BYTES(digest_stored(&b->digest)));
}

static enum err unlink_everywhere(struct db_conn *conn, const struct check_body *b)
{
    ARENA_CLEANUP struct arena a = {0};
    struct link *links = ARENA_ARRAY(&a, CHECK_CHUNK, struct link);
    size_t n;
    do {
        enum err e = read_links(conn, &a, b->id, 0, links, &n);
        for (size_t i = 0; !e && i < n; i++) {
            struct repository repository = {links[i].repository, links[i].project};
            e = db_exec(conn, Q_MANIFEST_UNLINK, DB_INT(repository.id), DB_INT(b->id));
            if (!e)
                e = referrer_remove(conn, &repository, &b->digest, b->id);
            if (!e)
                e = repository_add_size(conn, &repository, -(int64_t)b->size_bytes,
                                        -(int64_t)b->size_bytes);
            if (!e)
                e = review_what_it_named(conn, &repository, b);
        }
        if (e)
            return e;
    } while (n);
    return OK;
}

static enum err delete_notes(struct db_conn *conn, int64_t body)
{
    enum err e = db_exec(conn, Q_CHECK_CHILDREN_DELETE, DB_INT(body));
    if (!e)
        e = db_exec(conn, Q_CHECK_BLOB_REFS_DELETE, DB_INT(body));
    return e;
}

static enum err remove_body_tx(struct db_conn *conn, void *arg)
{
    const struct check_body *b = arg;
    enum err e = unlink_everywhere(conn, b);
    if (!e)
        e = delete_notes(conn, b->id);
    if (!e)
        e = db_exec(conn, Q_CHECK_FACTS_DELETE, DB_INT(b->id));
    return e ? e : db_exec(conn, Q_CHECK_BODY_DELETE, DB_INT(b->id));
}

static enum err quarantine_body(struct check_body *b)
{
    str text = digest_text(b->arena, &b->digest);
    str hex = str_skip(text, str_find(text, ':') + 1);
    enum err e = store_quarantine_write(
        b->check->store, arena_printf(b->arena, "manifest-%.*s", STR_ARG(hex)).p, b->bytes);
    return e ? e : db_tx(b->check->db, remove_body_tx, b);
}

/* Columns. */

/* Text of the same meaning: how a JSON object is spelled is the writer's choice. */
static bool json_same(struct arena *a, str x, str y)
{
    JSON_CLEANUP json_t *left = NULL, *right = NULL;
    str why;
    if (!x.p || !y.p)
        return x.p == y.p;
    return str_eq(x, y) || (json_read(a, x, &left, &why) == OK &&
                            json_read(a, y, &right, &why) == OK && json_equal(left, right));
}

static bool same_or_null(str x, str y)
{
    return x.p && y.p ? str_eq(x, y) : x.p == y.p;
}

static str parsed_subject(const struct manifest *m)
{
    return m->has_subject ? digest_stored(&m->subject) : str_make(NULL, 0);
}

static enum err check_columns(struct check_body *b)
{
    const struct manifest *m = &b->manifest;
    str type = manifest_type_text(m->type), subject = parsed_subject(m);
    const char *wrong = !str_eq(b->media_type, type)                           ? "media_type"
                        : !same_or_null(b->artifact_type, m->artifact_type)    ? "artifact_type"
                        : !same_or_null(b->subject, subject)                   ? "subject"
                        : !json_same(b->arena, b->annotations, m->annotations) ? "annotations"
                        : b->size_bytes != b->bytes.n                          ? "size_bytes"
                                                                               : NULL;
    if (!wrong)
        return OK;
    struct check *c = b->check;
    enum err e = OK;
    if (c->repair)
        e = check_exec(c, Q_CHECK_BODY_UPDATE, DB_TEXT(type), DB_TEXT_OR_NULL(m->artifact_type),
                       m->has_subject ? DB_BYTES(subject) : DB_NULL,
                       DB_TEXT_OR_NULL(m->annotations), DB_INT(b->bytes.n), DB_INT(b->id));
    if (!e)
        check_found(c, FINDING_MANIFEST_COLUMNS, check_repaired(c), check_manifest_where(b),
                    "column %s", wrong);
    return e;
}

/* References: rows at the positions of the body's references of that kind, and no others. */
static enum err refs_match(struct check_body *b, enum query q, bool manifests, bool *ret)
{
    const struct manifest *m = &b->manifest;
    size_t i = 0;
    *ret = true;
    DB_CURSOR struct db_cursor c = db_query(check_conn(b->check), q, DB_INT(b->id));
    while (*ret && db_next(&c)) {
        while (i < m->ref_n && m->refs[i].is_manifest != manifests)
            i++;
        *ret = i < m->ref_n && db_int(&c, 0) == (int64_t)i &&
               str_eq(db_bytes(&c, 1), digest_stored(&m->refs[i].digest));
        i++;
    }
    while (i < m->ref_n && m->refs[i].is_manifest != manifests)
        i++;
    *ret = *ret && i >= m->ref_n;
    return c.err;
}

static enum err rewrite_refs_tx(struct db_conn *conn, void *arg)
{
    const struct check_body *b = arg;
    enum err e = delete_notes(conn, b->id);
    for (size_t i = 0; !e && i < b->manifest.ref_n; i++) {
        const struct manifest_ref *ref = &b->manifest.refs[i];
        e = db_exec(conn, ref->is_manifest ? Q_MANIFEST_CHILD_INSERT : Q_MANIFEST_BLOB_INSERT,
                    DB_INT(b->id), DB_INT(i), DB_BYTES(digest_stored(&ref->digest)));
    }
    return e;
}

static enum err check_refs(struct check_body *b)
{
    struct check *c = b->check;
    bool children, blobs;
    enum err e = refs_match(b, Q_CHECK_CHILDREN, true, &children);
    if (!e)
        e = refs_match(b, Q_CHECK_BLOB_REFS, false, &blobs);
    if (e || (children && blobs))
        return e;
    if (c->repair)
        e = db_tx(c->db, rewrite_refs_tx, b);
    if (!e)
        check_found(c, FINDING_MANIFEST_REFERENCES, check_repaired(c), check_manifest_where(b),
                    "%s",
                    !children && !blobs ? "manifests and blobs"
                    : children          ? "blobs"
                                        : "manifests");
    return e;
}

/* Links. */

static bool may_be_sparse(const struct check *c, str full_name)
{
    for (size_t i = 0; i < c->sparse_n; i++)
        if (name_matches(full_name, c->sparse[i]))
            return true;
    return false;
}

static enum err is_linked(struct check *c, int64_t repository, const struct manifest_ref *ref,
                          bool *ret)
{
    struct db_value digest = DB_BYTES(digest_stored(&ref->digest));
    DB_CURSOR struct db_cursor cursor =
        ref->is_manifest ? db_query(check_conn(c), Q_MANIFEST_IS_LINKED, DB_INT(repository), digest)
                         : db_query(check_conn(c), Q_CHECK_BLOB_LINK, digest, DB_INT(repository));
    *ret = db_next(&cursor);
    return cursor.err;
}

static enum err check_link_refs(struct check_body *b, const struct link *link)
{
    const struct manifest *m = &b->manifest;
    if (may_be_sparse(b->check, link->full_name))
        return OK;
    for (size_t i = 0; i < m->ref_n; i++) {
        bool linked = true;
        enum err e =
            m->refs[i].optional ? OK : is_linked(b->check, link->repository, &m->refs[i], &linked);
        if (e)
            return e;
        if (!linked)
            check_found(b->check,
                        m->refs[i].is_manifest ? FINDING_CHILD_MISSING : FINDING_BLOB_UNLINKED,
                        FINDING_LEFT, link_where(b, link->full_name), "%.*s",
                        STR_ARG(digest_text(b->arena, &m->refs[i].digest)));
    }
    return OK;
}

struct add_referrer {
    const struct check_body *body;
    struct repository repository;
};

static enum err add_referrer_tx(struct db_conn *conn, void *arg)
{
    const struct add_referrer *add = arg;
    const struct check_body *b = add->body;
    enum err e =
        db_exec(conn, Q_CHECK_REFERRER_DELETE, DB_INT(add->repository.id),
                DB_BYTES(parsed_subject(&b->manifest)), DB_BYTES(digest_stored(&b->digest)));
    return e ? e : referrer_add(conn, &add->repository, &b->manifest, &b->digest, b->id);
}

static enum err is_listed(const struct check_body *b, int64_t repository, bool *ret)
{
    const struct manifest *m = &b->manifest;
    DB_CURSOR struct db_cursor c =
        db_query(check_conn(b->check), Q_CHECK_REFERRER, DB_INT(repository),
                 DB_BYTES(parsed_subject(m)), DB_BYTES(digest_stored(&b->digest)));
    *ret = db_next(&c) && db_int(&c, 0) == b->id &&
           same_or_null(db_text(&c, 1), m->artifact_type) &&
           str_eq(db_text(&c, 2), manifest_type_text(m->type)) &&
           (uint64_t)db_int(&c, 3) == b->bytes.n &&
           json_same(b->arena, db_text(&c, 4), m->annotations);
    return c.err;
}

static enum err check_referrer(struct check_body *b, const struct link *link)
{
    struct check *c = b->check;
    bool listed;
    if (!b->manifest.has_subject)
        return OK;
    enum err e = is_listed(b, link->repository, &listed);
    if (e || listed)
        return e;
    struct add_referrer add = {b, {link->repository, link->project}};
    e = c->repair ? db_tx(c->db, add_referrer_tx, &add) : OK;
    if (!e)
        check_found(c, FINDING_REFERRER_MISSING, check_repaired(c), link_where(b, link->full_name),
                    "subject %.*s", STR_ARG(digest_text(b->arena, &b->manifest.subject)));
    return e;
}

static enum err check_links(struct check_body *b)
{
    int64_t after = 0;
    size_t n;
    do {
        ARENA_CLEANUP struct arena chunk = {0};
        struct link *links = ARENA_ARRAY(&chunk, CHECK_CHUNK, struct link);
        enum err e = read_links(check_conn(b->check), &chunk, b->id, after, links, &n);
        for (size_t i = 0; !e && i < n; i++) {
            e = check_link_refs(b, &links[i]);
            if (!e)
                e = check_referrer(b, &links[i]);
        }
        if (e)
            return e;
        after = n ? links[n - 1].repository : 0;
    } while (n == CHECK_CHUNK);
    return OK;
}

static enum err check_body(struct check_body *b)
{
    struct check *c = b->check;
    struct digest digest;
    struct error why = {0};
    enum err e;
    digest_of(digest_algorithm(&b->digest), b->bytes, &digest);
    if (!digest_eq(&digest, &b->digest)) {
        if (c->repair && (e = quarantine_body(b)))
            return e;
        check_found(c, FINDING_MANIFEST_ROTTEN, check_contained(c), check_manifest_where(b),
                    "%zu bytes", b->bytes.n);
        return OK;
    }
    if (manifest_parse(b->arena, b->bytes, (str){0}, &b->manifest, &why)) {
        check_found(c, FINDING_MANIFEST_UNREADABLE, FINDING_LEFT, check_manifest_where(b), "%.*s",
                    STR_ARG(why.message));
        return OK;
    }
    if ((e = check_columns(b)) || (e = check_refs(b)) || (e = check_facts(b)))
        return e;
    return check_links(b);
}

enum err check_manifests(struct check *c)
{
    ARENA_CLEANUP struct arena a = {0};
    struct check_body b = {.check = c, .arena = &a};
    uint64_t total = 0;
    enum err e = check_count(c, Q_CHECK_BODY_COUNT, &total, NULL);
    while (!e) {
        bool malformed = false;
        arena_reset(&a);
        /* One for the dozen statements of a body: cheaper than each on its own. */
        DB_SNAPSHOT struct db_snapshot snapshot = db_snapshot_begin(check_conn(c));
        e = snapshot.err;
        if (!e)
            e = next_body(&b, &malformed);
        if (e || !b.id)
            break;
        c->manifests++;
        check_progress(c, "manifests", c->manifests, total);
        if (malformed)
            check_found(c, FINDING_ROW, FINDING_LEFT, STR("table manifest_body"), "id %lld",
                        (long long)b.id);
        else
            e = check_body(&b);
    }
    return e;
}
