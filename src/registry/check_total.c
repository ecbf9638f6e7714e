/* What SQL alone can compare: lists of referrers, tags, counts and running totals. */
#include "base/clock.h"
#include "base/hex.h"
#include "blob/digest.h"
#include "registry/check_private.h"

/* Text of a stored digest, whatever it holds. */
static str digest_or_hex(struct arena *a, str stored)
{
    struct digest digest;
    if (digest_from_stored(stored, &digest))
        return digest_text(a, &digest);
    char *hex = arena_alloc(a, 2 * stored.n + 1);
    hex_encode(hex, stored.p, stored.n);
    return str_make(hex, 2 * stored.n);
}

/* Lists of referrers that name what is not there. */

struct referrer_row {
    int64_t repository;
    str subject, digest, full_name;
};

static enum err read_extra(struct check *c, struct arena *a, const struct referrer_row *last,
                           struct referrer_row rows[CHECK_CHUNK], size_t *n)
{
    DB_CURSOR struct db_cursor cursor =
        db_query(check_conn(c), Q_CHECK_REFERRERS_EXTRA, DB_INT(last->repository),
                 DB_BYTES(last->subject), DB_BYTES(last->digest), DB_INT(CHECK_CHUNK));
    for (*n = 0; db_next(&cursor); ++*n)
        rows[*n] = (struct referrer_row){db_int(&cursor, 0), db_copy(&cursor, 1, a),
                                         db_copy(&cursor, 2, a), db_copy(&cursor, 3, a)};
    return cursor.err;
}

static enum err found_extra(struct check *c, struct arena *a, const struct referrer_row *row)
{
    enum err e = c->repair ? check_exec(c, Q_CHECK_REFERRER_DELETE, DB_INT(row->repository),
                                        DB_BYTES(row->subject), DB_BYTES(row->digest))
                           : OK;
    if (!e)
        check_found(c, FINDING_REFERRER_EXTRA, check_repaired(c),
                    arena_printf(a, "%.*s@%.*s", STR_ARG(row->full_name),
                                 STR_ARG(digest_or_hex(a, row->digest))),
                    "subject %.*s", STR_ARG(digest_or_hex(a, row->subject)));
    return e;
}

enum err check_referrers(struct check *c)
{
    /* Two arenas in turn: the last key of a chunk begins the next one. */
    struct arena arenas[2] = {{0}};
    struct referrer_row last = {.subject = STR(""), .digest = STR("")};
    size_t n, turn = 0;
    enum err e;
    do {
        struct arena *a = &arenas[turn++ % 2];
        arena_reset(a);
        struct referrer_row *rows = ARENA_ARRAY(a, CHECK_CHUNK, struct referrer_row);
        e = read_extra(c, a, &last, rows, &n);
        for (size_t i = 0; !e && i < n; i++)
            e = found_extra(c, a, &rows[i]);
        if (n)
            last = rows[n - 1];
    } while (!e && n == CHECK_CHUNK);
    arena_release(&arenas[0]);
    arena_release(&arenas[1]);
    return e;
}

/* Tables with a numeric key: columns 0 to 3 of one statement, a chunk at a time. */
struct item {
    int64_t id;
    str name, text;
    int64_t noted, right;
};
enum { ITEM_TAG, ITEM_TOTAL };

static enum err read_items(struct check *c, enum query q, int form, struct arena *a, int64_t last,
                           struct item items[CHECK_CHUNK], size_t *n)
{
    DB_CURSOR struct db_cursor cursor =
        db_query(check_conn(c), q, DB_INT(last), DB_INT(CHECK_CHUNK));
    for (*n = 0; db_next(&cursor); ++*n) {
        struct item *item = &items[*n];
        *item = (struct item){.id = db_int(&cursor, 0), .name = db_copy(&cursor, 1, a)};
        if (form == ITEM_TAG) {
            item->name =
                arena_printf(a, "%.*s:%.*s", STR_ARG(item->name), STR_ARG(db_text(&cursor, 2)));
            item->text = digest_or_hex(a, db_bytes(&cursor, 3));
        } else {
            item->noted = db_int(&cursor, 2);
            item->right = db_int(&cursor, 3);
        }
    }
    return cursor.err;
}

