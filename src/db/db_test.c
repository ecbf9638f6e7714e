#include "db/db_fixture.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void values_come_back(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct db_setup setup = fixture_setup(fixture_dir(&a));
    struct db *db = fixture_open(&setup);
    struct db_conn *conn = db_reader(db, 1);
    {
        DB_CURSOR struct db_cursor c =
            db_query(conn, T(ECHO), DB_INT(INT64_MIN), DB_TEXT(STR("a\0b")), DB_NULL);
        CHECK(db_next(&c));
        CHECK(db_int(&c, 0) == INT64_MIN);
        CHECK(str_eq(db_text(&c, 1), STR("a\0b")));
        CHECK(db_is_null(&c, 2) && !db_is_null(&c, 1));
        CHECK(!db_text(&c, 2).p && !db_bytes(&c, 2).p && !db_copy(&c, 2, &a).p);
        CHECK_INT(db_int(&c, 2), 0);
        CHECK(!db_next(&c));
        CHECK_INT(c.err, OK);
        CHECK(!db_next(&c));
    }
    /* Empty is not NULL, whatever the pointer, unless asked for. */
    DB_CURSOR struct db_cursor c = db_query(conn, T(ECHO), DB_TEXT(((str){0})),
                                            DB_BYTES(((str){0})), DB_TEXT_OR_NULL(((str){0})));
    CHECK(db_next(&c));
    CHECK(!db_is_null(&c, 0) && db_text(&c, 0).p && db_text(&c, 0).n == 0);
    CHECK(!db_is_null(&c, 1) && db_bytes(&c, 1).p && db_bytes(&c, 1).n == 0);
    CHECK(db_is_null(&c, 2));
    db_cursor_end(&c);
    db_close(db);
}

static void a_cursor_that_ends_early_frees_its_statement(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct db_setup setup = fixture_setup(fixture_dir(&a));
    struct db *db = fixture_open(&setup);
    CHECK_INT(db_tx(db, fixture_add, named("one")), OK);
    CHECK_INT(db_tx(db, fixture_add, named("two")), OK);
    str first = {0};
    for (int i = 0; i < 2; i++) {
        DB_CURSOR struct db_cursor c = db_query(db_reader(db, 0), T(NAMES));
        CHECK(db_next(&c));
        first = db_copy(&c, 0, &a);
    }
    CHECK_STR(first, "one");
    db_close(db);
}

static void one_cursor_per_statement(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit none = {0};
        setrlimit(RLIMIT_CORE, &none);
        if (!freopen("/dev/null", "w", stderr))
            _exit(1);
        ARENA_CLEANUP struct arena a = {0};
        struct db_setup setup = fixture_setup(fixture_dir(&a));
        struct db *db = fixture_open(&setup);
        DB_CURSOR struct db_cursor c = db_query(db_reader(db, 0), T(NAMES));
        DB_CURSOR struct db_cursor d = db_query(db_reader(db, 0), T(NAMES));
        _exit(c.err || d.err);
    }
    int status = 0;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static enum err remove_and_count(struct db_conn *conn, void *arg)
{
    return db_exec_count(conn, T(REMOVE), (int64_t *)arg, DB_TEXT(STR("one")));
}

static void changes_are_counted(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct db_setup setup = fixture_setup(fixture_dir(&a));
    struct db *db = fixture_open(&setup);
    int64_t changes = -1;
    CHECK_INT(db_tx(db, fixture_add, named("one")), OK);
    CHECK_INT(db_tx(db, remove_and_count, &changes), OK);
    CHECK_INT(changes, 1);
    CHECK_INT(db_tx(db, remove_and_count, &changes), OK);
    CHECK_INT(changes, 0);
    db_close(db);
}

/* SQLite would take a name that begins so for a URI. */
static void odd_directories_work(void)
{
    ARENA_CLEANUP struct arena a = {0};
    str dir = fixture_dir(&a);
    CHECK(chdir(dir.p) == 0 && mkdir("file:a?mode=memory", 0700) == 0);
    struct db_setup setup = fixture_setup(STR("file:a?mode=memory"));
    struct db *db = fixture_open(&setup);
    CHECK_INT(db_tx(db, fixture_add, named("one")), OK);
    CHECK_INT(fixture_count(db), 1);
    db_close(db);
    CHECK(access("file:a?mode=memory/berth.db", R_OK) == 0);
}

static void reactors_have_no_database(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct db_setup setup = fixture_setup(fixture_dir(&a));
    struct db *db = fixture_open(&setup);
    struct db_conn *conn = db_reader(db, -1);
    CHECK(!db_may_block(conn) && db_may_block(db_reader(db, 0)));
    DB_SNAPSHOT struct db_snapshot s = db_snapshot_begin(conn);
    CHECK_INT(s.err, OK);
    DB_CURSOR struct db_cursor c = db_query(conn, T(COUNT));
    CHECK(!db_next(&c));
    CHECK_INT(c.err, ERR_WOULD_BLOCK);
    db_close(db);
}

static void readers_do_not_write(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct db_setup setup = fixture_setup(fixture_dir(&a));
    struct db *db = fixture_open(&setup);
    struct db_conn *conn = db_reader(db, 0);
    CHECK_INT(db_error_text(conn, &a).n, 0);
    CHECK_INT(db_exec(conn, T(ADD), DB_TEXT(STR("one"))), ERR_DB);
    CHECK(str_contains(db_error_text(conn, &a), STR("readonly")));
    CHECK_INT(fixture_count(db), 0);
    db_close(db);
}

