#include "db/db_fixture.h"
#include "db/db_sqlite.h"

#include <fcntl.h>
#include <sys/stat.h>

struct found {
    struct arena a;
    size_t n;
    str last;
};

static void note(void *arg, str line)
{
    struct found *found = arg;
    found->n++;
    found->last = arena_str(&found->a, line);
}

static struct found verify(str dir, enum db_verify what)
{
    struct found found = {0};
    struct db_setup setup = fixture_setup(dir);
    struct error why = {0};
    struct db *db = NULL;
    CHECK_INT(db_open_reading_setup(&db, &setup, &found.a, &why), OK);
    CHECK_INT(db_verify(db_reader(db, 0), what, note, &found), OK);
    db_close(db);
    return found;
}

static size_t count_found(str dir, enum db_verify what)
{
    struct found found = verify(dir, what);
    arena_release(&found.a);
    return found.n;
}

static void raw(str dir, const char *sql)
{
    char path[4096];
    sqlite3 *db;
    snprintf(path, sizeof path, "%.*s/berth.db", STR_ARG(dir));
    if (sqlite3_open(path, &db) || sqlite3_exec(db, sql, NULL, NULL, NULL))
        test_fail(__FILE__, __LINE__, "%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_close(db);
}

static str store_of(struct arena *a, int items)
{
    str dir = fixture_dir(a);
    struct db_setup setup = fixture_setup(dir);
    struct db *db = fixture_open(&setup);
    for (int i = 0; i < items; i++)
        CHECK_INT(db_tx(db, fixture_add, named(arena_printf(a, "item%d", i).p)), OK);
    db_close(db);
    return dir;
}

static void a_sound_store_verifies(void)
{
    ARENA_CLEANUP struct arena a = {0};
    str dir = store_of(&a, 10);
    CHECK_INT(count_found(dir, DB_VERIFY_QUICK), 0);
    CHECK_INT(count_found(dir, DB_VERIFY_STRUCTURE), 0);
    CHECK_INT(count_found(dir, DB_VERIFY_REFERENCES), 0);
}

static void finds_a_dangling_reference(void)
{
    ARENA_CLEANUP struct arena a = {0};
    str dir = store_of(&a, 3);
    raw(dir, "PRAGMA foreign_keys=OFF; UPDATE item SET parent = 99 WHERE name <> 'item0'");
    CHECK_INT(count_found(dir, DB_VERIFY_STRUCTURE), 0);
    struct found found = verify(dir, DB_VERIFY_REFERENCES);
    CHECK_INT(found.n, 1);
    CHECK_STR(found.last, "2 of table item name a missing item");
    arena_release(&found.a);
}

/* An index that lacks an entry: only the thorough look compares it with its table. */
static void finds_a_wrong_index(void)
{
    ARENA_CLEANUP struct arena a = {0};
    str dir = store_of(&a, 3);
    raw(dir, "CREATE INDEX by_bytes ON item (bytes) WHERE bytes IS NOT NULL;"
             "PRAGMA writable_schema=ON;"
             "UPDATE sqlite_schema SET sql = 'CREATE INDEX by_bytes ON item (bytes)' "
             "WHERE name = 'by_bytes'");
    CHECK_INT(count_found(dir, DB_VERIFY_QUICK), 0);
    struct found found = verify(dir, DB_VERIFY_STRUCTURE);
    CHECK(found.n > 0);
    CHECK(str_contains(found.last, STR("by_bytes")));
    arena_release(&found.a);
}

static void copies_beside_a_writer(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct error why = {0};
    str dir = fixture_dir(&a), copy_dir = fixture_dir(&a);
    str path = arena_printf(&a, "%.*s/berth.db", STR_ARG(copy_dir));
    struct db_setup setup = fixture_setup(dir), copy_setup = fixture_setup(copy_dir);
    struct db *db = fixture_open(&setup);
    CHECK_INT(db_tx(db, fixture_add, named("one")), OK);
    CHECK_INT(db_backup(dir, path, &a, &why), OK); /* "one" is in the log only */
    CHECK_INT(db_tx(db, fixture_add, named("two")), OK);

    struct db *copy;
    CHECK_INT(db_open_reading_setup(&copy, &copy_setup, &a, &why), OK);
    CHECK_INT(fixture_count(copy), 1);
    db_close(copy);
    struct stat st;
    CHECK(stat(path.p, &st) == 0 && (st.st_mode & 0777) == 0600);
    CHECK(stat(arena_printf(&a, "%.*s-wal", STR_ARG(path)).p, &st) != 0);

    CHECK_INT(db_backup(dir, path, &a, &why), OK); /* replaces */
    db_close(db);
    copy = fixture_open(&copy_setup); /* the copy is a store like any other */
    CHECK_INT(fixture_count(copy), 2);
    CHECK_INT(db_tx(copy, fixture_add, named("three")), OK);
    db_close(copy);
}

static void reading_leaves_things_alone(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct error why = {0};
    struct db *db;
    struct stat st;
    str dir = fixture_dir(&a);
    struct db_setup setup = fixture_setup(dir);
    CHECK(db_open_reading_setup(&db, &setup, &a, &why) != OK);
    CHECK(stat(arena_printf(&a, "%.*s/berth.db", STR_ARG(dir)).p, &st) != 0);
    CHECK(db_backup(dir, arena_printf(&a, "%.*s/copy", STR_ARG(dir)), &a, &why) != OK);
    CHECK(str_contains(why.message, STR("berth.db")));

    str newer = store_of(&a, 1);
    raw(newer, "PRAGMA user_version=9");
    setup = fixture_setup(newer);
    CHECK_INT(db_open_reading_setup(&db, &setup, &a, &why), ERR_DB_NEWER);
    str strange = store_of(&a, 1);
    raw(strange, "PRAGMA application_id=7");
    setup = fixture_setup(strange);
    CHECK_INT(db_open_reading_setup(&db, &setup, &a, &why), ERR_DB);
    CHECK_INT(db_backup(strange, arena_printf(&a, "%.*s/copy", STR_ARG(dir)), &a, &why), ERR_DB);
}

TESTS({"a sound store verifies", a_sound_store_verifies},
      {"finds a dangling reference", finds_a_dangling_reference},
      {"finds a wrong index", finds_a_wrong_index},
      {"copies beside a writer", copies_beside_a_writer},
      {"reading leaves things alone", reading_leaves_things_alone})
