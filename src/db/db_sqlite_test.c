#include "db/db_fixture.h"

#include <fcntl.h>
#include <sched.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>

static off_t size_of(str dir, const char *name, struct arena *a)
{
    struct stat st;
    const char *path = arena_printf(a, "%.*s/%s", STR_ARG(dir), name).p;
    return stat(path, &st) ? -1 : st.st_size;
}

static unsigned mode_of(str dir, const char *name, struct arena *a)
{
    struct stat st = {0};
    const char *path = arena_printf(a, "%.*s/%s", STR_ARG(dir), name).p;
    return stat(path, &st) ? 0 : st.st_mode & 0777;
}

static enum err check_settings(struct db_conn *conn, void *arg)
{
    DB_CURSOR struct db_cursor keys = db_query(conn, T(FOREIGN_KEYS));
    CHECK(db_next(&keys) && db_int(&keys, 0) == 1);
    DB_CURSOR struct db_cursor sync = db_query(conn, T(SYNCHRONOUS));
    CHECK(db_next(&sync) && db_int(&sync, 0) == 2);
    return OK;
}

static void the_store_is_private_durable_and_strict(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct db_setup setup = fixture_setup(fixture_dir(&a));
    struct db *db = fixture_open(&setup);
    CHECK_INT(db_tx(db, fixture_add, named("one")), OK);
    CHECK_INT(mode_of(setup.dir, "berth.db", &a), 0600);
    CHECK_INT(mode_of(setup.dir, "berth.db-wal", &a), 0600);
    CHECK_INT(mode_of(setup.dir, "berth.db-shm", &a), 0600);
    CHECK_INT(db_tx(db, check_settings, NULL), OK);
    db_close(db);
    CHECK_INT(size_of(setup.dir, "berth.db-wal", &a), -1);
}

static void a_killed_process_loses_nothing(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct db_setup setup = fixture_setup(fixture_dir(&a));
    pid_t pid = fork();
    if (pid == 0) {
        struct db *db = fixture_open(&setup);
        _exit(db_tx(db, fixture_add, named("one")) || db_tx(db, fixture_add, named("two")) ? 1 : 0);
    }
    int status = 0;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    CHECK(size_of(setup.dir, "berth.db-wal", &a) > 0);
    struct db *db = fixture_open(&setup);
    CHECK_INT(fixture_count(db), 2);
    db_close(db);
}

static enum err add_some(struct db_conn *conn, void *arg)
{
    enum err e = OK;
    for (int i = 0; i < 1000 && !e; i++) {
        char name[64];
        snprintf(name, sizeof name, "some-rather-long-name-to-fill-more-pages-%d", i);
        e = db_exec(conn, T(ADD), DB_TEXT(str_from(name)));
    }
    return e;
}

static void a_damaged_file_is_told(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct db_setup setup = fixture_setup(fixture_dir(&a));
    struct db *db = fixture_open(&setup);
    CHECK_INT(db_tx(db, add_some, NULL), OK);
    db_close(db);

    int fd = open(arena_printf(&a, "%.*s/berth.db", STR_ARG(setup.dir)).p, O_RDWR);
    char rot[4096];
    memset(rot, 0xa5, sizeof rot);
    off_t size = size_of(setup.dir, "berth.db", &a);
    for (off_t at = 4096; at < size; at += 4096) /* the header and the schema stay */
        CHECK(pwrite(fd, rot, sizeof rot, at) == sizeof rot);
    close(fd);

    db = fixture_open(&setup);
    DB_CURSOR struct db_cursor c = db_query(db_reader(db, 0), T(NAMES));
    while (db_next(&c))
        ;
    CHECK_INT(c.err, ERR_DB_CORRUPT);
    CHECK(str_contains(db_error_text(db_reader(db, 0), &a), STR("malformed")));
    CHECK(db_condition(db).damaged);
    CHECK_INT(db_tx(db, fixture_add, named("one")), ERR_DB_CORRUPT);
    db_close(db);

    db = fixture_open(&setup);
    CHECK(!db_condition(db).damaged);
    CHECK_INT(db_tx(db, fixture_add, named("one")), ERR_DB_CORRUPT);
    CHECK(str_contains(db_writer_error_text(db, &a), STR("malformed")));
    CHECK(db_condition(db).damaged);
    db_close(db);
}

/* Damage that one connection met keeps all from writing, also where the file is whole. */
static void damage_ends_writing(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct db_setup setup = fixture_setup(fixture_dir(&a));
    struct db *db = fixture_open(&setup);
    CHECK_INT(db_tx(db, fixture_add, named("one")), OK);
    db_conn_fail(db_reader(db, 0), ERR_DB_CORRUPT, "seen by a reader");
    CHECK_INT(db_tx(db, fixture_add, named("two")), ERR_DB_CORRUPT);
    CHECK_INT(fixture_count(db), 1);
    db_close(db);
}