static enum err each_item(struct check *c, enum query q, int form,
                          enum err (*fn)(struct check *c, const struct item *item))
{
    int64_t last = 0;
    size_t n;
    enum err e;
    do {
        ARENA_CLEANUP struct arena a = {0};
        struct item *items = ARENA_ARRAY(&a, CHECK_CHUNK, struct item);
        e = read_items(c, q, form, &a, last, items, &n);
        if (n)
            last = items[n - 1].id;
        for (size_t i = 0; !e && i < n; i++)
            e = fn(c, &items[i]);
    } while (!e && n == CHECK_CHUNK);
    return e;
}

static enum err found_tag(struct check *c, const struct item *tag)
{
    check_found(c, FINDING_TAG_DANGLING, FINDING_LEFT, tag->name, "%.*s", STR_ARG(tag->text));
    return OK;
}

enum err check_tags(struct check *c)
{
    enum err e = check_count(c, Q_CHECK_TAG_COUNT, &c->tags, NULL);
    check_progress(c, "tags", 0, 0);
    return e ? e : each_item(c, Q_CHECK_TAGS_DANGLING, ITEM_TAG, found_tag);
}

static enum err check_total(struct check *c, const struct item *item, enum finding_kind kind,
                            enum query repair, str where)
{
    if (item->noted == item->right)
        return OK;
    enum err e = c->repair ? check_exec(c, repair, DB_INT(item->right), DB_INT(item->id)) : OK;
    if (!e)
        check_found(c, kind, check_repaired(c), where, "%lld bytes, not %lld",
                    (long long)item->noted, (long long)item->right);
    return e;
}

static enum err check_repository(struct check *c, const struct item *item)
{
    c->repositories++;
    return check_total(c, item, FINDING_REPOSITORY_SIZE, Q_CHECK_REPOSITORY_SIZE, item->name);
}

static enum err check_project(struct check *c, const struct item *item)
{
    ARENA_CLEANUP struct arena a = {0};
    return check_total(c, item, FINDING_PROJECT_SIZE, Q_CHECK_PROJECT_SIZE,
                       arena_printf(&a, "project %.*s", STR_ARG(item->name)));
}

enum err check_totals(struct check *c)
{
    check_progress(c, "totals", 0, 0);
    enum err e = each_item(c, Q_CHECK_REPOSITORIES, ITEM_TOTAL, check_repository);
    return e ? e : each_item(c, Q_CHECK_PROJECTS, ITEM_TOTAL, check_project);
}

/* In how many of a project's repositories a blob is linked. */

struct count {
    int64_t key[2]; /* of the table that is read: where the next chunk begins */
    int64_t project, blob, noted, right;
    str name, digest;
};

/* Rows of project_blob that count wrong, or links that have no such row. */
static enum err read_counts(struct check *c, bool missing, struct arena *a, const int64_t last[2],
                            struct count counts[CHECK_CHUNK], size_t *n)
{
    DB_CURSOR struct db_cursor cursor =
        db_query(check_conn(c), missing ? Q_CHECK_PROJECT_BLOBS_MISSING : Q_CHECK_PROJECT_BLOBS,
                 DB_INT(last[0]), DB_INT(last[1]), DB_INT(CHECK_CHUNK));
    for (*n = 0; db_next(&cursor); ++*n)
        counts[*n] = (struct count){
            .key = {db_int(&cursor, 0), db_int(&cursor, 1)},
            .project = db_int(&cursor, missing ? 2 : 0),
            .blob = db_int(&cursor, 1),
            .noted = missing ? 0 : db_int(&cursor, 4),
            .right = db_int(&cursor, 5),
            .name = db_copy(&cursor, missing ? 3 : 2, a),
            .digest = digest_or_hex(a, db_bytes(&cursor, missing ? 4 : 3)),
        };
    return cursor.err;
}

static enum err found_count(struct check *c, struct arena *a, const struct count *count)
{
    enum err e = OK;
    if (c->repair && count->right)
        e = check_exec(c, Q_CHECK_PROJECT_BLOB_SET, DB_INT(count->project), DB_INT(count->blob),
                       DB_INT(count->right));
    else if (c->repair)
        e = check_exec(c, Q_PROJECT_BLOB_DELETE, DB_INT(count->project), DB_INT(count->blob));
    if (!e)
        check_found(c, FINDING_PROJECT_BLOB, check_repaired(c),
                    arena_printf(a, "project %.*s", STR_ARG(count->name)),
                    "blob %.*s: %lld, not %lld", STR_ARG(count->digest), (long long)count->noted,
                    (long long)count->right);
    return e;
}