static void a_reader_that_cannot_connect_says_so(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct db_setup setup = fixture_setup(fixture_dir(&a));
    struct db *db = fixture_open(&setup);
    str file = arena_printf(&a, "%.*s/berth.db", STR_ARG(setup.dir));
    str aside = arena_printf(&a, "%.*s/aside.db", STR_ARG(setup.dir));
    CHECK(rename(file.p, aside.p) == 0);
    struct db_conn *conn = db_reader(db, 0);
    DB_CURSOR struct db_cursor c = db_query(conn, T(COUNT));
    CHECK(!db_next(&c));
    CHECK_INT(c.err, ERR_IO);
    CHECK(str_contains(db_error_text(conn, &a), STR("unable to open")));
    /* And tries again. */
    CHECK(rename(aside.p, file.p) == 0);
    CHECK_INT(fixture_count(db), 0);
    db_close(db);
}

static void running_out_of_descriptors_is_told(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct db_setup setup = fixture_setup(fixture_dir(&a));
    struct db *db = fixture_open(&setup);
    struct rlimit before;
    getrlimit(RLIMIT_NOFILE, &before);
    int next = dup(0);
    close(next);
    CHECK(setrlimit(RLIMIT_NOFILE, &(struct rlimit){(rlim_t)next, before.rlim_max}) == 0);
    DB_CURSOR struct db_cursor c = db_query(db_reader(db, 0), T(COUNT));
    CHECK_INT(c.err, ERR_NO_FILES);
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
    CHECK_INT(fixture_count(db), 0);
    db_close(db);
}

static void snapshots_see_one_state(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct db_setup setup = fixture_setup(fixture_dir(&a));
    struct db *db = fixture_open(&setup);
    {
        DB_SNAPSHOT struct db_snapshot s = db_snapshot_begin(db_reader(db, 0));
        CHECK_INT(s.err, OK);
        CHECK_INT(fixture_count(db), 0);
        CHECK_INT(db_tx(db, fixture_add, named("one")), OK);
        {
            DB_SNAPSHOT struct db_snapshot inner = db_snapshot_begin(db_reader(db, 0));
            CHECK_INT(inner.err, OK);
            CHECK_INT(fixture_count(db), 0);
        }
        CHECK_INT(fixture_count(db), 0);
        CHECK_INT(fixture_count_in(db_reader(db, 1)), 1);
    }
    CHECK_INT(fixture_count(db), 1);
    db_close(db);
}

static void a_paused_snapshot_holds_nothing(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct db_setup setup = fixture_setup(fixture_dir(&a));
    struct db *db = fixture_open(&setup);
    struct db_conn *conn = db_reader(db, 0);
    db_snapshot_pause(conn);
    CHECK_INT(db_snapshot_resume(conn), OK); /* there is none */
    {
        DB_SNAPSHOT struct db_snapshot s = db_snapshot_begin(conn);
        DB_SNAPSHOT struct db_snapshot inner = db_snapshot_begin(conn);
        CHECK_INT(s.err || inner.err, OK);
        CHECK_INT(fixture_count(db), 0);
        CHECK_INT(db_tx(db, fixture_add, named("one")), OK);
        db_snapshot_pause(conn);
        CHECK_INT(db_tx(db, fixture_add, named("two")), OK);
        CHECK_INT(db_snapshot_resume(conn), OK);
        CHECK_INT(fixture_count(db), 2);
        CHECK_INT(db_tx(db, fixture_add, named("three")), OK);
        CHECK_INT(fixture_count(db), 2);
    }
    CHECK_INT(fixture_count(db), 3);
    db_close(db);
}

static enum err snapshot_in_writer(struct db_conn *conn, void *arg)
{
    DB_SNAPSHOT struct db_snapshot s = db_snapshot_begin(conn);
    return s.err ? s.err : fixture_add(conn, arg);
}

static void snapshots_are_nothing_to_the_writer(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct db_setup setup = fixture_setup(fixture_dir(&a));
    struct db *db = fixture_open(&setup);
    CHECK_INT(db_tx(db, snapshot_in_writer, named("one")), OK);
    CHECK_INT(fixture_count(db), 1);
    db_close(db);
}

/* The real thing: its migrations run on an empty file and every row of queries.def is sound. */
static void the_program_opens(void)
{
    ARENA_CLEANUP struct arena a = {0};
    str dir = fixture_dir(&a);
    for (int i = 0; i < 2; i++) {
        struct db *db = NULL;
        struct error why = {0};
        CHECK_INT(db_open(&db, dir, 1, &a, &why), OK);
        CHECK_STR(why.message, "");
        db_close(db);
    }
    for (int i = 0; schema_sqlite[i].name; i++) {
        str number = arena_printf(&a, "%04d_", i + 1);
        CHECK(str_starts(str_from(schema_sqlite[i].name), number));
    }
}

TESTS({"values come back", values_come_back},
      {"a cursor that ends early frees its statement",
       a_cursor_that_ends_early_frees_its_statement},
      {"one cursor per statement", one_cursor_per_statement},
      {"changes are counted", changes_are_counted}, {"odd directories work", odd_directories_work},
      {"reactors have no database", reactors_have_no_database},
      {"readers do not write", readers_do_not_write},
      {"a reader that cannot connect says so", a_reader_that_cannot_connect_says_so},
      {"running out of descriptors is told", running_out_of_descriptors_is_told},
      {"snapshots see one state", snapshots_see_one_state},
      {"a paused snapshot holds nothing", a_paused_snapshot_holds_nothing},
      {"snapshots are nothing to the writer", snapshots_are_nothing_to_the_writer},
      {"the program opens", the_program_opens})