/* Writes go to files that names lead to, or not at all. */
static void moved_files_are_not_written(void)
{
    static const char *const names[] = {"berth.db", "berth.db-wal", "berth.db-shm"};
    ARENA_CLEANUP struct arena a = {0};
    struct db_setup setup = fixture_setup(fixture_dir(&a));
    setup.idle_ms = 1;
    struct db *db = fixture_open(&setup);
    CHECK_INT(db_tx(db, fixture_add, named("before")), OK);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *from = arena_printf(&a, "%.*s/%s", STR_ARG(setup.dir), names[i]).p;
        const char *to = arena_printf(&a, "%s.away", from).p;
        CHECK(rename(from, to) == 0);
        CHECK_INT(db_tx(db, fixture_add, named("lost")), ERR_MOVED);
        CHECK(str_contains(db_writer_error_text(db, &a), str_from(names[i])));
        CHECK_INT(db_condition(db).writing, ERR_MOVED);
        CHECK(rename(to, from) == 0);
        /* The writer finds out by itself. */
        while (db_condition(db).writing)
            sched_yield();
        CHECK_INT(db_tx(db, fixture_add, named(names[i])), OK);
    }
    CHECK_INT(fixture_count(db), 4);
    db_close(db);
}

/* A stranger's lock is waited for once, not by everyone. */
static void a_stranger_writes(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct db_setup setup = fixture_setup(fixture_dir(&a));
    setup.idle_ms = 1;
    struct db *db = fixture_open(&setup);
    sqlite3 *stranger = NULL;
    CHECK(!sqlite3_open(arena_printf(&a, "%.*s/berth.db", STR_ARG(setup.dir)).p, &stranger));
    CHECK(!sqlite3_exec(stranger, "BEGIN IMMEDIATE", NULL, NULL, NULL));
    for (int i = 0; i < 20; i++)
        CHECK_INT(db_tx(db, fixture_add, named("refused")), ERR_BUSY);
    CHECK_INT(db_condition(db).writing, ERR_BUSY);
    CHECK_INT(fixture_count(db), 0);
    CHECK(!sqlite3_exec(stranger, "ROLLBACK", NULL, NULL, NULL));
    while (db_condition(db).writing)
        sched_yield();
    CHECK_INT(db_tx(db, fixture_add, named("one")), OK);
    sqlite3_close(stranger);
    db_close(db);
}

static void a_busy_writer_checkpoints(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct db_setup setup = fixture_setup(fixture_dir(&a));
    setup.checkpoint_pages = 1;
    struct db *db = fixture_open(&setup);
    off_t before = size_of(setup.dir, "berth.db", &a);
    CHECK_INT(db_tx(db, add_some, NULL), OK);
    /* A job is answered before the housekeeping after it, but the next one comes after that. */
    CHECK_INT(db_tx(db, fixture_add, named("one")), OK);
    CHECK(size_of(setup.dir, "berth.db", &a) > before);
    db_close(db);
}

static void an_idle_writer_checkpoints_beside_readers(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct db_setup setup = fixture_setup(fixture_dir(&a));
    setup.idle_ms = 1;
    struct db *db = fixture_open(&setup);
    off_t before = size_of(setup.dir, "berth.db", &a);
    {
        DB_SNAPSHOT struct db_snapshot s = db_snapshot_begin(db_reader(db, 0));
        CHECK_INT(s.err, OK);
        CHECK_INT(fixture_count(db), 0);
        CHECK_INT(db_tx(db, add_some, NULL), OK);
        uint64_t upkeep = db_counters(db).upkeep;
        while (db_counters(db).upkeep < upkeep + 2)
            sched_yield();
        CHECK_INT(fixture_count(db), 0);
    }
    while (size_of(setup.dir, "berth.db", &a) <= before)
        sched_yield();
    CHECK_INT(fixture_count(db), 1000);
    db_close(db);
}

TESTS({"the store is private, durable and strict", the_store_is_private_durable_and_strict},
      {"a killed process loses nothing", a_killed_process_loses_nothing},
      {"a damaged file is told", a_damaged_file_is_told},
      {"damage ends writing", damage_ends_writing},
      {"moved files are not written", moved_files_are_not_written},
      {"a stranger writes", a_stranger_writes},
      {"a busy writer checkpoints", a_busy_writer_checkpoints},
      {"an idle writer checkpoints beside readers", an_idle_writer_checkpoints_beside_readers})
