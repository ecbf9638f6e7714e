#include "db/db_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define TABLE(name) "CREATE TABLE " name " (id INTEGER PRIMARY KEY) STRICT;"

static const struct db_statement no_statements[1];

static struct db_setup setup_with(str dir, const struct embedded_file *migrations)
{
    struct db_setup setup = fixture_setup(dir);
    setup.migrations = migrations;
    setup.statements = no_statements;
    setup.statement_n = 0;
    return setup;
}

/* Opens and closes; the message of a failure is in *message. */
static enum err try_open(const struct db_setup *setup, struct arena *a, str *message)
{
    struct db *db = NULL;
    struct error why = {0};
    enum err e = db_open_setup(&db, setup, a, &why);
    *message = why.message;
    if (!e)
        db_close(db);
    return e;
}

static const char *path_of(str dir, struct arena *a)
{
    return arena_printf(a, "%.*s/berth.db", STR_ARG(dir)).p;
}

/* First column of the first row, as another program reads it; -1 when there is none. */
static int64_t look(str dir, const char *sql, struct arena *a)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *s = NULL;
    int64_t v = -1;
    sqlite3_open_v2(path_of(dir, a), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
        v = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    sqlite3_close(db);
    return v;
}

static void migrations_run_once_and_in_order(void)
{
    static const struct embedded_file first[] = {{"0001_a.sql", TABLE("one")}, {0, 0}};
    static const struct embedded_file all[] = {
        {"0001_a.sql", TABLE("one")},
        {"0002_b.sql",
         "ALTER TABLE one ADD COLUMN word TEXT; INSERT INTO one (word) VALUES ('x');"},
        {"0003_c.sql", "INSERT INTO one (word) SELECT word FROM one;"},
        {0, 0}};
    ARENA_CLEANUP struct arena a = {0};
    str message;

    str dir = fixture_dir(&a); /* from nothing */
    struct db_setup setup = setup_with(dir, all);
    CHECK_INT(try_open(&setup, &a, &message), OK);
    CHECK_INT(look(dir, "PRAGMA user_version", &a), 3);
    CHECK_INT(look(dir, "PRAGMA application_id", &a), 0x42657274);
    CHECK_INT(look(dir, "SELECT count(*) FROM one", &a), 2);
    CHECK_INT(try_open(&setup, &a, &message), OK);
    CHECK_INT(look(dir, "SELECT count(*) FROM one", &a), 2);

    dir = fixture_dir(&a); /* from an older program */
    setup = setup_with(dir, first);
    CHECK_INT(try_open(&setup, &a, &message), OK);
    CHECK_INT(look(dir, "PRAGMA user_version", &a), 1);
    setup = setup_with(dir, all);
    CHECK_INT(try_open(&setup, &a, &message), OK);
    CHECK_INT(look(dir, "PRAGMA user_version", &a), 3);
    CHECK_INT(look(dir, "SELECT count(*) FROM one", &a), 2);

    setup = setup_with(dir, first); /* and back: no */
    CHECK_INT(try_open(&setup, &a, &message), ERR_DB_NEWER);
    CHECK(str_contains(message, STR("schema version 3,")));
    CHECK(str_contains(message, STR("up to 1:")));
    CHECK(str_contains(message, str_from(path_of(dir, &a))));
    CHECK_INT(look(dir, "PRAGMA user_version", &a), 3);
}

static void a_failing_migration_changes_nothing(void)
{
    static const struct embedded_file bad[] = {
        {"0001_a.sql", TABLE("one")}, {"0002_b.sql", TABLE("two") "CREATE TABL three;"}, {0, 0}};
    ARENA_CLEANUP struct arena a = {0};
    str message, dir = fixture_dir(&a);
    struct db_setup setup = setup_with(dir, bad);
    CHECK_INT(try_open(&setup, &a, &message), ERR_DB);
    CHECK(str_contains(message, STR("migration 0002_b.sql")));
    CHECK(str_contains(message, STR("TABL")));
    CHECK_INT(look(dir, "PRAGMA user_version", &a), 1);
    CHECK_INT(look(dir, "SELECT count(*) FROM sqlite_schema", &a), 1);
}

/* In a process that may write files of 256 KiB: SIGXFSZ ends it where it would write more, half-way
 * through the migration's pages. */
