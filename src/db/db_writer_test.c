#include "base/metrics.h"
#include "db/db_fixture.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/syscall.h>

/* SQLite's syncs end here, so that a test can make them fail; with a reason that alone would call
 * for another try. */
static atomic_bool syncs_fail;

int fdatasync(int fd)
{
    if (atomic_load(&syncs_fail)) {
        errno = ENOSPC;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
    return fdatasync(fd);
}

/* Its writes into the database's file end here; those into the log do not fail. */
static atomic_bool database_fails;

ssize_t pwrite64(int fd, const void *p, size_t n, off64_t at)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t path_n = readlink(link, path, sizeof path);
    if (atomic_load(&database_fails) && path_n > 0 &&
        str_ends(str_make(path, (size_t)path_n), STR("/berth.db"))) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_pwrite64, fd, p, n, at);
}

struct held_add {
    struct gate gate;
    const char *name;
    bool saw_all;
};

/* Adds, then keeps the writer until the gate opens. A second run finds it open. */
static enum err add_and_hold(struct db_conn *conn, void *arg)
{
    struct held_add *add = arg;
    enum err e = fixture_add(conn, named(add->name));
    gate_pass(&add->gate);
    return e;
}

static enum err add_and_change_my_mind(struct db_conn *conn, void *name)
{
    enum err e = fixture_add(conn, name);
    return e ? e : ERR_TAG_INVALID;
}

static enum err add_orphan(struct db_conn *conn, void *name)
{
    return db_exec(conn, T(ADD_CHILD), DB_TEXT(str_from(name)), DB_INT(12345));
}

/* What an engine does by itself when it runs out of something in the middle of a statement. */
static enum err add_and_lose_all(struct db_conn *conn, void *name)
{
    enum err e = fixture_add(conn, name);
    if (!e)
        e = db_exec(conn, T(GIVE_UP));
    return e ? e : ERR_OVERLOADED;
}

static enum err add_much(struct db_conn *conn, void *name)
{
    static const char zeros[1 << 20];
    return db_exec(conn, T(ADD_BYTES), DB_TEXT(str_from(name)),
                   DB_BYTES(str_make(zeros, sizeof zeros)));
}

static enum err limit_pages(struct db_conn *conn, void *limited)
{
    return db_exec(conn, *(bool *)limited ? T(MAX_PAGES_10) : T(MAX_PAGES_ANY));
}

/* While the writer is held by the first job, starts the others in order, each queued before the
 * next; then lets go and joins all. */
static void run_as_group(struct db *db, struct held_add *first, struct fixture_tx *txs, size_t n)
{
    struct fixture_tx hold;
    fixture_tx_start(&hold, db, add_and_hold, first);
    gate_await(&first->gate);
    for (size_t i = 0; i < n; i++) {
        fixture_tx_start(&txs[i], db, txs[i].fn, txs[i].arg);
        while (db_counters(db).queued != i + 1)
            sched_yield();
    }
    gate_open(&first->gate);
    first->saw_all = fixture_tx_join(&hold) == OK;
    for (size_t i = 0; i < n; i++)
        fixture_tx_join(&txs[i]);
}

static void jobs_share_a_commit(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct db_setup setup = fixture_setup(fixture_dir(&a));
    struct db *db = fixture_open(&setup);
    struct held_add first = {.gate = GATE_INIT, .name = "first"};
    struct fixture_tx txs[] = {{.fn = fixture_add, .arg = named("a")},
                               {.fn = fixture_add, .arg = named("b")},
                               {.fn = fixture_add, .arg = named("c")}};
    run_as_group(db, &first, txs, 3);
    CHECK(first.saw_all && !txs[0].err && !txs[1].err && !txs[2].err);
    CHECK_INT(db_counters(db).commits, 1);
    CHECK_INT(db_counters(db).jobs, 4);
    CHECK_INT(fixture_count(db), 4);
    CHECK_INT(db_tx(db, fixture_add, named("later")), OK);
    CHECK_INT(db_counters(db).commits, 2);
    db_close(db);
}

static void a_failing_job_undoes_only_itself(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct db_setup setup = fixture_setup(fixture_dir(&a));
    struct db *db = fixture_open(&setup);
    struct held_add first = {.gate = GATE_INIT, .name = "first"};
    struct fixture_tx txs[] = {{.fn = fixture_add, .arg = named("a")},
                               {.fn = add_and_change_my_mind, .arg = named("b")},
                               {.fn = fixture_add, .arg = named("a")},
                               {.fn = fixture_add, .arg = named("b")}};
    run_as_group(db, &first, txs, 4);
    CHECK(first.saw_all);
    CHECK_INT(txs[0].err, OK);
    CHECK_INT(txs[1].err, ERR_TAG_INVALID);
    CHECK_INT(txs[2].err, ERR_CONSTRAINT);
    CHECK_INT(txs[3].err, OK);
    CHECK_INT(db_counters(db).commits, 1);
    CHECK_INT(fixture_count(db), 3);
    CHECK(str_contains(db_writer_error_text(db, &a), STR("UNIQUE")));
    db_close(db);
}

