/* What the statements of queries.def touch (W), at work on the program's schema: each is run alone,
 * while all that can be remembered is, and then memory has forgotten what it changed. The verbs of
 * registry/ run several statements each, where one's touch hides that another's is missing. */
#include "base/test.h"
#include "db/db_driver.h"

#include <sqlite3.h>

static const struct db_statement statements[] = {
#define Q DB_STATEMENT_Q
#define H DB_STATEMENT_H
#define W DB_STATEMENT_W
#include "db/queries.def"
#undef Q
};

/* Repository 1 is p/a, 2 is p/b. Body 1 (digest m1) is an index tagged v1, 2 (m2) its child that
 * also refers to it, 3 is linked nowhere, 4 (m4) is not under review. Blob 1 has digest d1, 2 is
 * damaged, 3 is linked nowhere. Repository 77 and body 99 are not there. */
static const char content[] =
    "BEGIN;"
    "DELETE FROM tag; DELETE FROM fact; DELETE FROM referrer; DELETE FROM manifest_child;"
    "DELETE FROM manifest_blob; DELETE FROM manifest; DELETE FROM manifest_body;"
    "DELETE FROM repository_blob; DELETE FROM blob; DELETE FROM repository; DELETE FROM project;"
    "DELETE FROM user;"
    "INSERT INTO user (id, name, password_hash, created_at) VALUES (1, 'u', 'h', 0);"
    "INSERT INTO project (id, name, public, created_at, created_by) VALUES (1, 'p', 1, 0, '');"
    "INSERT INTO repository (id, project, full_name, created_at) VALUES (1, 1, 'p/a', 0),"
    "    (2, 1, 'p/b', 0);"
    "INSERT INTO blob (id, digest, size_bytes, store_key, created_at, damaged_at, review_from)"
    "    VALUES (1, x'6431', 5, 'k1', 0, NULL, NULL), (2, x'6432', 5, 'k2', 0, 7, NULL),"
    "    (3, x'6433', 5, 'k3', 0, NULL, 10);"
    "INSERT INTO repository_blob (repository, blob, linked_at, review_from) VALUES (1, 1, 0, 10),"
    "    (2, 1, 0, NULL), (1, 2, 0, NULL), (77, 1, 0, NULL);"
    "INSERT INTO manifest_body (id, digest, media_type, size_bytes, bytes) VALUES"
    "    (1, x'6d31', 't', 1, x'31'), (2, x'6d32', 't', 1, x'32'), (3, x'6d33', 't', 1, x'33'),"
    "    (4, x'6d34', 't', 1, x'34');"
    "INSERT INTO manifest (repository, body, pushed_at, pushed_by, review_from) VALUES"
    "    (1, 1, 0, '', 10), (1, 2, 0, '', 10), (1, 4, 0, '', NULL), (77, 1, 0, '', NULL);"
    "INSERT INTO manifest_child (parent, position, digest) VALUES (1, 0, x'6d32');"
    "INSERT INTO manifest_blob (parent, position, digest) VALUES (1, 0, x'6431');"
    "INSERT INTO referrer (repository, subject, digest, body) VALUES (1, x'6d31', x'6d32', 2);"
    "INSERT INTO fact (body, key, value) VALUES (1, 'k', 'v'), (99, 'k', 'v');"
    "INSERT INTO tag (id, repository, name, digest, from_at, from_by) VALUES"
    "    (1, 1, 'v1', x'6d31', 1, ''), (2, 77, 'v1', x'6d31', 1, '');"
    "COMMIT;";

enum { VALUES_MAX = 6, PROBES_MAX = 32 };
struct call {
    enum query q;
    bool harmless; /* what it changes is in no answer that is kept */
    size_t n;
    struct db_value values[VALUES_MAX];
};

#define B(text)  DB_BYTES(STR(text))
#define T(text)  DB_TEXT(STR(text))
#define I(value) DB_INT(value)
#define CALL(name, ...)                      \
    {                                        \
        Q_##name, false, COUNT(__VA_ARGS__), \
        {                                    \
            __VA_ARGS__                      \
        }                                    \
    }
#define HARMLESS(name, ...)                 \
    {                                       \
        Q_##name, true, COUNT(__VA_ARGS__), \
        {                                   \
            __VA_ARGS__                     \
        }                                   \
    }
/* Ended by one more, as an array cannot be empty. */
#define COUNT(...)                                                           \
    (sizeof((const struct db_value[]){__VA_ARGS__ __VA_OPT__(, ) DB_NULL}) / \
         sizeof(struct db_value) -                                           \
     1)