static bool killed_while_opening(const struct db_setup *setup)
{
    int status = 0;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        ARENA_CLEANUP struct arena a = {0};
        str message;
        struct rlimit small = {256 << 10, 256 << 10}, none = {0, 0};
        signal(SIGXFSZ, SIG_DFL);
        setrlimit(RLIMIT_CORE, &none);
        setrlimit(RLIMIT_FSIZE, &small);
        (void)try_open(setup, &a, &message);
        _exit(0);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) &&
           WTERMSIG(status) == SIGXFSZ;
}

static void an_interrupted_migration_runs_again(void)
{
#define MANY                                                                         \
    TABLE("two")                                                                     \
    "ALTER TABLE two ADD COLUMN bytes BLOB; INSERT INTO two (bytes) WITH RECURSIVE " \
    "n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100) "               \
    "SELECT randomblob(100000) FROM n;"
    static const struct embedded_file first[] = {{"0001_a.sql", TABLE("one")}, {0, 0}};
    static const struct embedded_file all[] = {
        {"0001_a.sql", TABLE("one")}, {"0002_b.sql", MANY}, {0, 0}};
    ARENA_CLEANUP struct arena a = {0};
    str message, dir = fixture_dir(&a);
    struct db_setup setup = setup_with(dir, first);
    CHECK_INT(try_open(&setup, &a, &message), OK);
    for (int i = 0; i < 2; i++) {
        setup = setup_with(dir, all);
        CHECK(killed_while_opening(&setup));
        CHECK_INT(look(dir, "PRAGMA user_version", &a), 1);
        CHECK_INT(look(dir, "SELECT count(*) FROM sqlite_schema", &a), 1);
        setup = setup_with(dir, first); /* still the old program's */
        CHECK_INT(try_open(&setup, &a, &message), OK);
    }
    setup = setup_with(dir, all);
    CHECK_INT(try_open(&setup, &a, &message), OK);
    CHECK_INT(look(dir, "PRAGMA user_version", &a), 2);
    CHECK_INT(look(dir, "SELECT count(*) FROM two", &a), 100);
}

static void a_migration_may_rebuild_tables_but_not_break_references(void)
{
#define PARENT                                                           \
    TABLE("parent")                                                      \
    "CREATE TABLE child (parent INTEGER REFERENCES parent (id)) STRICT;" \
    "INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1);"
    static const struct embedded_file rebuilds[] = {
        {"0001_a.sql", PARENT},
        {"0002_b.sql", TABLE("new") "INSERT INTO new SELECT id FROM parent; DROP TABLE parent;"
                                    "ALTER TABLE new RENAME TO parent;"},
        {0, 0}};
    static const struct embedded_file breaks[] = {
        {"0001_a.sql", PARENT}, {"0002_b.sql", "DELETE FROM parent;"}, {0, 0}};
    ARENA_CLEANUP struct arena a = {0};
    str message, dir = fixture_dir(&a);
    struct db_setup setup = setup_with(dir, rebuilds);
    CHECK_INT(try_open(&setup, &a, &message), OK);
    CHECK_INT(look(dir, "SELECT count(*) FROM parent", &a), 1);

    dir = fixture_dir(&a);
    setup = setup_with(dir, breaks);
    CHECK_INT(try_open(&setup, &a, &message), ERR_CONSTRAINT);
    CHECK(str_contains(message, STR("0002_b.sql: leaves 1 dangling")));
    CHECK_INT(look(dir, "SELECT count(*) FROM parent", &a), 1);
}

/* Another program's transaction, which ends while somebody sleeps to wait for it. */
static sqlite3 *stranger;

static int end_stranger(sqlite3_vfs *vfs, int us)
{
    (void)vfs;
    sqlite3_exec(stranger, "COMMIT", NULL, NULL, NULL);
    return us;
}

