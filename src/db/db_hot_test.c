#include "db/db_fixture.h"
#include "db/db_hot.h"

#include <sched.h>
#include <sqlite3.h>

/* Items are things of two kinds here: as what FOUND names, and, under their parent's id, as lists.
 */
enum { S_ADD, S_SET, S_SET_ALL, S_RENAME, S_GET, S_CHILDREN, S_COUNT, S_N };
#define S(name) ((enum query)S_##name)

static const struct db_statement hot_statements[] = {
    {"ADD",
     "INSERT INTO item (name, parent, bytes) VALUES ($1, $2, $3)",
     DB_USE_WRITES,
     {{0}},
     TOUCHES(REPOSITORY, 2)},
    {"SET", "UPDATE item SET bytes = $1 WHERE id = $2", DB_USE_WRITES, {{0}}, TOUCHES(BLOB, 2)},
    {"SET_ALL", "UPDATE item SET bytes = $1", DB_USE_WRITES, {{0}}, TOUCHES_ALL},
    {"RENAME", "UPDATE item SET name = $1 WHERE id = $2", DB_USE_WRITES, {{0}}, TOUCHES_NOTHING},
    {"GET",
     "SELECT id, bytes, parent FROM item WHERE name = $1",
     DB_USE_HOT,
     DEPENDS(FOUND(BLOB, 0)),
     {0}},
    {"CHILDREN",
     "SELECT name, bytes FROM item WHERE parent = $1 ORDER BY id",
     DB_USE_HOT,
     DEPENDS(ON(REPOSITORY, 1)),
     {0}},
    {"COUNT", "SELECT count(*) FROM item", DB_USE_READS, {{0}}, {0}},
};

struct fixture {
    struct arena arena;
    str dir;
    struct db *db;
    struct db_conn *worker, *reactor;
};

static void open_fixture(struct fixture *f)
{
    *f = (struct fixture){0};
    f->dir = fixture_dir(&f->arena);
    struct db_setup setup = fixture_setup(f->dir);
    setup.readers_n = 8;
    setup.statements = hot_statements;
    setup.statement_n = S_N;
    f->db = fixture_open(&setup);
    CHECK_INT(db_remember(f->db, 4 << 20), OK);
    f->worker = db_reader(f->db, 0);
    f->reactor = db_reader(f->db, -1);
}

static void close_fixture(struct fixture *f)
{
    db_close(f->db);
    arena_release(&f->arena);
}

struct change {
    enum query q;
    str name, bytes;
    int64_t number; /* parent or id */
    enum err then;
};

static enum err change_tx(struct db_conn *conn, void *arg)
{
    const struct change *c = arg;
    enum err e = OK;
    switch ((int)c->q) {
    case S_ADD:
        e = db_exec(conn, c->q, DB_TEXT(c->name), c->number ? DB_INT(c->number) : DB_NULL,
                    DB_BYTES(c->bytes));
        break;
    case S_SET_ALL:
        e = db_exec(conn, c->q, DB_BYTES(c->bytes));
        break;
    default:
        e = db_exec(conn, c->q, DB_BYTES(c->bytes), DB_INT(c->number));
        break;
    }
    return e ? e : c->then;
}

static enum err change(struct fixture *f, struct change c)
{
    return db_tx(f->db, change_tx, &c);
}

static void add(struct fixture *f, const char *name, int64_t parent, str bytes)
{
    CHECK_INT(change(f, (struct change){S(ADD), str_from(name), bytes, parent, OK}), OK);
}

static void set(struct fixture *f, int64_t id, const char *bytes)
{
    CHECK_INT(change(f, (struct change){S(SET), {0}, str_from(bytes), id, OK}), OK);
}

/* The bytes of an item; "-": there is none, "?": this connection does not know. */
static str get(struct fixture *f, struct db_conn *conn, const char *name)
{
    DB_CURSOR struct db_cursor c = db_query(conn, S(GET), DB_TEXT(str_from(name)));
    if (db_next(&c))
        return db_copy(&c, 1, &f->arena);
    CHECK(c.err == OK || c.err == ERR_WOULD_BLOCK);
    return c.err ? STR("?") : STR("-");
}