static void what_is_not_committed_is_not_seen(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct db_setup setup = fixture_setup(fixture_dir(&a));
    struct db *db = fixture_open(&setup);
    struct held_add first = {.gate = GATE_INIT, .name = "first"};
    struct fixture_tx hold;
    fixture_tx_start(&hold, db, add_and_hold, &first);
    gate_await(&first.gate);
    CHECK_INT(fixture_count(db), 0);
    gate_open(&first.gate);
    CHECK_INT(fixture_tx_join(&hold), OK);
    CHECK_INT(fixture_count(db), 1);
    db_close(db);
}

/* The commit itself refuses: a reference checked at the end leads nowhere. */
static void a_refused_commit_fails_only_the_culprit(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct db_setup setup = fixture_setup(fixture_dir(&a));
    struct db *db = fixture_open(&setup);
    struct held_add first = {.gate = GATE_INIT, .name = "first"};
    struct fixture_tx txs[] = {{.fn = add_orphan, .arg = named("orphan")},
                               {.fn = fixture_add, .arg = named("a")}};
    run_as_group(db, &first, txs, 2);
    CHECK(first.saw_all);
    CHECK_INT(txs[0].err, ERR_CONSTRAINT);
    CHECK_INT(txs[1].err, OK);
    CHECK_INT(db_counters(db).retries, 3);
    CHECK_INT(fixture_count(db), 2);
    db_close(db);
}

static void a_lost_transaction_fails_only_the_culprit(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct db_setup setup = fixture_setup(fixture_dir(&a));
    struct db *db = fixture_open(&setup);
    struct held_add first = {.gate = GATE_INIT, .name = "first"};
    struct fixture_tx txs[] = {{.fn = add_and_lose_all, .arg = named("lost")},
                               {.fn = fixture_add, .arg = named("a")}};
    run_as_group(db, &first, txs, 2);
    CHECK(first.saw_all);
    CHECK_INT(txs[0].err, ERR_OVERLOADED);
    CHECK_INT(txs[1].err, OK);
    CHECK_INT(fixture_count(db), 2);
    CHECK_INT(db_tx(db, add_and_lose_all, named("lost")), ERR_OVERLOADED);
    CHECK_INT(fixture_count(db), 2);
    db_close(db);
}

static void a_full_disk_fails_who_needs_it(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct db_setup setup = fixture_setup(fixture_dir(&a));
    struct db *db = fixture_open(&setup);
    bool limited = true;
    CHECK_INT(db_tx(db, limit_pages, &limited), OK);
    struct held_add first = {.gate = GATE_INIT, .name = "first"};
    struct fixture_tx txs[] = {{.fn = add_much, .arg = named("much")},
                               {.fn = fixture_add, .arg = named("a")}};
    run_as_group(db, &first, txs, 2);
    CHECK(first.saw_all);
    CHECK_INT(txs[0].err, ERR_NO_SPACE);
    CHECK_INT(txs[1].err, OK);
    limited = false;
    CHECK_INT(db_tx(db, limit_pages, &limited), OK);
    CHECK_INT(db_tx(db, add_much, named("much")), OK);
    CHECK_INT(fixture_count(db), 3);
    db_close(db);
}

static void nothing_is_acknowledged_after_a_failed_sync(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct db_setup setup = fixture_setup(fixture_dir(&a));
    struct db *db = fixture_open(&setup);
    CHECK_INT(db_tx(db, fixture_add, named("before")), OK);
    atomic_store(&syncs_fail, true);
    struct held_add first = {.gate = GATE_INIT, .name = "first"};
    struct fixture_tx txs[] = {{.fn = fixture_add, .arg = named("a")},
                               {.fn = add_and_change_my_mind, .arg = named("b")}};
    run_as_group(db, &first, txs, 2);
    CHECK(!first.saw_all);
    CHECK_INT(txs[0].err, ERR_IO);
    CHECK_INT(txs[1].err, ERR_IO);
    CHECK_INT(db_counters(db).commits, 1);
    CHECK_INT(db_counters(db).retries, 0);
    CHECK_INT(fixture_count(db), 1);
    CHECK(str_contains(db_writer_error_text(db, &a), STR("disk I/O error")));
    atomic_store(&syncs_fail, false);
    CHECK_INT(db_tx(db, fixture_add, named("after")), OK);
    CHECK_INT(fixture_count(db), 2);
    db_close(db);

    db = fixture_open(&setup);
    CHECK_INT(fixture_count(db), 2);
    db_close(db);
}

static void commits_are_synced(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct db_setup setup = fixture_setup(fixture_dir(&a));
    struct db *db = fixture_open(&setup);
    atomic_store(&syncs_fail, true);
    CHECK_INT(db_tx(db, fixture_add, named("alone")), ERR_IO);
    atomic_store(&syncs_fail, false);
    db_close(db);
}

static void await_upkeep(struct db *db, enum err e)
{
    while (db_condition(db).upkeep != e)
        sched_yield();
}