struct fixture {
    struct arena arena;
    struct db *db;
    struct db_conn *worker, *reactor;
    sqlite3 *stranger;
};

static void open_fixture(struct fixture *f)
{
    struct error why = {0};
    str dir = str_from(test_dir());
    *f = (struct fixture){0};
    CHECK_INT(db_open(&f->db, dir, 1, &f->arena, &why), OK);
    CHECK_INT(db_remember(f->db, 4 << 20), OK);
    f->worker = db_reader(f->db, 0);
    f->reactor = db_reader(f->db, -1);
    CHECK_INT(sqlite3_open(arena_printf(&f->arena, "%.*s/berth.db", STR_ARG(dir)).p, &f->stranger),
              SQLITE_OK);
}

static void close_fixture(struct fixture *f)
{
    sqlite3_close(f->stranger);
    db_close(f->db);
    arena_release(&f->arena);
}

/* All rows, as text; p == NULL: not known in memory. */
static str answer(struct fixture *f, struct db_conn *conn, const struct call *probe)
{
    str rows = STR("");
    DB_SNAPSHOT struct db_snapshot s = db_snapshot_begin(conn);
    DB_CURSOR struct db_cursor c = db_query_values(conn, probe->q, probe->values, probe->n);
    while (db_next(&c)) {
        static const int columns[Q_COUNT] = {
            [Q_PROJECT_FIND] = 2,        [Q_REPOSITORY_FIND] = 2,
            [Q_BLOB_FIND_LINKED] = 6,    [Q_MANIFEST_GET_BY_DIGEST] = 6,
            [Q_MANIFEST_GET_BY_TAG] = 6, [Q_MANIFEST_BYTES] = 2,
            [Q_FACT_LIST] = 1,           [Q_TAG_LIST] = 1,
            [Q_USER_BY_NAME] = 4,        [Q_USER_BY_ID] = 4,
        };
        for (int i = 0; i < columns[probe->q]; i++) {
            str text = db_bytes(&c, i);
            rows = text.p ? arena_printf(&f->arena, "%.*s%.*s,", STR_ARG(rows), STR_ARG(text))
                          : arena_printf(&f->arena, "%.*s%lld,", STR_ARG(rows),
                                         (long long)db_int(&c, i));
        }
    }
    CHECK(c.err == OK || (c.err == ERR_WOULD_BLOCK && conn == f->reactor));
    return c.err ? (str){0} : rows;
}

static enum err call_tx(struct db_conn *conn, void *arg)
{
    const struct call *call = arg;
    int64_t changes = 0;
    enum err e = db_exec_values(conn, call->q, &changes, call->values, call->n);
    CHECK(e || changes > 0);
    return e;
}

static void check_call(struct fixture *f, struct call *call, const struct call *probes, size_t n)
{
    str before[PROBES_MAX];
    bool changes = false;
    const char *name = statements[call->q].name;
    CHECK_INT(sqlite3_exec(f->stranger, content, NULL, NULL, NULL), SQLITE_OK);
    for (size_t i = 0; i < n; i++)
        (void)answer(f, f->worker, &probes[i]);
    for (size_t i = 0; i < n; i++) {
        before[i] = answer(f, f->reactor, &probes[i]);
        CHECK(before[i].p);
    }
    if (db_tx(f->db, call_tx, call))
        test_fail(__FILE__, __LINE__, "%s failed: %.*s", name,
                  STR_ARG(db_writer_error_text(f->db, &f->arena)));
    for (size_t i = 0; i < n; i++) {
        str kept = answer(f, f->reactor, &probes[i]), now = answer(f, f->worker, &probes[i]);
        if (kept.p && !str_eq(kept, now))
            test_fail(__FILE__, __LINE__, "after %s memory has \"%.*s\" for %s, not \"%.*s\"", name,
                      STR_ARG(kept), statements[probes[i].q].name, STR_ARG(now));
        changes |= !str_eq(before[i], now);
    }
    if (changes == call->harmless)
        test_fail(__FILE__, __LINE__, "%s changes %s", name, changes ? "an answer" : "no answer");
}

static bool is_among(enum query q, const struct call *calls, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (calls[i].q == q)
            return true;
    return false;
}