/* "name=bytes,..." */
static str children(struct fixture *f, struct db_conn *conn, int64_t parent)
{
    str list = STR("");
    DB_CURSOR struct db_cursor c = db_query(conn, S(CHILDREN), DB_INT(parent));
    while (db_next(&c))
        list = arena_printf(&f->arena, "%.*s%.*s=%.*s,", STR_ARG(list), STR_ARG(db_text(&c, 0)),
                            STR_ARG(db_bytes(&c, 1)));
    return c.err ? STR("?") : list;
}

static void what_a_worker_read_a_reactor_has(void)
{
    struct fixture f;
    open_fixture(&f);
    add(&f, "a", 0, STR("one"));
    CHECK_STR(get(&f, f.reactor, "a"), "?");
    CHECK_STR(get(&f, f.worker, "a"), "one");
    CHECK_STR(get(&f, f.reactor, "a"), "one");
    {
        DB_CURSOR struct db_cursor c = db_query(f.reactor, S(GET), DB_TEXT(STR("a")));
        CHECK(db_next(&c));
        CHECK_INT(db_int(&c, 0), 1);
        CHECK(!db_is_null(&c, 1) && db_is_null(&c, 2));
        CHECK(!db_bytes(&c, 2).p && db_int(&c, 2) == 0);
        CHECK(!db_next(&c) && c.err == OK);
    }
    CHECK_STR(get(&f, f.reactor, "b"), "?");
    DB_CURSOR struct db_cursor c = db_query(f.reactor, S(COUNT));
    CHECK(!db_next(&c));
    CHECK_INT(c.err, ERR_WOULD_BLOCK);
    close_fixture(&f);
}

static void lists_are_kept_even_when_empty(void)
{
    struct fixture f;
    open_fixture(&f);
    add(&f, "top", 0, STR(""));
    CHECK_STR(children(&f, f.worker, 1), "");
    CHECK_STR(children(&f, f.reactor, 1), "");
    add(&f, "x", 1, STR("1"));
    CHECK_STR(children(&f, f.reactor, 1), "?");
    add(&f, "y", 1, STR("2"));
    CHECK_STR(children(&f, f.worker, 1), "x=1,y=2,");
    CHECK_STR(children(&f, f.reactor, 1), "x=1,y=2,");
    CHECK_STR(children(&f, f.reactor, 2), "?");
    close_fixture(&f);
}

static void nothing_found_is_not_kept(void)
{
    struct fixture f;
    open_fixture(&f);
    CHECK_STR(get(&f, f.worker, "a"), "-");
    CHECK_STR(get(&f, f.reactor, "a"), "?");
    add(&f, "a", 0, STR("one"));
    CHECK_STR(get(&f, f.worker, "a"), "one");
    close_fixture(&f);
}

static void a_touch_ends_what_depends_on_it(void)
{
    struct fixture f;
    open_fixture(&f);
    add(&f, "a", 0, STR("one"));
    add(&f, "b", 0, STR("two"));
    get(&f, f.worker, "a");
    get(&f, f.worker, "b");
    set(&f, 1, "uno");
    CHECK_STR(get(&f, f.reactor, "a"), "?");
    CHECK_STR(get(&f, f.reactor, "b"), "two");
    CHECK_STR(get(&f, f.worker, "a"), "uno");
    CHECK_STR(get(&f, f.reactor, "a"), "uno");
    CHECK_INT(change(&f, (struct change){S(SET_ALL), {0}, STR("x"), 0, OK}), OK);
    CHECK_STR(get(&f, f.reactor, "a"), "?");
    CHECK_STR(get(&f, f.reactor, "b"), "?");
    close_fixture(&f);
}

static void an_undone_job_changes_nothing(void)
{
    struct fixture f;
    open_fixture(&f);
    add(&f, "a", 0, STR("one"));
    get(&f, f.worker, "a");
    CHECK_INT(change(&f, (struct change){S(SET), {0}, STR("uno"), 1, ERR_DENIED}), ERR_DENIED);
    CHECK_STR(get(&f, f.worker, "a"), "one");
    CHECK_STR(get(&f, f.reactor, "a"), "one");
    close_fixture(&f);
}

