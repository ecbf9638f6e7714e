/* What a request asks must cost what it answers, however much there is: SQLite's plans for the
 * statements of queries.def, on the program's schema. */
#include "base/test.h"
#include "db/db.h"

#include <sqlite3.h>

static const struct {
    const char *name, *sql;
} statements[] = {
#define Q(name, sql) {#name, sql},
#include "db/queries.def"
#undef Q
};

/* Those that may read a whole table or index: small ones, at start or once in a while, and those of
 * fsck and backup. */
static bool may_scan(str name)
{
    static const char *const all[] = {"BLOB_DAMAGED_COUNT", "REVIEW_COUNT", "UPLOAD_COUNT",
                                      "USER_ADMIN_ANY",     "SIGNING_KEYS", "SIGNING_KEY_ADD_FIRST",
                                      "DEAD_BLOB_COUNT"};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (str_eq(name, str_from(all[i])))
            return true;
    return str_starts(name, STR("CHECK_")) || str_starts(name, STR("BACKUP_"));
}

/* Where a range of an index gives the page, which index that is. Another would do, more slowly the
 * more there is. */
static const struct {
    const char *name, *index;
} pinned[] = {
    {"CATALOG_ALL", "COVERING INDEX sqlite_autoindex_repository_1 (full_name>?)"},
    {"CATALOG_VISIBLE", "INDEX project_public (prefix>?)"},
    {"CATALOG_VISIBLE", "COVERING INDEX repository_project (project=? AND full_name>?)"},
    {"GC_BLOB_DUE", "COVERING INDEX blob_review (review_from>? AND review_from<?)"},
    {"GC_LINK_DUE", "COVERING INDEX repository_blob_review ("},
    {"GC_MANIFEST_DUE", "COVERING INDEX manifest_review ("},
    {"MANIFEST_GET_BY_DIGEST", "INDEX sqlite_autoindex_manifest_body_1 (digest=?)"},
    {"MANIFEST_GET_BY_TAG", "INDEX tag_now (repository=? AND name=?)"},
    {"MANIFEST_IS_LINKED", "INDEX sqlite_autoindex_manifest_body_1 (digest=?)"},
    {"REFERRER_LIST", "PRIMARY KEY (repository=? AND subject=? AND digest>?)"},
    {"REFERRER_LIST_TYPE", "COVERING INDEX referrer_by_type (repository=? AND subject=? AND "
                           "artifact_type=? AND digest>?)"},
    {"TAG_FIND", "INDEX tag_now (repository=? AND name=?)"},
    {"TAG_LIST", "INDEX tag_now (repository=? AND name>?)"},
    {"TAG_LOG", "INDEX tag_history (repository=? AND name=? AND from_at<?)"},
};

static sqlite3 *open_program_schema(struct arena *a)
{
    struct db *made = NULL;
    sqlite3 *db = NULL;
    struct error why = {0};
    str dir = str_from(test_dir());
    CHECK_INT(db_open(&made, dir, 1, a, &why), OK);
    db_close(made);
    CHECK_INT(sqlite3_open(arena_printf(a, "%.*s/berth.db", STR_ARG(dir)).p, &db), SQLITE_OK);
    return db;
}

/* The steps of a plan, a line each. */
static str plan_of(sqlite3 *db, const char *sql, struct arena *a)
{
    sqlite3_stmt *s = NULL;
    str plan = STR("");
    str text = arena_printf(a, "EXPLAIN QUERY PLAN %s", sql);
    CHECK_INT(sqlite3_prepare_v2(db, text.p, -1, &s, NULL), SQLITE_OK);
    while (sqlite3_step(s) == SQLITE_ROW)
        plan = arena_printf(a, "%.*s%s\n", STR_ARG(plan), (const char *)sqlite3_column_text(s, 3));
    sqlite3_finalize(s);
    return plan;
}

static void nothing_is_scanned_or_sorted(void)
{
    ARENA_CLEANUP struct arena a = {0};
    sqlite3 *db = open_program_schema(&a);
    for (size_t i = 0; i < Q_COUNT; i++) {
        str plan = plan_of(db, statements[i].sql, &a);
        bool scans = str_starts(plan, STR("SCAN ")) || str_contains(plan, STR("\nSCAN ")) ||
                     str_contains(plan, STR("TEMP B-TREE"));
        if (scans && !may_scan(str_from(statements[i].name)))
            test_fail(__FILE__, __LINE__, "%s:\n%.*s", statements[i].name, STR_ARG(plan));
    }
    sqlite3_close(db);
}

static void pages_are_ranges_of_an_index(void)
{
    ARENA_CLEANUP struct arena a = {0};
    sqlite3 *db = open_program_schema(&a);
    for (size_t p = 0; p < sizeof pinned / sizeof pinned[0]; p++) {
        size_t i = 0;
        while (i < Q_COUNT && !str_eq(str_from(statements[i].name), str_from(pinned[p].name)))
            i++;
        CHECK(i < Q_COUNT);
        str plan = i < Q_COUNT ? plan_of(db, statements[i].sql, &a) : STR("");
        if (!str_contains(plan, str_from(pinned[p].index)))
            test_fail(__FILE__, __LINE__, "%s does not use %s but:\n%.*s", pinned[p].name,
                      pinned[p].index, STR_ARG(plan));
    }
    sqlite3_close(db);
}

static enum err use_indexes(struct db_conn *conn, void *arg)
{
    enum err e = OK;
    for (int i = 0; !e && i < 500; i++) {
        str name = arena_printf(arg, "project-%d", i);
        e = db_exec(conn, Q_PROJECT_INSERT, DB_TEXT(name), DB_INT(1), DB_INT(0), DB_TEXT(name));
        DB_CURSOR struct db_cursor c = db_query(conn, Q_PROJECT_FIND, DB_TEXT(name));
        CHECK(db_next(&c));
    }
    return e;
}

/* Or the plans above would change with what is stored. */
static void no_statistics_are_kept(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct db *db = NULL;
    struct error why = {0};
    sqlite3_stmt *s = NULL;
    for (int i = 0; i < 2; i++) {
        CHECK_INT(db_open(&db, str_from(test_dir()), 1, &a, &why), OK);
        CHECK_INT(db_tx(db, use_indexes, &a), OK);
        db_close(db);
    }
    sqlite3 *raw = open_program_schema(&a);
    CHECK_INT(sqlite3_prepare_v2(raw, "SELECT 1 FROM sqlite_schema WHERE name LIKE 'sqlite_stat%'",
                                 -1, &s, NULL),
              SQLITE_OK);
    CHECK_INT(sqlite3_step(s), SQLITE_DONE);
    sqlite3_finalize(s);
    sqlite3_close(raw);
}

TESTS({"nothing is scanned or sorted", nothing_is_scanned_or_sorted},
      {"pages are ranges of an index", pages_are_ranges_of_an_index},
      {"no statistics are kept", no_statistics_are_kept})