static enum err check_counts(struct check *c, bool missing)
{
    int64_t last[2] = {0};
    size_t n;
    enum err e;
    do {
        ARENA_CLEANUP struct arena a = {0};
        struct count *counts = ARENA_ARRAY(&a, CHECK_CHUNK, struct count);
        e = read_counts(c, missing, &a, last, counts, &n);
        if (n)
            memcpy(last, counts[n - 1].key, sizeof last);
        for (size_t i = 0; !e && i < n; i++)
            e = found_count(c, &a, &counts[i]);
    } while (!e && n == CHECK_CHUNK);
    return e;
}

enum err check_project_blobs(struct check *c)
{
    check_progress(c, "totals", 0, 0);
    enum err e = check_counts(c, false);
    return e ? e : check_counts(c, true);
}

/* What nothing uses and nobody will look at: it would stay for ever (registry/review.h), or until a
 * time that a clock once showed and that is far ahead now. */

static const struct unused {
    enum query find, review;
    const char *what;
} unused[] = {
    {Q_CHECK_FORGOTTEN_LINKS, Q_CHECK_REVIEW_LINK, "blob"},
    {Q_CHECK_FORGOTTEN_BLOBS, Q_CHECK_REVIEW_BLOB, "blob"},
    {Q_CHECK_FORGOTTEN_BODIES, Q_CHECK_REVIEW_BODY, "manifest"},
};

struct forgotten {
    int64_t key[2];
    str repository, digest;
};

static enum err read_forgotten(struct check *c, const struct unused *u, struct arena *a,
                               const int64_t last[2], struct forgotten rows[CHECK_CHUNK], size_t *n)
{
    int64_t soon_us = clock_wall_us() + 24 * 3600 * INT64_C(1000000);
    DB_CURSOR struct db_cursor cursor =
        db_query(check_conn(c), u->find, DB_INT(last[0]), DB_INT(last[1]), DB_INT(soon_us),
                 DB_INT(CHECK_CHUNK));
    for (*n = 0; db_next(&cursor); ++*n)
        rows[*n] = (struct forgotten){
            .key = {db_int(&cursor, 0), db_int(&cursor, 1)},
            .repository = db_copy(&cursor, 2, a),
            .digest = digest_or_hex(a, db_bytes(&cursor, 3)),
        };
    return cursor.err;
}

static enum err found_forgotten(struct check *c, struct arena *a, const struct unused *u,
                                const struct forgotten *row)
{
    enum err e = c->repair ? check_exec(c, u->review, DB_INT(clock_wall_us()), DB_INT(row->key[0]),
                                        DB_INT(row->key[1]))
                           : OK;
    if (!e)
        check_found(c, FINDING_FORGOTTEN, check_repaired(c),
                    arena_printf(a, "%s %.*s%s%.*s", u->what, STR_ARG(row->digest),
                                 row->repository.n ? " of " : "", STR_ARG(row->repository)),
                    "%s", "");
    return e;
}

static enum err check_unused(struct check *c, const struct unused *u)
{
    int64_t last[2] = {0};
    size_t n;
    enum err e;
    do {
        ARENA_CLEANUP struct arena a = {0};
        struct forgotten *rows = ARENA_ARRAY(&a, CHECK_CHUNK, struct forgotten);
        e = read_forgotten(c, u, &a, last, rows, &n);
        if (n)
            memcpy(last, rows[n - 1].key, sizeof last);
        for (size_t i = 0; !e && i < n; i++)
            e = found_forgotten(c, &a, u, &rows[i]);
    } while (!e && n == CHECK_CHUNK);
    return e;
}

enum err check_forgotten(struct check *c)
{
    enum err e = OK;
    check_progress(c, "what is unused", 0, 0);
    for (size_t i = 0; !e && i < sizeof unused / sizeof *unused; i++)
        e = check_unused(c, &unused[i]);
    return e;
}