static void each_touch_is_needed_and_suffices(void)
{
    const struct call probes[] = {
        CALL(PROJECT_FIND, T("p")),
        CALL(REPOSITORY_FIND, T("p/a")),
        CALL(BLOB_FIND_LINKED, T("p/a"), B("d1")),
        CALL(BLOB_FIND_LINKED, T("p/b"), B("d1")),
        CALL(MANIFEST_GET_BY_DIGEST, T("p/a"), B("m1")),
        CALL(MANIFEST_GET_BY_DIGEST, T("p/a"), B("m2")),
        CALL(MANIFEST_GET_BY_DIGEST, T("p/a"), B("m4")),
        CALL(MANIFEST_GET_BY_TAG, T("p/a"), T("v1")),
        CALL(MANIFEST_BYTES, I(1)),
        CALL(MANIFEST_BYTES, I(3)),
        CALL(FACT_LIST, I(1), T("k")),
        CALL(FACT_LIST, I(99), T("k")),
        CALL(TAG_LIST, I(1), T(""), I(10)),
        CALL(TAG_LIST, I(77), T(""), I(10)),
        CALL(USER_BY_NAME, T("u")),
        CALL(USER_BY_ID, I(1)),
    };
    struct call calls[] = {
        CALL(BLOB_REPLACE_KEY, T("k9"), I(1)),
        CALL(BLOB_DAMAGED, I(9), I(1), T("k1")),
        CALL(BLOB_LEASE, I(50), I(1), I(1)),
        CALL(BLOB_UNLINK, I(1), I(1)),
        CALL(MANIFEST_LINK, I(1), I(1), I(50), T("")),
        CALL(MANIFEST_UNLINK, I(1), I(1)),
        CALL(REVIEW_MANIFEST, I(50), I(1), B("m1")),
        CALL(REVIEW_BLOBS_OF, I(50), I(1), I(1)),
        CALL(REVIEW_END_OF, I(1), I(1)),
        CALL(REVIEW_CHILDREN_OF, I(50), I(1), I(1)),
        CALL(REVIEW_REFERRERS_OF, I(50), I(1), B("m1")),
        CALL(MANIFEST_LEASE, I(50), I(1), I(1)),
        CALL(FACT_INSERT, I(1), T("k"), T("w")),
        CALL(TAG_INSERT, I(1), T("v2"), B("m1"), I(2), T("")),
        CALL(TAG_END, I(50), T(""), I(1), I(1)),
        CALL(TAG_END_BY_DIGEST, I(50), T(""), I(1), B("m1")),
        CALL(TAG_FORGET, I(1), T("v1"), I(0)),
        HARMLESS(CHECK_BLOB_HEAL, I(2)), /* nobody was given a damaged one */
        CALL(CHECK_BODY_UPDATE, T("u"), DB_NULL, DB_NULL, DB_NULL, I(1), I(1)),
        CALL(CHECK_BODY_DELETE, I(3)),
        CALL(CHECK_FACTS_DELETE, I(1)),
        CALL(CHECK_REVIEW_LINK, I(50), I(1), I(1)),
        HARMLESS(CHECK_ORPHAN_LINKS), /* links are found through what they are between */
        HARMLESS(CHECK_ORPHAN_MANIFESTS),
        CALL(CHECK_ORPHAN_TAGS),
        CALL(CHECK_ORPHAN_FACTS),
        CALL(GC_MANIFEST_CLEAR, I(1), I(1), I(10)),
        CALL(GC_MANIFEST_TAKE, I(1), I(1), I(10)),
        CALL(GC_MANIFEST_QUEUE, I(50), I(1), I(4)),
        CALL(GC_LINK_CLEAR, I(1), I(1), I(10)),
        CALL(GC_LINK_TAKE, I(1), I(1), I(10)),
        CALL(GC_BODY_FACTS, I(1)),
        CALL(GC_BODY_DELETE, I(3)),
        HARMLESS(GC_BLOB_TAKE, I(3), I(0), I(10)), /* links keep it from going */
    };
    enum { PROBES = sizeof probes / sizeof *probes, CALLS = sizeof calls / sizeof *calls };
    struct fixture f;
    open_fixture(&f);
    for (size_t q = 0; q < Q_COUNT; q++) {
        const struct db_statement *s = &statements[q];
        bool writes = s->use == DB_USE_WRITES && s->touches.thing != DB_THING_NOTHING;
        if ((writes && !is_among((enum query)q, calls, CALLS)) ||
            (s->use == DB_USE_HOT && !is_among((enum query)q, probes, PROBES)))
            test_fail(__FILE__, __LINE__, "%s is not tried here", s->name);
    }
    for (size_t i = 0; i < CALLS; i++)
        check_call(&f, &calls[i], probes, PROBES);
    close_fixture(&f);
}

TESTS({"each touch is needed, and suffices", each_touch_is_needed_and_suffices})