static void failing_checkpoints_are_told(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct db_setup setup = fixture_setup(fixture_dir(&a));
    setup.idle_ms = 1;
    struct db *db = fixture_open(&setup);
    CHECK_INT(db_tx(db, fixture_add, named("before")), OK);
    CHECK_INT(db_condition(db).upkeep, OK);
    atomic_store(&database_fails, true);
    int64_t failures = metric_value_at(METRIC_DB_CHECKPOINT_FAILURES, 0);
    CHECK_INT(db_tx(db, fixture_add, named("meanwhile")), OK);
    await_upkeep(db, ERR_IO);
    CHECK(metric_value_at(METRIC_DB_CHECKPOINT_FAILURES, 0) > failures);
    CHECK(str_contains(db_writer_error_text(db, &a), STR("disk I/O error")));
    CHECK_INT(db_tx(db, fixture_add, named("still")), OK);
    CHECK_INT(db_condition(db).upkeep, ERR_IO); /* a commit says nothing about it */
    CHECK_INT(db_condition(db).writing, OK);
    atomic_store(&database_fails, false);
    await_upkeep(db, OK);
    CHECK_INT(fixture_count(db), 3);
    CHECK_INT(db_close(db), OK);
}

static void failing_checkpoints_are_told_under_load(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct db_setup setup = fixture_setup(fixture_dir(&a));
    setup.checkpoint_pages = 1;
    struct db *db = fixture_open(&setup);
    atomic_store(&database_fails, true);
    CHECK_INT(db_tx(db, fixture_add, named("one")), OK);
    await_upkeep(db, ERR_IO);
    atomic_store(&database_fails, false);
    CHECK_INT(db_tx(db, fixture_add, named("two")), OK);
    await_upkeep(db, OK);
    CHECK_INT(db_close(db), OK);
}

static void a_log_that_is_left_is_told(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct db_setup setup = fixture_setup(fixture_dir(&a));
    struct db *db = fixture_open(&setup);
    CHECK_INT(db_tx(db, fixture_add, named("one")), OK);
    atomic_store(&database_fails, true);
    CHECK_INT(db_close(db), ERR_IO);
    setup.idle_ms = 1;
    db = fixture_open(&setup); /* and before anybody writes it is known that nobody can */
    while (db_condition(db).writing != ERR_IO)
        sched_yield();
    CHECK_INT(db_condition(db).upkeep, ERR_IO);
    atomic_store(&database_fails, false);
    await_upkeep(db, OK);
    while (db_condition(db).writing != OK)
        sched_yield();
    CHECK_INT(fixture_count(db), 1);
    CHECK_INT(db_close(db), OK);
}

enum { THREADS = 8, EACH = 40 };

struct crowd {
    struct db *db;
    int index;
    unsigned failures;
    pthread_t thread;
};

static void *crowd_main(void *arg)
{
    struct crowd *c = arg;
    for (int i = 0; i < EACH; i++) {
        char name[32];
        snprintf(name, sizeof name, "%d-%d", c->index, i);
        enum err e = db_tx(c->db, i % 4 ? fixture_add : add_and_change_my_mind, name);
        c->failures += e != (i % 4 ? OK : ERR_TAG_INVALID);
        /* Whoever was told of a commit sees it. */
        DB_SNAPSHOT struct db_snapshot s = db_snapshot_begin(db_reader(c->db, c->index));
        DB_CURSOR struct db_cursor found =
            db_query(db_reader(c->db, c->index), T(GET_BYTES), DB_TEXT(str_from(name)));
        c->failures += s.err || db_next(&found) != (i % 4 != 0);
    }
    return NULL;
}

static void many_threads(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct db_setup setup = fixture_setup(fixture_dir(&a));
    setup.readers_n = THREADS;
    setup.checkpoint_pages = 10;
    setup.idle_ms = 1;
    struct db *db = fixture_open(&setup);
    struct crowd crowd[THREADS];
    for (int i = 0; i < THREADS; i++) {
        crowd[i] = (struct crowd){.db = db, .index = i};
        pthread_create(&crowd[i].thread, NULL, crowd_main, &crowd[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(crowd[i].thread, NULL);
        CHECK_INT(crowd[i].failures, 0);
    }
    CHECK_INT(fixture_count(db), THREADS * EACH * 3 / 4);
    CHECK_INT(db_counters(db).jobs, THREADS * EACH);
    CHECK_INT(db_counters(db).queued, 0);
    db_close(db);
}

TESTS({"jobs share a commit", jobs_share_a_commit},
      {"a failing job undoes only itself", a_failing_job_undoes_only_itself},
      {"what is not committed is not seen", what_is_not_committed_is_not_seen},
      {"a refused commit fails only the culprit", a_refused_commit_fails_only_the_culprit},
      {"a lost transaction fails only the culprit", a_lost_transaction_fails_only_the_culprit},
      {"a full disk fails who needs it", a_full_disk_fails_who_needs_it},
      {"nothing is acknowledged after a failed sync", nothing_is_acknowledged_after_a_failed_sync},
      {"commits are synced", commits_are_synced},
      {"failing checkpoints are told", failing_checkpoints_are_told},
      {"failing checkpoints are told under load", failing_checkpoints_are_told_under_load},
      {"a log that is left is told", a_log_that_is_left_is_told}, {"many threads", many_threads})