static void an_old_snapshot_fills_nothing(void)
{
    struct fixture f;
    open_fixture(&f);
    add(&f, "a", 0, STR("one"));
    {
        DB_SNAPSHOT struct db_snapshot s = db_snapshot_begin(f.worker);
        CHECK_STR(get(&f, f.worker, "a"), "one");
        CHECK_STR(get(&f, f.reactor, "a"), "one");
        set(&f, 1, "uno");
        CHECK_STR(get(&f, f.worker, "a"), "one"); /* its snapshot's, and its own */
        CHECK_STR(get(&f, f.reactor, "a"), "?");
    }
    CHECK_STR(get(&f, f.worker, "a"), "uno");
    CHECK_STR(get(&f, f.reactor, "a"), "uno");
    close_fixture(&f);
}

/* Without db_snapshot_begin an open cursor is what holds a snapshot. */
static void so_does_not_one_that_a_cursor_holds(void)
{
    struct fixture f;
    open_fixture(&f);
    add(&f, "a", 0, STR("one"));
    {
        DB_CURSOR struct db_cursor c = db_query(f.worker, S(COUNT));
        CHECK(db_next(&c));
        set(&f, 1, "uno");
        CHECK_STR(get(&f, f.worker, "a"), "one");
        CHECK_STR(get(&f, f.reactor, "a"), "?");
    }
    CHECK_STR(get(&f, f.worker, "a"), "uno");
    close_fixture(&f);
}