static void a_migration_waits_for_a_strangers_lock(void)
{
    static const struct embedded_file first[] = {{"0001_a.sql", TABLE("one")}, {0, 0}};
    static const struct embedded_file all[] = {
        {"0001_a.sql", TABLE("one")}, {"0002_b.sql", TABLE("two")}, {0, 0}};
    ARENA_CLEANUP struct arena a = {0};
    str message, dir = fixture_dir(&a);
    struct db_setup setup = setup_with(dir, first);
    CHECK_INT(try_open(&setup, &a, &message), OK);

    CHECK_INT(sqlite3_open_v2(path_of(dir, &a), &stranger, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    CHECK_INT(sqlite3_exec(stranger, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    int (*sleep_before)(sqlite3_vfs *, int) = vfs->xSleep;
    vfs->xSleep = end_stranger;
    setup = setup_with(dir, all);
    CHECK_INT(try_open(&setup, &a, &message), OK);
    vfs->xSleep = sleep_before;
    sqlite3_close(stranger);
    CHECK_INT(look(dir, "PRAGMA user_version", &a), 2);
}

static void strangers_files_are_left_alone(void)
{
    ARENA_CLEANUP struct arena a = {0};
    str message, dir = fixture_dir(&a);
    struct db_setup setup = fixture_setup(dir);
    look(dir, "PRAGMA application_id = 77", &a);
    look(dir, "PRAGMA user_version = 1", &a);
    CHECK_INT(try_open(&setup, &a, &message), ERR_DB);
    CHECK(str_contains(message, STR("another program (application id 0x0000004d")));

    dir = fixture_dir(&a);
    setup = fixture_setup(dir);
    look(dir, "CREATE TABLE item (x)", &a);
    CHECK_INT(try_open(&setup, &a, &message), ERR_DB);
    CHECK_INT(look(dir, "SELECT count(*) FROM sqlite_schema", &a), 1);
    CHECK_INT(look(dir, "PRAGMA application_id", &a), 0);
}

static void what_is_no_database_is_told(void)
{
    ARENA_CLEANUP struct arena a = {0};
    str message, dir = fixture_dir(&a);
    struct db_setup setup = fixture_setup(dir);
    char text[8192];
    memset(text, 'x', sizeof text);
    int fd = open(path_of(dir, &a), O_WRONLY | O_CREAT, 0600);
    CHECK(write(fd, text, sizeof text) == sizeof text);
    close(fd);
    CHECK_INT(try_open(&setup, &a, &message), ERR_DB_CORRUPT);
    CHECK(str_contains(message, STR("berth.db: ")));
    CHECK(str_contains(message, STR("file is not a database")));

    setup.dir = arena_printf(&a, "%.*s/missing", STR_ARG(dir));
    CHECK_INT(try_open(&setup, &a, &message), ERR_NOT_FOUND);
    CHECK(str_contains(message, STR("missing/berth.db: cannot open: No such file")));
}

static void statements_are_checked(void)
{
    static const struct {
        const char *sql, *message;
        enum err err;
    } cases[] = {
        {"SELECT nam FROM item", "statement X: no such column: nam", ERR_DB_CORRUPT},
        {"SELECT \"nam\" FROM item", "statement X: no such column: nam", ERR_DB_CORRUPT},
        {"SELECT a FROM missing", "statement X: no such table: missing", ERR_DB_CORRUPT},
        {"SELECT id FROM item WHERE", "statement X: incomplete input", ERR_DB},
        {"SELECT id FROM item WHERE id = $2 AND name = $1", "statement X: parameter 1 is $2",
         ERR_DB},
        {"SELECT id FROM item WHERE id = $1 AND name = $3", "statement X: parameter 2 is $3",
         ERR_DB},
        {"SELECT id FROM item WHERE id = ?", "statement X: parameter 1 is ?", ERR_DB},
        {"SELECT 1; SELECT 2", "statement X: is not one statement", ERR_DB},
        {"", "statement X: is not one statement", ERR_DB},
        {"SELECT id FROM item WHERE id = $1 AND name = $2 OR id > $1;", "", OK},
    };
    ARENA_CLEANUP struct arena a = {0};
    str message;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct db_statement row = {"X", cases[i].sql};
        struct db_setup setup = fixture_setup(fixture_dir(&a));
        setup.statements = &row;
        setup.statement_n = 1;
        CHECK_INT(try_open(&setup, &a, &message), cases[i].err);
        if (!str_contains(message, str_from(cases[i].message)))
            test_fail(__FILE__, __LINE__, "%s: %.*s", cases[i].sql, STR_ARG(message));
    }
}

TESTS({"migrations run once and in order", migrations_run_once_and_in_order},
      {"a failing migration changes nothing", a_failing_migration_changes_nothing},
      {"an interrupted migration runs again", an_interrupted_migration_runs_again},
      {"a migration may rebuild tables but not break references",
       a_migration_may_rebuild_tables_but_not_break_references},
      {"a migration waits for a stranger's lock", a_migration_waits_for_a_strangers_lock},
      {"strangers' files are left alone", strangers_files_are_left_alone},
      {"what is no database is told", what_is_no_database_is_told},
      {"statements are checked", statements_are_checked})