static void stranger(struct fixture *f, const char *sql)
{
    sqlite3 *other = NULL;
    CHECK_INT(sqlite3_open(arena_printf(&f->arena, "%.*s/berth.db", STR_ARG(f->dir)).p, &other),
              SQLITE_OK);
    CHECK_INT(sqlite3_exec(other, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
}

static void what_strangers_did_is_noticed(void)
{
    struct fixture f;
    open_fixture(&f);
    add(&f, "a", 0, STR("one"));
    add(&f, "b", 0, STR("two"));
    get(&f, f.worker, "a");
    stranger(&f, "UPDATE item SET bytes = CAST('uno' AS BLOB) WHERE id = 1");
    CHECK_STR(get(&f, f.reactor, "a"), "?");
    CHECK_STR(get(&f, f.worker, "b"), "two"); /* settles it */
    CHECK_STR(get(&f, f.reactor, "b"), "two");
    CHECK_STR(get(&f, f.reactor, "a"), "?");
    CHECK_STR(get(&f, f.worker, "a"), "uno");
    CHECK_STR(get(&f, f.reactor, "a"), "uno");
    close_fixture(&f);
}

static void also_when_the_writer_comes_next(void)
{
    struct fixture f;
    open_fixture(&f);
    add(&f, "a", 0, STR("one"));
    get(&f, f.worker, "a");
    stranger(&f, "UPDATE item SET bytes = CAST('uno' AS BLOB) WHERE id = 1");
    CHECK_INT(change(&f, (struct change){S(RENAME), {0}, STR("z"), 99, OK}), OK);
    CHECK_STR(get(&f, f.reactor, "a"), "?");
    CHECK_STR(get(&f, f.worker, "a"), "uno");
    CHECK_STR(get(&f, f.reactor, "a"), "uno");
    close_fixture(&f);
}

static void large_answers_are_read_but_not_kept(void)
{
    struct fixture f;
    open_fixture(&f);
    str big = str_make(arena_alloc(&f.arena, HOT_ROWS_BYTES_MAX + 1), HOT_ROWS_BYTES_MAX + 1);
    add(&f, "a", 0, big);
    CHECK_INT(get(&f, f.worker, "a").n, big.n);
    CHECK_STR(get(&f, f.reactor, "a"), "?");
    char *name = arena_alloc(&f.arena, HOT_KEY_MAX + 1);
    memset(name, 'n', HOT_KEY_MAX);
    add(&f, name, 0, STR("x"));
    CHECK_STR(get(&f, f.worker, name), "x");
    CHECK_STR(get(&f, f.reactor, name), "?");
    close_fixture(&f);
}

/* Many threads. Item i is set to 1, 2, 3, ... by one writer of its own, who tells `acknowledged`
 * once db_tx has returned. Who then reads, from wherever, must find that or more; and nobody finds
 * less than he has found before. */
enum { ITEMS = 4, WRITERS = 2, WORKERS = 3, REACTORS = 3, CHANGES = 400 };

struct load {
    struct fixture f;
    atomic_uint acknowledged[ITEMS];
    atomic_uint writers_left, served, stale, backwards;
};

struct loader {
    struct load *load;
    unsigned index;
};

static void *write_main(void *arg)
{
    const struct loader *l = arg;
    for (unsigned n = 1; n <= CHANGES; n++) {
        for (unsigned i = l->index; i < ITEMS; i += WRITERS) {
            struct change c = {S(SET), {0}, str_make(&n, sizeof n), i + 1, OK};
            CHECK_INT(db_tx(l->load->f.db, change_tx, &c), OK);
            atomic_store(&l->load->acknowledged[i], n);
        }
    }
    atomic_fetch_sub(&l->load->writers_left, 1);
    return NULL;
}

/* A worker's snapshot, which grows old while it is used, is of its first statement; the reactors'
 * connection has none. */
static void read_all(struct load *load, struct db_conn *conn, unsigned *seen)
{
    DB_SNAPSHOT struct db_snapshot s = db_snapshot_begin(conn);
    CHECK_INT(s.err, OK);
    unsigned floors[ITEMS];
    for (unsigned i = 0; i < ITEMS; i++)
        floors[i] = atomic_load(&load->acknowledged[i]);
    for (unsigned i = 0; i < ITEMS; i++) {
        char name[] = {(char)('a' + i)};
        if (!db_may_block(conn)) /* sees things one by one */
            floors[i] = atomic_load(&load->acknowledged[i]);
        else
            sched_yield();
        DB_CURSOR struct db_cursor c = db_query(conn, S(GET), DB_TEXT(str_make(name, 1)));
        if (!db_next(&c)) {
            CHECK_INT(c.err, ERR_WOULD_BLOCK);
            continue;
        }
        unsigned n = 0;
        memcpy(&n, db_bytes(&c, 1).p, sizeof n);
        atomic_fetch_add(&load->stale, n < floors[i]);
        atomic_fetch_add(&load->backwards, n < seen[i]);
        atomic_fetch_add(&load->served, !db_may_block(conn));
        seen[i] = n;
    }
}

/* A worker's own answers and the reactors' after them: one client sees both. */
static void *read_main(void *arg)
{
    const struct loader *l = arg;
    struct load *load = l->load;
    struct db_conn *worker = l->index < WORKERS ? db_reader(load->f.db, (int)l->index) : NULL;
    unsigned seen[ITEMS] = {0};
    while (atomic_load(&load->writers_left)) {
        if (worker)
            read_all(load, worker, seen);
        read_all(load, load->f.reactor, seen);
    }
    return NULL;
}

static void nobody_sees_what_was_before(void)
{
    struct load load = {0};
    struct loader loaders[WRITERS + WORKERS + REACTORS];
    pthread_t threads[WRITERS + WORKERS + REACTORS];
    open_fixture(&load.f);
    unsigned zero = 0;
    for (unsigned i = 0; i < ITEMS; i++) {
        char name[] = {(char)('a' + i), 0};
        add(&load.f, name, 0, str_make(&zero, sizeof zero));
    }
    atomic_store(&load.writers_left, WRITERS);
    for (unsigned i = 0; i < WRITERS + WORKERS + REACTORS; i++) {
        loaders[i] = (struct loader){&load, i < WRITERS ? i : i - WRITERS};
        CHECK_INT(
            pthread_create(&threads[i], NULL, i < WRITERS ? write_main : read_main, &loaders[i]),
            0);
    }
    for (unsigned i = 0; i < WRITERS + WORKERS + REACTORS; i++)
        pthread_join(threads[i], NULL);
    CHECK_INT(load.stale, 0);
    CHECK_INT(load.backwards, 0);
    CHECK(load.served > 0);
    printf("# served from memory: %u\n", load.served);
    close_fixture(&load.f);
}

TESTS({"what a worker read a reactor has", what_a_worker_read_a_reactor_has},
      {"lists are kept even when empty", lists_are_kept_even_when_empty},
      {"nothing found is not kept", nothing_found_is_not_kept},
      {"a touch ends what depends on it", a_touch_ends_what_depends_on_it},
      {"an undone job changes nothing", an_undone_job_changes_nothing},
      {"an old snapshot fills nothing", an_old_snapshot_fills_nothing},
      {"nor does one that a cursor holds", so_does_not_one_that_a_cursor_holds},
      {"what strangers did is noticed", what_strangers_did_is_noticed},
      {"also when the writer comes next", also_when_the_writer_comes_next},
      {"large answers are read but not kept", large_answers_are_read_but_not_kept},
      {"nobody sees what was before", nobody_sees_what_was_before})
